"""A source of images read to its end by its format, without the gate behind it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from sightline.datasets import formats
from sightline.datasets.types import Folder, ImageRecord, Reading
from sightline.errors import DataError
from sightline.rules import Issue


class Collected(NamedTuple):
    """A source read to its end: named boxes in pixels by split and file name, and all findings in order."""

    reading: Reading
    boxes: dict[tuple[str | None, str], list[tuple[str, tuple[float, ...]]]]
    found: list[Issue]
    entries: dict[str, ImageRecord]

    def counts(self) -> dict[str | None, tuple[int, int]]:
        images = Counter(split for split, _ in self.boxes)
        boxes = Counter(split for (split, _), listed in self.boxes.items() for _ in listed)
        return {split: (images[split], boxes[split]) for split in images}

    def rules(self) -> list[tuple[str, str]]:
        return [(found.rule, found.where) for found in self.found]


def collect(root: Path, images: Path | None = None, *, fenced: bool = False, **options: Any) -> Collected:
    folder = Folder(root, root.name, images, root.resolve() if fenced else None)
    reading = formats.read(folder, **options)
    boxes, entries = {}, {}
    found: list[Issue] = []
    for entry in reading.records():
        if isinstance(entry, Issue):
            found.append(entry)
            continue
        assert entry.source not in entries or entries[entry.source].split != entry.split
        entries[entry.source] = entry
        parsed = entry.parsed
        if entry.label:
            parsed = reading.parse(Path(entry.label).read_bytes(), entry.where.removesuffix(":{}"), reading.classes)
        found += parsed.issues if parsed else ()
        with Image.open(entry.image) as picture:
            width, height = picture.size if reading.relative else (1, 1)
        boxes[entry.split, Path(entry.image).stem] = sorted(
            (
                box.label if isinstance(box.label, str) else reading.classes[box.label],
                tuple(round(edge * side, 3) for edge, side in zip(box.edges, (width, height) * 2, strict=True)),
            )
            for box in (parsed.boxes if parsed else ())
        )
    return Collected(reading, boxes, reading.issues + found, entries)


def problem(root: Path, images: Path | None = None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        collect(root, images, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def open_file(file: Path, **options: Any) -> Folder:
    return Folder(file.parents[formats.named_file.levels(file)], str(file), None, None, file)


def problem_of_file(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        formats.read(open_file(file))
    return str(caught.value)
