"""Two snapshots are compared without their images."""

from __future__ import annotations

import os
import shutil

from sightline.snapshots import publish
from sightline.snapshots.diff import diff
from sightline.storage import open_store
from tests.helpers.memory import CAT, DOG, MemoryDataset, filled
from tests.helpers.snapshots import keys


def test_equal_snapshots_have_no_difference(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    document = diff(published.uri, published.uri)
    assert (document.images.before, document.images.after, document.boxes.before) == (20, 20, 20)
    assert sum(document.images.model_dump().values()) == 40
    assert sum(document.boxes.model_dump().values()) == 40
    assert document.examples == {}


def test_every_kind_of_change_is_counted_and_listed(either, tmp_path):
    dataset = filled(tmp_path / "in", 40)
    big = (0, 0.5, 0.5, 0.4, 0.4)
    dataset.relabel("train", "010.png", big, DOG)
    before = publish(dataset, either)
    dataset.put("train", "added.png", (CAT, DOG))
    del dataset.images["train", "000.png"]
    dataset.put("train", "001.png", (DOG,), seed="changed")
    dataset.move("val", "008.png", "test")
    dataset.move("train", "002.png", "train", "renamed.png")
    dataset.relabel("train", "003.png", (0, 0.25, 0.25, 0.1, 0.1))
    dataset.relabel("train", "010.png", (0, 0.51, 0.5, 0.4, 0.4), (1, 0.8, 0.8, 0.1, 0.1))
    after = publish(dataset, either)
    shutil.rmtree(tmp_path / "in")
    either.delete(keys(either, "packs/"))
    document = diff(before.uri, after.uri)
    assert document.images.model_dump() == {
        **{"before": 40, "after": 40, "added": 1, "removed": 1, "changed": 1, "moved": 1, "renamed": 1},
        "relabelled": 2,
    }
    assert document.boxes.model_dump() == {
        **{"before": 41, "after": 42, "added": 1, "removed": 1, "moved": 1, "class_changed": 1}
    }
    assert document.examples == {
        "images added": ["train/added.png"],
        "images removed": ["train/000.png"],
        "images changed": ["train/001.png has other bytes"],
        "images moved": ["008.png from val to test"],
        "images renamed": ["train/002.png is renamed.png now"],
        "classes changed": ["train/003.png: dog at (0.25, 0.25; 0.10 x 0.10) is cat now"],
        "boxes moved": [
            "train/010.png: cat at (0.50, 0.50; 0.40 x 0.40) is at (0.51, 0.50; 0.40 x 0.40) now, IoU 0.95"
        ],
        "boxes removed": ["train/010.png: dog at (0.25, 0.25; 0.10 x 0.10)"],
        "boxes added": ["train/010.png: dog at (0.80, 0.80; 0.10 x 0.10)"],
    }
    assert [tuple(row.model_dump().values()) for row in document.by_class] == [
        ("cat", 20, 21, 0, 0, 1, 0, 1),
        ("dog", 21, 21, 1, 1, 0, 1, 0),
    ]


def test_classes_are_compared_by_name_and_their_order_is_no_change_of_boxes(store, tmp_path):
    dataset = filled(tmp_path / "in")
    before = publish(dataset, store)
    dataset.classes = ["dog", "cow", "cat"]
    for (split, name), sample in list(dataset.images.items()):
        dataset.relabel(split, name, *[({0: 2, 1: 0}[c], *box) for c, *box in sample.labels])
    document = diff(before.uri, publish(dataset, store).uri)
    assert (document.classes_added, document.classes_removed) == (["cow"], [])
    assert document.classes_reordered
    assert document.images.relabelled == 0
    assert [row.name for row in document.by_class] == ["dog", "cat"]
    dataset.classes = ["dog", "cow", "lion"]
    renamed = diff(before.uri, publish(dataset, store).uri)
    assert (renamed.boxes.class_changed, renamed.images.relabelled) == (10, 10)
    assert (renamed.classes_added, renamed.classes_removed) == (["cow", "lion"], ["cat"])


def test_equal_images_pair_one_to_one_and_names_that_shift_are_renamed(store, tmp_path):
    dataset = MemoryDataset(tmp_path / "in")
    for number in range(30):
        dataset.put("train", f"{number:02}.png", seed=f"image {number}")
    dataset.put("train", "x.png", seed="image 0")
    before = publish(dataset, store)
    shifted = MemoryDataset(tmp_path / "shifted")
    for number in range(30):
        shifted.put("train", f"{number + 1:02}.png", seed=f"image {number}")
    document = diff(before.uri, publish(shifted, store).uri)
    assert document.images.renamed == 30
    assert (document.images.added, document.images.removed, document.images.changed) == (0, 1, 0)
    assert len(document.examples["images renamed"]) == 20


def test_a_label_only_diff_between_two_stores_reads_only_what_differs(tmp_path):
    first, second = (open_store(f"{tmp_path}/{name}") for name in ("a", "b"))
    dataset = filled(tmp_path / "in")
    before = publish(dataset, first)
    dataset.relabel("val", "008.png")
    after = publish(dataset, second)
    same = set(keys(first, "items/")) & set(keys(second, "items/"))
    assert len(same) == 2
    for store in (first, second):
        store.delete(same)
    document = diff(before.uri, after.uri)
    assert (document.images.relabelled, document.boxes.removed) == (1, 1)
    assert os.environ["SIGHTLINE_CACHE"] == f"{tmp_path}/cache"
    assert not (tmp_path / "cache").exists()
