"""Missing splits are made by content, so that a growing set never moves an image from test to train."""

from __future__ import annotations

import hashlib
import json

import pytest

from sightline.errors import DataError
from sightline.validate.splits import assign, place

HASHES = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(1000)]


def test_all_three_are_made_in_the_ratio_of_the_hash_ranges():
    splits, rule = assign("set", [None] * 1000, HASHES, set())
    counts = [splits.count(split) for split in ("train", "val", "test")]
    assert counts == [739, 123, 138]
    assert rule.endswith("739 train, 123 val, 138 test images.")
    for split, sha in zip(splits, HASHES, strict=True):
        assert split == ("train" if place(sha) < 0.7 else "val" if place(sha) < 0.85 else "test")


def test_a_growing_set_moves_no_image_between_splits():
    small, _ = assign("set", [None] * 300, HASHES[:300], set())
    large, _ = assign("set", [None] * 1000, HASHES, set())
    assert large[:300] == small


@pytest.mark.parametrize(("absent", "low", "high"), [("val", 0.70, 0.85), ("test", 0.85, 1.0)])
def test_one_missing_split_takes_its_range_of_train_and_leaves_the_others_alone(absent, low, high):
    present = "test" if absent == "val" else "val"
    given = ["train"] * 900 + [present] * 100
    splits, rule = assign("set", given, HASHES, {"train", present})
    assert splits[900:] == [present] * 100
    taken = [sha for sha, split in zip(HASHES[:900], splits, strict=False) if split == absent]
    assert all(low <= place(sha) < high for sha in taken)
    assert 0.10 < len(taken) / 900 < 0.20
    assert f"no {absent} split" in rule
    assert f"{len(taken)} {absent}" in rule


def test_every_split_has_an_image_even_in_a_tiny_set():
    low = sorted(sha for sha in HASHES if place(sha) < 0.7)[:3]
    splits, _ = assign("set", [None] * 3, low, set())
    assert splits == ["val", "test", "train"]


def test_too_few_images_to_make_splits_from_are_refused():
    with pytest.raises(DataError, match=r"got 2 different images .* expected at least 3"):
        assign("set", [None] * 3, [HASHES[0], HASHES[1], HASHES[1]], set())


def test_a_named_split_without_images_is_refused_with_a_way_out(sets, refuse):
    root = sets.coco()
    path = root / "test/_annotations.coco.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": [], "annotations": []}))
    message = refuse(root, DataError).message
    assert "the test split is named and holds no images" in message
    assert "remove its mention" in message


def test_a_set_without_a_val_folder_says_what_was_made(sets, validate):
    root = sets.coco()
    for path in (root / "val").iterdir():
        path.unlink()
    (root / "val").rmdir()
    document = validate(root)
    assert document.splits["test"].images == 2
    assert document.splits["train"].images + document.splits["val"].images == 6
    assert document.splits["val"].images >= 1
    assert document.split_rule.startswith("The source has no val split: 15 % of the train images each by content hash")
