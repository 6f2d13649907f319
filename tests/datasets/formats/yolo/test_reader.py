"""YOLO sets as they lie in folders: images, their labels, and lists of images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.reading import collect
from tests.helpers.sets import COUNTS, Sets


def test_yolo_in_a_folder_of_its_own_and_image_lists_are_read(sets):
    root = sets.yolo("wrapped/inner", train="train.txt")
    (root / "train.txt").write_text("\ufeff" + "".join(f"./images/train/{n}.png\r\n\n" for n in range(6)))
    assert collect(root.parent).boxes == collect(sets.yolo()).boxes


def test_several_roots_and_labels_beside_images_are_read(sets):
    root = sets.yolo(train=["images/train", "more"])
    shutil.copytree(root / "images/val", root / "more/deep")
    for n in (6, 7):
        shutil.copy(root / f"labels/val/{n}.txt", root / "more/deep")
    read = collect(root)
    assert read.counts()["train"] == (8, 8)
    assert read.records["more/deep/7.png"].label == str(root / "more/deep/7.txt")


def test_an_image_without_a_label_file_has_none_and_a_label_without_an_image_is_an_orphan(sets):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/1.txt").write_text("")
    (root / "labels/train/99.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "labels/train/classes.txt").write_text("cat\ndog\n")
    read = collect(root)
    assert (read.boxes["train", "0"], read.boxes["train", "1"]) == ([], [])
    assert read.records["images/train/0.png"].label is None
    assert read.records["images/train/0.png"].where == "labels/train/0.txt:{}"
    assert read.records["images/train/1.png"].label == str(root / "labels/train/1.txt")
    assert read.rules() == [("orphan-label", "labels/train/99.txt")]


@pytest.mark.parametrize("listed", [False, True])
def test_label_files_with_a_suffix_in_upper_case_are_found(sets, listed):
    root = sets.yolo(**({"train": "train.txt"} if listed else {}))
    (root / "train.txt").write_text("images/train/0.png\nimages/train/1.png\n")
    (root / "labels/train/0.txt").rename(root / "labels/train/0.TXT")
    (root / "labels/train/99.TXT").write_text("0 0.5 0.5 0.1 0.1\n")
    read = collect(root)
    assert read.records["images/train/0.png"].label == str(root / "labels/train/0.TXT")
    assert len(read.boxes["train", "0"]) == 1
    assert ("orphan-label", "labels/train/99.TXT") in read.rules()
    assert ("orphan-label", "labels/train/0.TXT") not in read.rules()


def test_two_images_of_one_label_file_are_named(sets):
    root = sets.yolo()
    sets.picture(root / "images/train/3.jpg", 70)
    [found] = collect(root).found
    assert (found.rule, found.where) == ("shared-label", "images/train/3.png")
    assert "labels/train/3.txt, as 'images/train/3.jpg'" in found.message


def test_a_list_that_leads_nowhere_is_named_with_its_line(sets):
    root = sets.yolo(train="train.txt")
    (root / "images/train/a.gif").write_bytes(b"")
    (root / "train.txt").write_text("images/train/0.png\n\nimages/train/gone.png\nimages/train/a.gif\n")
    read = collect(root)
    assert read.rules() == [("missing-image", "train.txt:3"), ("unsupported-suffix", "images/train/a.gif")]
    assert read.counts()["train"] == (1, 1)


def test_labels_in_a_folder_of_another_name_are_taken_and_said(sets: Sets):
    root = sets.yolo()
    (root / "labels").rename(root / "Annotations")
    shutil.copytree(root / "Annotations", root / "predictions")
    read = collect(root, fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("data-path", f"images/{split}") for split in COUNTS]
    assert read.found[0].message == "has no labels in labels/train, where they usually are; took Annotations/train"
    shutil.copytree(root / "Annotations", root / "second")
    assert all(record.label is None for record in collect(root).records.values())


def test_a_missing_label_and_a_missing_image_say_where_they_were_looked_for(sets: Sets, validate: Any):
    root = sets.yolo(val="val.txt")
    (root / "labels/train/0.txt").unlink()
    [finding] = [finding for finding in validate(root_with_list(root)).findings if finding.rule == "missing-label"]
    assert finding.examples[0].message == "has no label file labels/train/0.txt"
    (root / "val.txt").write_text("images/val/6.png\n/home/me/val/gone.png\n")
    [gone] = [item for item in collect(root).found if item.rule == "missing-image"]
    assert gone.message == (
        "the image '/home/me/val/gone.png' is not there; tried home/me/val/gone.png, me/val/gone.png, val/gone.png "
        "below the source"
    )


def root_with_list(root: Path) -> Path:
    (root / "val.txt").write_text("images/val/6.png\nimages/val/7.png\n")
    return root
