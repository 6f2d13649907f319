"""A file that describes a set, named in place of its folder."""

from __future__ import annotations

from typing import Any

from sightline.datasets import formats
from sightline.errors import DataError
from tests.helpers.reading import open_file
from tests.helpers.sets import Sets, found, places


def test_a_file_that_describes_a_set_is_taken_for_it(sets: Sets, validate: Any):
    yolo, coco, voc = sets.yolo(), sets.coco("coco/inner"), sets.voc()
    (yolo / "data.yaml").rename(yolo / "my set.yml")
    expected = {"train": 6, "val": 2, "test": 2}
    document = validate(yolo / "my set.yml")
    assert ({split: part.images for split, part in document.splits.items()}, found(document)) == (
        expected,
        {"few-boxes": 2},
    )
    document = validate(voc / "Annotations/3.xml")
    assert {split: part.images for split, part in document.splits.items()} == expected
    assert places(document, "data-path") == ["Annotations/3.xml"]
    for name, count in (("train", 6), ("test", 2)):
        reading = formats.read(open_file(coco / name / "_annotations.coco.json"))
        assert (len(list(reading.records())), reading.declared) == (count, set())
        reading = formats.read(open_file(voc / f"ImageSets/Main/{name}.txt"))
        assert (len(list(reading.records())), reading.declared) == (count, set())


def test_a_data_yaml_is_taken_from_an_object_store(sets: Sets, validate: Any, s3: str):
    from sightline.storage import Transfer, open_store

    root = sets.yolo()
    files = [path for path in root.rglob("*") if path.is_file()]
    open_store(f"s3://{s3}/raw/set").upload([Transfer(str(path.relative_to(root)), path) for path in files])
    assert validate(f"s3://{s3}/raw/set/data.yaml").digest == validate(root).digest


def test_a_file_that_describes_nothing_is_refused_with_what_would(sets: Sets, refuse: Any):
    root = sets.yolo()
    assert "Name the folder" in refuse(root / "labels/train/0.txt", DataError).message
    assert "is an image; expected the folder" in refuse(root / "images/train/0.png", DataError).message
    message = refuse(root / "data.yaml", DataError, format="voc").message
    assert "is a file of the format yolo, and the format voc was asked for" in message
    (root / "half.json").write_text('{"images": [], "categories": []}')
    assert "has no annotations; expected the COCO lists" in refuse(root / "half.json", DataError).message
