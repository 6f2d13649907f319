"""What passes between the steps of validate.

    formats  ->  Reading, whose records() stream   one ImageRecord each, before the image or its labels were opened
    scan     ->  rows of the index                 checked images: info, canonical labels, issues
    gate     ->  Dataset, whose samples() stream   what passed, ready to be stored, written or drawn

Nothing here holds a whole data set: what a million images take in memory is a few dozen bytes each.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sightline.config import Format
from sightline.documents import SPLITS, Split, SplitCounts
from sightline.rules import Issue

SYNONYMS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
Label = tuple[int, float, float, float, float]  # class, cx, cy, w, h: fractions of the upright image, 6 decimals
Edges = tuple[float, float, float, float]  # x0, y0, x1, y1: fractions or pixels, as the Reading's `relative` says


class Box(NamedTuple):
    """One labelled object as its file has it.

    `label` is an index into the reading's classes, or the class name where names are only known once all is read.
    `place` is the line in the label file, or the number of the annotation: what `ImageRecord.where` has its `{}` for.
    """

    label: int | str
    edges: Edges
    place: int


class Parsed(NamedTuple):
    """What a label file says: boxes, the image size (width, height) in its own words, and what could not be read.

    `image` is the image's file name in its own words, where the format has one inside the file. `areas` are those that
    are stated, one a box, where the format has them; `inverted` are places and edges of boxes that cannot be used
    because they end before they begin.
    """

    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] | None = None
    issues: tuple[Issue, ...] = ()
    image: str | None = None
    areas: tuple[float | None, ...] = ()
    inverted: tuple[tuple[int, Edges], ...] = ()


class ImageRecord(NamedTuple):
    """One image that a source names. Paths are strings: there are millions, and Path objects are slow.

    `label` is the file that `Reading.parse` reads, None where there is none; `parsed` is set where the format keeps
    all labels in one file. `where` shows a place in the labels: `labels/a.txt:{}`, `a.json: annotations[{}]`.
    """

    image: str
    source: str
    split: Split | None
    where: str
    label: str | None = None
    parsed: Parsed | None = None


@dataclass
class Reading:
    """A source whose format is recognised and whose description (data.yaml, categories) is read.

    `classes` is None where only the labels tell (VOC); then they are the names found, sorted. `relative` tells edges
    that are fractions of the image from edges in pixels. `declared` are the splits that the source names, with or
    without images in them. `issues` are about the source as a whole. `records` may be called once, and yields what is
    wrong with single annotations among the images; `declared` and `issues` are complete when it ends. `parse` is a
    plain function (it runs in other processes) from a label file's bytes, its shown name and `classes` to what it says.
    `listed` means that lists name single images of folders; `folder` is where it was read, and `home` the folder of the
    set where it lies elsewhere. `part` says that only a part of what lies there was asked for.
    """

    format: Format
    classes: list[str] | None
    relative: bool
    records: Callable[[], Iterator[ImageRecord | Issue]]
    parse: Callable[[bytes, str, list[str] | None], Parsed] | None = None
    declared: set[Split] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)
    folder: Folder | None = None
    listed: bool = False
    home: Path | None = None
    part: bool = False


class Sample(NamedTuple):
    """One image that passed.

    `name` is its file name in the canonical layout, unique in its split without its suffix, whatever the case.
    `labels` are sorted. `pack` names the pack of the store that is known to hold these bytes.
    """

    split: Split
    name: str
    image: str
    source: str
    sha256: str
    bytes: int
    width: int
    height: int
    labels: tuple[Label, ...]
    pack: str | None = None


class Dataset(ABC):
    """Labelled images that passed, as often as they are asked for, in flat memory."""

    classes: list[str]

    @abstractmethod
    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        """Yield the images of one split, or of all in the order train, val, test; within a split by name."""

    def stored(self, packs: Iterable[tuple[str, str]]) -> None:  # noqa: B027  most data sets have no memory
        """Remember that images lie in packs of a store: pairs of an image's sha256 and a pack's key."""

    def counts(self, see: Callable[[Sample], None] = lambda sample: None) -> dict[Split, SplitCounts]:
        """Count images, boxes and backgrounds of each split, and let `see` have every image on the way."""
        images = dict.fromkeys(SPLITS, 0)
        backgrounds = dict.fromkeys(SPLITS, 0)
        boxes = {split: [0] * len(self.classes) for split in SPLITS}
        for sample in self.samples():
            images[sample.split] += 1
            backgrounds[sample.split] += not sample.labels
            own = boxes[sample.split]
            for label in sample.labels:
                own[label[0]] += 1
            see(sample)
        return {
            split: SplitCounts(
                images=images[split],
                boxes=sum(boxes[split]),
                backgrounds=backgrounds[split],
                boxes_per_class=dict(zip(self.classes, boxes[split], strict=True)),
            )
            for split in SYNONYMS
        }


@dataclass(frozen=True)
class Folder:
    """A source on the local disk.

    `images` is the image folder that the user named. `fence` is set where the files are a stranger's (an archive, an
    object store): nothing outside it may be read on their word. `file` is the file below `root` that the user named in
    place of the folder (data.yaml, a COCO file, …); then `name` is that file's.
    """

    root: Path
    name: str
    images: Path | None = None
    fence: Path | None = None
    file: Path | None = None

    def allows(self, path: Path | str) -> bool:
        """Tell whether the source may refer to this path."""
        if self.fence is None:
            return True
        homes = [self.fence, *([self.images.resolve()] if self.images else [])]
        return any(Path(path).resolve().is_relative_to(home) for home in homes)

    def relative(self, path: Path | str) -> str:
        """Name a path for a reader: below the source or the image folder where it is, in storable characters."""
        text = os.fspath(path)
        for home in (self.root, self.images):
            if home and text.startswith(f"{home}{os.sep}"):
                return shown(text[len(str(home)) + 1 :])
        return shown(os.path.relpath(text, self.root))

    @property
    def title(self) -> str:
        """The last part of the set's name, which messages that begin with the whole name need not repeat."""
        last = self.name.rstrip("/").rpartition("/")[2]
        return self.root.resolve().name if last in ("", ".", "..") else last

    def place(self, path: Path | str) -> str:
        """Name a path as the place of an issue: by the set's name where it is the set itself."""
        named = self.relative(path)
        return self.title if named == "." else named


def shown(path: str) -> str:
    """Replace bytes of a file name that are no UTF-8, which Python keeps as lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode("utf-8", "replace")
    return path


def split_of(name: str) -> Split | None:
    """Return the one split that a file or folder name means: `instances_val2017` is val, `trainval` is none."""
    words = re.split(r"[^a-z]+", name.lower())
    found = [split for split, synonyms in SYNONYMS.items() if set(synonyms) & set(words)]
    return found[0] if len(found) == 1 else None


def missing(present: Iterable[str]) -> list[Split]:
    """Return the splits that are not among `present`."""
    have = set(present)
    return [split for split in SYNONYMS if split not in have]


def hidden(path: Path | str) -> bool:
    """Tell what file managers leave behind (`.DS_Store`, `._a.jpg`, `__MACOSX`)."""
    name = os.fspath(path).rsplit(os.sep, 1)[-1]
    return name.startswith(".") or name == "__MACOSX"


def folders(root: Path, depth: int, seen: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Yield `root` and the visible folders below it, at most `depth` levels down, sorted; each of them once."""
    seen = set() if seen is None else seen
    status = root.stat()
    if (status.st_dev, status.st_ino) in seen:  # links lead round
        return
    seen.add((status.st_dev, status.st_ino))
    yield root
    if depth:
        with os.scandir(root) as entries:  # a folder may hold a million files: keep only the folders among them
            below = sorted(entry.path for entry in entries if not hidden(entry.name) and is_folder(entry))
        for path in below:
            yield from folders(Path(path), depth - 1, seen)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


assert tuple(SYNONYMS) == SPLITS
