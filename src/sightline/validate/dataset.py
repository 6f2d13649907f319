"""What passes between the steps of validate: files read (`Reading`), then checked and split (`Dataset`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sightline.artifacts import SPLITS, Problem, Split, SplitCounts

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SYNONYMS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
Label = tuple[int, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """One labelled object as its file has it: class name and edges (x0, y0, x1, y1)."""

    name: str
    edges: tuple[float, float, float, float]
    where: str


@dataclass(frozen=True, slots=True)
class Item:
    """One image and what was said about it; `size` is (width, height) in the annotation's own words."""

    image: Path
    source: str
    split: Split | None
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None


@dataclass
class Reading:
    """What a format's files say, before any image was opened.

    `relative` tells edges that are fractions of the image from edges in pixels. `declared` are the splits that the
    source names, with or without images in them.
    """

    format: Literal["yolo", "coco", "voc"]
    classes: list[str]
    relative: bool
    items: list[Item] = field(default_factory=list)
    declared: set[Split] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image that passed; labels are (class, cx, cy, w, h), fractions of the upright image, 6 decimals, sorted."""

    split: Split
    image: Path
    source: str
    sha256: str
    bytes: int
    width: int
    height: int
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Dataset:
    """What is published."""

    classes: list[str]
    samples: list[Sample]
    problems: list[Problem]
    split_rule: str | None

    def counts(self) -> dict[Split, SplitCounts]:
        """Count images, boxes and backgrounds of each split."""
        return {split: self._count([s for s in self.samples if s.split == split]) for split in SYNONYMS}

    def _count(self, samples: list[Sample]) -> SplitCounts:
        per_class = dict.fromkeys(self.classes, 0)
        for sample in samples:
            for label in sample.labels:
                per_class[self.classes[label[0]]] += 1
        return SplitCounts(
            images=len(samples),
            boxes=sum(per_class.values()),
            backgrounds=sum(not sample.labels for sample in samples),
            boxes_per_class=per_class,
        )


@dataclass(frozen=True)
class Folder:
    """A source on the local disk.

    `images` is the image folder that the user named. `fence` is set where the files are a stranger's (an archive, an
    object store): nothing outside it may be read on their word.
    """

    root: Path
    name: str
    images: Path | None = None
    fence: Path | None = None

    def allows(self, path: Path) -> bool:
        """Tell whether the source may refer to this path."""
        if self.fence is None:
            return True
        homes = [self.fence, *([self.images.resolve()] if self.images else [])]
        return any(path.resolve().is_relative_to(home) for home in homes)

    def relative(self, path: Path) -> str:
        """Name a path for a reader: below the source or the image folder where it is, in storable characters."""
        for home in (self.root, self.images):
            if home and path.is_relative_to(home):
                return _text(path.relative_to(home))
        return _text(os.path.relpath(path, self.root))


def _text(path: str | Path) -> str:
    """Replace bytes of a file name that are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def error(rule: str, where: str, message: str) -> Problem:
    """Make a problem that rejects the data."""
    return Problem(rule=rule, severity="error", where=where, message=message)


def warning(rule: str, where: str, message: str) -> Problem:
    """Make a problem that is reported and repaired."""
    return Problem(rule=rule, severity="warning", where=where, message=message)


def split_of(name: str) -> Split | None:
    """Return the one split that a file or folder name speaks of: `instances_val2017` is val, `trainval` is none."""
    words = re.split(r"[^a-z]+", name.lower())
    found = [split for split, synonyms in SYNONYMS.items() if set(synonyms) & set(words)]
    return found[0] if len(found) == 1 else None


def missing(present: Iterable[str]) -> list[Split]:
    """Return the splits that are not among `present`."""
    have = set(present)
    return [split for split in SYNONYMS if split not in have]


def is_image(path: Path) -> bool:
    """Tell an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden(path)


def hidden(path: Path) -> bool:
    """Tell what file managers leave behind (`.DS_Store`, `._a.jpg`, `__MACOSX`)."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the folder's own visible files with one of the suffixes, sorted."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and not hidden(p) and p.is_file())


def folders(root: Path, depth: int) -> Iterator[Path]:
    """Yield `root` and the visible folders below it, at most `depth` levels down, sorted."""
    yield root
    if depth:
        for entry in sorted(os.scandir(root), key=lambda e: e.name):
            path = Path(entry.path)
            if entry.is_dir() and not hidden(path):
                yield from folders(path, depth - 1)


assert tuple(SYNONYMS) == SPLITS
