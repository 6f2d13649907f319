"""Writes Pascal VOC: `Annotations/<stem>.xml`, `JPEGImages/<name>`, and `ImageSets/Main/<split>.txt`.

Coordinates are the edges of a box in pixels from the upper left corner, with decimals where there are any, so that
nothing is lost: see `pixels.edges`. What VOC cannot say:

- the list of classes. One that no box uses is gone, and a reader numbers them by name, so class indices may change.
- a split in a file name: all images lie in one folder. Where two splits share a name, the later one has its split
  appended (`a-val.jpg`), and a number where that is taken as well.
- control characters, and spaces at the ends of a class name.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sightline.datasets.formats import pixel_boxes
from sightline.datasets.types import Sample
from sightline.documents import Split
from sightline.errors import DataError

UNSAYABLE = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0; it makes \r a \n
EDGES = ("xmin", "ymin", "xmax", "ymax")


def unsayable(classes: Iterable[str]) -> list[str]:
    """Return the class names that would not come back from a VOC file as they are."""
    return [name for name in classes if name != name.strip() or UNSAYABLE.search(name)]


def annotation(sample: Sample, name: str, classes: Sequence[str]) -> str:
    """Return an annotation file for the image that is stored as `name`. Depth is 3: what any reader makes of it."""
    root = Element("annotation")
    _fill(root, folder="JPEGImages", filename=name)
    _fill(SubElement(root, "size"), width=sample.width, height=sample.height, depth=3)
    _fill(root, segmented=0)
    for label in sample.labels:
        found = SubElement(root, "object")
        _fill(found, name=classes[label[0]], pose="Unspecified", truncated=0, difficult=0)
        edges = map(_decimal, pixel_boxes.edges(label, sample.width, sample.height))
        _fill(SubElement(found, "bndbox"), **dict(zip(EDGES, edges, strict=True)))
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _fill(parent: Element, **texts: object) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = str(text)


def _decimal(value: float) -> str:
    """Write a number of pixels without an exponent, and without zeros that say nothing: many readers expect `10`."""
    text = f"{value:.7f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@contextlib.contextmanager
def writing(root: str, classes: Sequence[str]) -> Iterator[Callable[[Sample], str]]:
    """Give the function that writes an image's annotation and lists it in its split.

    Raises DataError with every class name that VOC cannot hold.
    """
    wrong = unsayable(classes)
    if wrong:
        raise DataError(
            "VOC cannot hold these class names (control characters, or spaces at an end). Rename them, or write yolo "
            "or coco:",
            [repr(name) for name in wrong],
        )
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        os.makedirs(f"{root}/{folder}")
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(contextlib.closing(_Names()))
        lists = {}

        def add(sample: Sample) -> str:
            if sample.split not in lists:
                listed = open(f"{root}/ImageSets/Main/{sample.split}.txt", "x", encoding="utf-8")  # noqa: SIM115
                lists[sample.split] = stack.enter_context(listed)
            stem, suffix = os.path.splitext(sample.name)
            stem = names.free(stem, sample.split)
            lists[sample.split].write(f"{stem}\n")
            with open(f"{root}/Annotations/{stem}.xml", "x", encoding="utf-8") as file:
                file.write(annotation(sample, stem + suffix, classes))
            return f"{root}/JPEGImages/{stem}{suffix}"

        yield add


class _Names:
    """The names that are taken, whatever the case: a temporary file of SQLite's, so that memory stays flat."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=OFF; CREATE TABLE name (name TEXT PRIMARY KEY) WITHOUT ROWID;")

    def free(self, stem: str, split: Split) -> str:
        """Take a name: the stem itself, or with the split, or with the split and a number."""
        stem = stem.strip().lstrip(". ") or split  # lists are read without outer spaces; with a dot first it is hidden
        return next(name for name in _candidates(stem, split) if self._take(name))

    def _take(self, name: str) -> bool:
        return self._db.execute("INSERT OR IGNORE INTO name VALUES (?)", (name.lower(),)).rowcount == 1

    def close(self) -> None:
        """Remove the file."""
        self._db.close()


def _candidates(stem: str, split: Split) -> Iterator[str]:
    yield stem
    yield f"{stem}-{split}"
    yield from (f"{stem}-{split}-{number}" for number in count(2))
