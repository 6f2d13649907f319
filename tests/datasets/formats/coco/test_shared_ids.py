"""Whose boxes they are: COCO images, annotations and categories that share an id."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.config.presets import resolve
from sightline.errors import DataError
from sightline.validate.repair.fix import fix
from tests.helpers.coco import TRAIN, edit
from tests.helpers.sets import Sets, found, image_counts, places


def same_id(values: Any) -> None:
    first, second = values["images"][:2]
    for annotation in values["annotations"]:
        if annotation["image_id"] == second["id"]:
            annotation["image_id"] = first["id"]
    second["id"] = first["id"]


def test_images_that_share_an_id_are_refused_both(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    document = look(root)
    assert document.verdict == "rejected"
    assert places(document, "duplicate-id") == [f"{TRAIN}: images[{number}]" for number in (0, 1)]


def test_where_that_is_tolerated_neither_is_trained_on_and_both_are_counted(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    document = look(root, duplicate_id={"severity": "error", "max_count": 2})
    assert (document.images, document.dropped_images) == (10, 2)
    assert (document.boxes, document.dropped_boxes) == (10, 0)  # of images that stay
    assert image_counts(document) == {"train": 4, "val": 2, "test": 2}


def test_a_repaired_copy_gives_no_image_the_boxes_of_another(sets: Sets, tmp_path):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert (done.images, done.boxes, done.changes) == (8, 8, {"duplicate-id": 2})


def test_an_entry_that_is_there_twice_counts_once(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["images"].append(dict(d["images"][0])))
    document = look(root)
    assert found(document) == {"duplicate-image": 1}
    assert (document.boxes, image_counts(document)["train"]) == (10, 6)


def test_annotations_that_are_numbered_again_for_each_image_are_all_used(sets: Sets, look, tmp_path):
    root = sets.coco()
    edit(root / TRAIN, lambda d: [annotation.update(id=1) for annotation in d["annotations"]])
    document = look(root)
    assert found(document) == {"repeated-number": 1}
    assert (document.verdict, document.boxes, document.dropped_boxes) == ("accepted", 10, 0)
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert (done.images, done.boxes) == (10, 10)


def test_categories_that_share_an_id_are_refused_unless_they_are_the_same(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["categories"].append({"id": 3, "name": "cow"}))
    with pytest.raises(DataError, match="have the same id 3 and different names"):
        look(root)


@pytest.mark.parametrize("value", [1, True, "1"])
def test_a_crowd_is_no_object_however_it_is_spelled(sets: Sets, look, value):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["annotations"][0].update(iscrowd=value))
    assert found(look(root)) == {"crowd-region": 1}


@pytest.mark.parametrize("side", [80, 80.0, "80"])
def test_a_size_is_compared_however_it_is_spelled(sets: Sets, look, side):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["images"][0].update(width=side, height=side))
    assert found(look(root)) == {"size-mismatch": 1}


@pytest.mark.timeout(120)  # a search among all pairs took more than ten minutes for twice as many
@pytest.mark.parametrize("name", ["{}.png", "0.png"])
def test_thousands_of_images_of_one_id_take_no_time_of_their_pairs(sets: Sets, look, name):
    root = sets.coco()
    entries = [{"id": 0, "file_name": name.format(number)} for number in range(50_000)]
    edit(root / TRAIN, lambda d: d["images"].extend(entries))
    look(root)


def test_a_file_of_predictions_beside_annotations_is_none_of_them(sets: Sets, look):
    root = sets.coco()
    (root / "train/found.json").write_text('{"file_name": "0.png", "bbox": [1, 2, 3, 4]}\n{"file_name": "1.png"}\n')
    assert found(look(root)) == {}
