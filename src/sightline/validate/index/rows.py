"""The rows that queries of an index return, and the form in which it holds labels."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.image_files.images import ImageInfo

LABEL = struct.Struct("<5i")


class KnownImage(NamedTuple):
    """What the index knows of an image by its path and split: enough to tell whether its files have changed."""

    id: int
    last_scan: int
    image_stamp: str | None
    label_stamp: str
    source: str
    path: bytes

    @property
    def stamps(self) -> tuple[str | None, str]:
        """Of the image file and of its labels."""
        return self.image_stamp, self.label_stamp


class KnownFile(NamedTuple):
    """What was found about an image file when it was opened: facts, None for an unusable one, and a list in JSON."""

    info: ImageInfo | None
    issues: str | None
    pack: str | None


class ScannedImage(NamedTuple):
    """What a scan writes about an image: columns, `info` in place of those of ImageInfo; `id` comes last."""

    image_stamp: str
    label_stamp: str
    info: ImageInfo | None
    image_issues: str | None
    labels: bytes | None
    boxes: int
    augmented_from: str | None
    plain_name: str
    hashed_name: str | None
    stem_key: str
    is_plain: bool
    pack: str | None
    convention_counts: str | None
    named_image: str | None
    id: int


class AcceptedImage(NamedTuple):
    """An image that passed, as `IndexedDataset` hands it on."""

    id: int
    name: str
    path: bytes
    source: str
    sha256: str
    size: int
    width: int
    height: int
    labels: bytes
    pack: str | None


class LabelledImage(NamedTuple):
    """The labels of an image, packed, and the size of its upright picture in pixels."""

    id: int
    width: int
    height: int
    labels: bytes


class ImageFile(NamedTuple):
    """Where an image lies, and its packed labels; None for an image that cannot be used."""

    id: int
    path: bytes
    labels: bytes | None


class NamedFile(NamedTuple):
    """An image, and its file name in the canonical layout."""

    path: bytes
    source: str
    name: str


class DoubtfulFile(NamedTuple):
    """An image file that an issue of a rule is about."""

    id: int
    path: bytes
    source: str
    rule: str


class IssueExample(NamedTuple):
    """An issue with the source of its image; `box` is JSON."""

    place: str
    message: str
    source: str | None
    box: str | None


class IssuePlace(NamedTuple):
    """An issue of the set as a whole."""

    rule: str
    place: str
    message: str


class ImageCopy(NamedTuple):
    """An image among others that are equal to it in `key`: the file's sha256, or what it was augmented from."""

    id: int
    declared_split: str
    key: str
    source: str
    labels: bytes
    sha256: str


class ComparedImage(NamedTuple):
    """What of an image is compared with others that look alike."""

    id: int
    source: str
    declared_split: str
    path: bytes
    sha256: str
    width: int
    height: int
    thumb: bytes
    augmented_from: str | None


class SplitKey(NamedTuple):
    """What decides the split of an image: sha256 and augmentation source of the first of its group."""

    id: int
    sha256: str
    augmented_from: str | None


class NamedOther(NamedTuple):
    """An image whose label file names another; `other` is the source of an image of that name."""

    id: int
    path: bytes
    source: str
    named_image: str
    other: str | None


class NamedCounts(NamedTuple):
    """Of the annotated images of a split: how many there are, name another image, and name how many others."""

    declared_split: str
    images: int
    naming: int
    names: int


class LeakedImage(NamedTuple):
    """An image that leaks; `earliest` is the first split, by train, val, test, that one of its group lies in."""

    id: int
    rule: str
    source: str
    declared_split: str
    earliest: str


def columns(of: type[NamedTuple]) -> str:
    """Return what a query selects for rows whose fields are columns."""
    return ", ".join(of._fields)


def pack(labels: Iterable[Sequence[int]]) -> bytes:
    """Return labels (class, cx, cy, w, h in millionths) as bytes."""
    return b"".join(LABEL.pack(*label) for label in labels)


def unpack(data: bytes | None) -> Iterator[tuple[int, ...]]:
    """Yield the labels that `pack` packed."""
    return LABEL.iter_unpack(data or b"")


def as_array(data: bytes) -> NDArray[np.int32]:
    """Return packed labels as (n, 5) numbers: class, cx, cy, w, h in millionths."""
    return np.frombuffer(data, "<i4").reshape(-1, 5)
