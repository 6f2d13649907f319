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
    """A source read to its end: named boxes in pixels by split and file name, and all issues in order."""

    reading: Reading
    boxes: dict[tuple[str | None, str], list[tuple[str, tuple[float, ...]]]]
    found: list[Issue]
    records: dict[str, ImageRecord]

    def counts(self) -> dict[str | None, tuple[int, int]]:
        images = Counter(split for split, _ in self.boxes)
        boxes = Counter(split for (split, _), listed in self.boxes.items() for _ in listed)
        return {split: (images[split], boxes[split]) for split in images}

    def rules(self) -> list[tuple[str, str]]:
        return [(found.rule, found.where) for found in self.found]


def collect(root: Path, images: Path | None = None, *, fenced: bool = False, **options: Any) -> Collected:
    folder = Folder(root, root.name, images, root.resolve() if fenced else None)
    reading = formats.read(folder, **options)
    boxes, records = {}, {}
    found: list[Issue] = []
    for record in reading.records():
        if isinstance(record, Issue):
            found.append(record)
            continue
        assert record.source not in records or records[record.source].split != record.split
        records[record.source] = record
        parsed = record.parsed
        if record.label:
            parsed = reading.parse(Path(record.label).read_bytes(), record.where.removesuffix(":{}"), reading.classes)
        found += parsed.issues if parsed else ()
        with Image.open(record.image) as picture:
            width, height = picture.size if reading.relative else (1, 1)
        boxes[record.split, Path(record.image).stem] = sorted(
            (
                box.label if isinstance(box.label, str) else reading.classes[box.label],
                tuple(round(edge * side, 3) for edge, side in zip(box.edges, (width, height) * 2, strict=True)),
            )
            for box in (parsed.boxes if parsed else ())
        )
    return Collected(reading, boxes, reading.issues + found, records)


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
