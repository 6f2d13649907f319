"""What is written in a format is read again the same, also through a chain of formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config import FORMATS
from sightline.datasets import formats
from sightline.datasets.formats.writing import Format, write
from sightline.datasets.types import Box, Dataset, Folder, Reading
from sightline.documents import Split
from sightline.rules import Issue
from tests.helpers.boxes import from_edges
from tests.helpers.strategies import MemoryDataset, Plan, plans

FEW = settings(max_examples=40, deadline=None)


class Read(NamedTuple):
    """What the reader of a format finds in a folder; images by their bytes, boxes by class name."""

    classes: list[str]
    images: dict[str, tuple[Split, str, tuple[int, int]]]
    boxes: dict[str, list[tuple[str, float, float, float, float]]]
    found: list[str]


def read(root: Path, format: Format, sizes: Mapping[str, tuple[int, int]]) -> Read:
    """Read a folder; `sizes` are those of the images, which YOLO does not say."""
    reading = formats.read(Folder(root, root.name), format)
    images, boxes, found = {}, {}, []
    for entry in reading.records():
        if isinstance(entry, Issue):
            found.append(entry.rule)
            continue
        key = Path(entry.image).read_text()
        parsed = entry.parsed
        if parsed is None:
            assert reading.parse is not None
            assert entry.label is not None
            parsed = reading.parse(Path(entry.label).read_bytes(), entry.label, reading.classes)
        assert parsed.size in (None, sizes[key])
        assert entry.split is not None
        frame = (1, 1) if reading.relative else sizes[key]
        found += [item.rule for item in parsed.issues]
        images[key] = entry.split, Path(entry.image).name, sizes[key]
        boxes[key] = sorted((str(name(reading, box)), *from_edges(box.edges, *frame)) for box in parsed.boxes)
    names = reading.classes or sorted({box[0] for found in boxes.values() for box in found})
    return Read(names, images, boxes, found + [item.rule for item in reading.issues])


def name(reading: Reading, box: Box) -> str | int:
    return reading.classes[box.label] if reading.classes is not None and isinstance(box.label, int) else box.label


def expected(plan: Plan) -> dict[str, list[tuple[str, float, float, float, float]]]:
    return {
        f"{split}/{name}": sorted((plan.classes[b[0]], *b[1:]) for b in boxes) for split, name, _, boxes in plan.images
    }


def sizes_of(plan: Plan) -> dict[str, tuple[int, int]]:
    return {f"{split}/{name}": size for split, name, size, _ in plan.images}


def boxes_of(plan: Plan) -> int:
    """Count the boxes: without any, VOC has no classes."""
    return sum(map(len, expected(plan).values()))


class Again(MemoryDataset):
    """A data set as it was read, to be written in the next format."""

    def __init__(self, read: Read, folder: Path) -> None:
        numbers = {name: number for number, name in enumerate(read.classes)}
        images = []
        for key, (split, name, size) in read.images.items():
            labels = tuple(sorted((numbers[box[0]], *box[1:]) for box in read.boxes[key]))
            images.append((split, name, size, labels))
        super().__init__(Plan(read.classes, images), folder, list(read.images))


@FEW
@given(plan=plans(), format=st.sampled_from(FORMATS))
def test_what_is_written_and_read_again_is_the_same_to_the_last_decimal(plan: Plan, format: Format) -> None:
    with TemporaryDirectory() as folder:
        write(MemoryDataset(plan, Path(folder, "source")), format, Path(folder, "out"))
        back = read(Path(folder, "out"), format, sizes_of(plan))
    assert back.boxes == expected(plan)
    assert back.found == []
    used = {box[0] for boxes in back.boxes.values() for box in boxes}
    assert back.classes == (sorted(used) if format == "voc" else plan.classes)
    for key, (split, name, _) in back.images.items():
        assert key.split("/", 1)[0] == split
        assert format == "voc" or key == f"{split}/{name}"


@settings(max_examples=15, deadline=None)
@given(plan=plans().filter(boxes_of), chain=st.permutations(FORMATS))
def test_a_chain_of_formats_ends_where_it_began(plan: Plan, chain: list[Format]) -> None:
    with TemporaryDirectory() as folder:
        dataset: Dataset = MemoryDataset(plan, Path(folder, "source"))
        for number, format in enumerate([*chain, chain[0]]):
            out = Path(folder, f"{number}")
            write(dataset, format, out)
            back = read(out, format, sizes_of(plan))
            dataset = Again(back, Path(folder, f"again{number}"))
    assert back.boxes == expected(plan)
    assert {key: split for key, (split, _, _) in back.images.items()} == {
        key: key.split("/", 1)[0] for key in back.boxes
    }
