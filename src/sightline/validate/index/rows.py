"""The rows that queries of an index return, and the packed form of labels."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.image_files.images import ImageInfo

LABEL = struct.Struct("<5i")


class KnownImage(NamedTuple):
    """An image that the index knows, with all that tells whether its files have changed."""

    id: int
    last_scan: int
    image_stamp: str | None
    label_stamp: str
    source: str
    path: bytes

    @property
    def stamps(self) -> tuple[str | None, str]:
        """The stamps of the image file and of its labels."""
        return self.image_stamp, self.label_stamp


class KnownFile(NamedTuple):
    """An image file as it was last opened: its info (None if unusable), its issues (JSON), its pack."""

    info: ImageInfo | None
    issues: str | None
    pack: str | None


class ScannedImage(NamedTuple):
    """The columns that a scan writes for an image; `info` stands for those of ImageInfo, and `id` comes last."""

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
    """An accepted image, for `IndexedDataset`."""

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
    """The path of an image, and its packed labels, None for an image that cannot be used."""

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
    """An image that shares `key` with others: the sha256 of its file, or the name that it was augmented from."""

    id: int
    declared_split: str
    key: str
    source: str
    labels: bytes
    sha256: str


class ComparedImage(NamedTuple):
    """The columns of an image that comparisons with similar images need."""

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
    """Counts for a split: annotated images, those that name another image, and the different images they name."""

    declared_split: str
    images: int
    naming: int
    names: int


class LeakedImage(NamedTuple):
    """A leaked image; `earliest` is the first split, of train, val and test, with an image of its group."""

    id: int
    rule: str
    source: str
    declared_split: str
    earliest: str


def columns(row: type[NamedTuple]) -> str:
    """Return the column list of a query for rows whose fields are columns."""
    return ", ".join(row._fields)


def marks(values: Sequence[object]) -> str:
    """Return a list of parameter marks for SQL, such as `(?, ?)`, one for each value."""
    return f"({', '.join('?' * len(values))})"


def pack(labels: Iterable[Sequence[int]]) -> bytes:
    """Return labels (class; cx, cy, w, h in millionths of the image) as bytes, five int32 each."""
    return b"".join(LABEL.pack(*label) for label in labels)


def unpack(data: bytes | None) -> Iterator[tuple[int, ...]]:
    """Yield the labels that `pack` packed; none for None."""
    return LABEL.iter_unpack(data or b"")


def as_array(data: bytes) -> NDArray[np.int32]:
    """Return packed labels as an array (n, 5): class, and cx, cy, w, h in millionths."""
    return np.frombuffer(data, "<i4").reshape(-1, 5)
