"""Real data sets with known dirt: each defect is found, by its rule and place, and nothing else is called an error."""

from __future__ import annotations

import pytest

from sightline import snapshots
from tests.helpers.sets import found, places

FORMATS = ("pascalvoc_format", "imagenet_format", "coco_format_v1", "coco_format_v2", "yolo_format")


def test_bccd(shared, validate):
    document = validate(shared / "data/bccd")
    assert found(document, "error") == {"zero-area-box": 2}
    assert places(document, "zero-area-box") == [
        "BCCD/Annotations/BloodImage_00338.xml:158",
        "BCCD/Annotations/BloodImage_00343.xml:50",
    ]
    assert found(document, "warning") == {"class-imbalance": 2, "pixel-origin": 1}
    assert (document.dropped_images, document.dropped_boxes) == (0, 2)
    assert {split: (part.images, part.boxes) for split, part in document.splits.items()} == {
        "train": (205, 2804),
        "val": (87, 1137),
        "test": (72, 945),
    }


def test_bccd_is_refused_where_nothing_is_tolerated(shared, rejected):
    document = rejected(shared / "data/bccd", policy="strict")
    assert {finding.rule for finding in document.findings if finding.rejected} == {"zero-area-box"}


def test_chess_squares(shared, validate):
    document = validate(shared / "data/chess-squares")
    assert found(document, "error") == {}
    assert found(document, "warning") == {"data-path": 3, "class-absent": 2}
    messages = [example.message for finding in document.findings for example in finding.examples]
    assert "train: '../train/images' leads nowhere as it is written; took train/images" in messages
    assert "has no box of 'White Bishop'" in messages


def test_rbc_wbc(shared, validate):
    document = validate(shared / "data/rbc-wbc-coco")
    assert found(document, "error") == {}
    assert found(document, "warning") == {"conflicting-boxes": 4, "class-imbalance": 1, "grouping-class": 1}
    assert document.classes == ["rbc", "wbc"]
    assert places(document, "conflicting-boxes")[0] == "train/_annotations.coco.json: annotations[1950]"


@pytest.fixture
def voc100(shared, validate):
    folder = shared / "data/voc100-multiformat"
    return lambda name: validate(folder / "gts" / name, images=str(folder / "images"))


@pytest.mark.parametrize("name", FORMATS)
def test_voc100(voc100, name):
    document = voc100(name)
    assert found(document, "error") == {}
    assert sum(part.boxes for part in document.splits.values()) == 273


def test_the_same_boxes_in_five_formats_are_the_same_content(voc100):
    contents = []
    for name in FORMATS:
        document = voc100(name)
        kept = snapshots.fetch(document.snapshot)
        contents.append(
            {
                (split, sample.image.name): sorted(
                    (kept.classes[index], *box.round(3))
                    for index, box in zip(sample.classes, sample.boxes, strict=True)
                )
                for split in ("train", "val", "test")
                for sample in kept.samples(split)
            }
        )
    assert len(contents[0]) == 100
    for other in contents[1:]:
        assert other.keys() == contents[0].keys()
        for key, boxes in contents[0].items():
            for ours, theirs in zip(boxes, other[key], strict=True):
                assert ours[0] == theirs[0]
                assert ours[1:] == pytest.approx(theirs[1:], abs=0.002)  # pixels; six decimals of 500 are 0.0005
