"""Missing splits are made by content, so that a growing set never moves an image from test to train."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from sightline.documents import SPLITS
from sightline.errors import DataError
from sightline.validate.checks.image_groups import ImageGroups
from sightline.validate.index import Index
from sightline.validate.splits import assign, place
from tests.helpers import index_rows

HASHES = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(1000)]


@pytest.fixture
def index(tmp_path) -> Iterator[Index]:
    index = Index(tmp_path / "index.sqlite")
    yield index
    index.close()


def fill(
    index: Index, given: Sequence[str], hashes: Sequence[str] = HASHES, origins: Sequence[str | None] = ()
) -> None:
    index_rows.fill(index, hashes[: len(given)], splits=given, augmented_from=origins)
    groups = ImageGroups(index)
    groups.join_equal("augmented_from")
    groups.write()


def splits(index: Index) -> list[str]:
    assigned = {image.id: split for split in SPLITS for image in index.images.of_split(split)}
    return [assigned[id] for id in sorted(assigned)]


def test_all_three_are_made_in_the_ratio_of_the_hash_ranges(index):
    fill(index, [""] * 1000)
    rule = assign(index, "set", set())
    assert Counter(splits(index)) == {"train": 739, "val": 123, "test": 138}
    assert rule.endswith("739 train, 123 val, 138 test images.")
    for split, sha in zip(splits(index), HASHES, strict=True):
        assert split == ("train" if place(sha) < 0.7 else "val" if place(sha) < 0.85 else "test")


def test_a_growing_set_moves_no_image_between_splits(index, tmp_path):
    fill(index, [""] * 1000)
    assign(index, "set", set())
    small = Index(tmp_path / "small.sqlite")
    fill(small, [""] * 300, HASHES[:300])
    assign(small, "set", set())
    assert splits(index)[:300] == splits(small)
    small.close()


@pytest.mark.parametrize(("absent", "low", "high"), [("val", 0.70, 0.85), ("test", 0.85, 1.0)])
def test_one_missing_split_takes_its_range_of_train_and_leaves_the_others_alone(index, absent, low, high):
    present = "test" if absent == "val" else "val"
    fill(index, ["train"] * 900 + [present] * 100)
    rule = assign(index, "set", {"train", present})
    assert splits(index)[900:] == [present] * 100
    taken = [sha for sha, split in zip(HASHES[:900], splits(index), strict=False) if split == absent]
    assert all(low <= place(sha) < high for sha in taken)
    assert 0.10 < len(taken) / 900 < 0.20
    assert f"no {absent} split" in rule
    assert f"{len(taken)} {absent}" in rule


def test_every_split_has_an_image_even_in_a_tiny_set(index):
    low = sorted(sha for sha in HASHES if place(sha) < 0.7)[:3]
    fill(index, [""] * 3, low)
    assign(index, "set", set())
    assert splits(index) == ["val", "test", "train"]


def test_too_few_images_to_make_splits_from_are_refused(index):
    fill(index, [""] * 3, [HASHES[0], HASHES[1], HASHES[2]], ["a", "a", "b"])  # copies of two sources
    with pytest.raises(DataError, match=r"got 2 different images .* expected at least 3"):
        assign(index, "set", set())


def test_kept_splits_are_the_sources_own(index):
    fill(index, ["", "val", "test"], HASHES[:3])
    assert assign(index, "set", {"val"}, make=False) is None
    assert splits(index) == ["train", "val", "test"]


def test_a_named_split_without_images_is_refused_with_a_way_out(sets, refuse):
    root = sets.coco()
    path = root / "test/_annotations.coco.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": [], "annotations": []}))
    message = refuse(root, DataError).message
    assert "the test split is declared but has no images" in message
    assert "remove the declaration" in message


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
