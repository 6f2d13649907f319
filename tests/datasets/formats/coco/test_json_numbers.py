"""Numbers that JSON lacks or a machine cannot hold: NaN, Infinity, and beyond 64 bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.sets import Sets, found


def coco_with(root: Path, **values: object) -> Path:
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    document["annotations"][0] |= values
    path.write_text(json.dumps(document))
    return root


@pytest.mark.parametrize(
    "values",
    [
        {"area": float("nan")},
        {"score": float("inf"), "note": 'NaN, "Infinity" and \\'},
        {"extra": [1, {"x": [float("-inf")]}]},
        {"segmentation": []},
    ],
)
def test_endless_numbers_that_are_not_read_do_not_matter(sets: Sets, report, values):
    document = report(coco_with(sets.coco(), **values))
    assert set(found(document)) == {"few-boxes"}
    assert document.boxes == 10


@pytest.mark.parametrize(
    ("values", "rule", "words"),
    [
        ({"bbox": [float("nan"), 4, 20, 10]}, "label-syntax", "[NaN, 4, 20, 10], which are not all finite numbers"),
        ({"bbox": [1, 4, 20, float("inf")]}, "label-syntax", "[1, 4, 20, Infinity], which are not all finite numbers"),
        ({"category_id": float("nan")}, "class-range", "has category NaN, which is not in categories"),
        ({"iscrowd": float("nan")}, "label-syntax", "has iscrowd NaN; expected 0 or 1"),
        ({"bbox": ["10", "4", "20", "10"]}, "label-syntax", "whose numbers are texts"),
        ({"image_id": float("nan")}, "missing-image", "refers to image NaN, which is not in images"),
    ],
)
def test_endless_numbers_that_matter_are_named(sets: Sets, report, values, rule, words):
    document = report(coco_with(sets.coco(), **values))
    assert found(document, "error") == {rule: 1}
    assert words in str(document.findings)


@pytest.mark.parametrize("number", ["1e999", "18446744073709551616", "9" * 400])
def test_a_number_beyond_64_bits_that_is_not_read_does_not_matter(sets: Sets, report, number):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', f'"iscrowd": 0, "track": {number}, "area": 200.0'))
    document = report(root)
    assert set(found(document)) == {"few-boxes"}
    assert document.boxes == 10


def test_ids_beyond_64_bits_are_kept_apart(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    for record in (*document["images"], *document["categories"]):
        record["id"] += 2**70
    for record in document["annotations"]:
        record |= {"image_id": record["image_id"] + 2**70, "category_id": record["category_id"] + 2**70}
    path.write_text(json.dumps(document))
    assert report(root).splits["train"].boxes_per_class == {"cat": 3, "dog": 3}


def test_an_endless_image_size_is_named(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"width": 40', '"width": Infinity', 1))
    document = report(root)
    assert found(document, "error") == {"size-mismatch": 1}
    assert "has the width Infinity; expected whole numbers of pixels" in str(document.findings)


def test_endless_numbers_are_found_wherever_a_chunk_ends(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    text = json.dumps(document | {"info": {"x": ["\\" * 3, float("nan"), "NaN", float("-inf")] * 9}})
    for shift in range(0, 130, 7):
        path.write_text(json.dumps({"pad": "p" * (2**16 - shift)})[:-1] + ", " + text[1:])
        assert report(root).boxes == 10
