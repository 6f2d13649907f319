"""A repaired copy holds what could be repaired, passes the gate without errors, and every change is listed."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sightline.config.presets import resolve
from sightline.documents import DataDocument
from sightline.errors import DataError, DataRejected
from sightline.validate import check
from sightline.validate.repair.fix import Fixed, fix
from tests.helpers.sets import Sets, picture

CLEAN = "0 0.5 0.45 0.5 0.5\n"


@pytest.fixture
def fixed(tmp_path: Path) -> Callable[[Path], tuple[Fixed, dict[str, str], DataDocument]]:
    """Repair a source; returns what was done, changes by place, and what the gate says of the copy."""

    def call(root: Path, **values: object) -> tuple[Fixed, dict[str, str], DataDocument]:
        config = resolve("balanced", values)
        done = fix(str(root), config, tmp_path / "fixed")
        with open(done.changes_file, newline="", encoding="utf-8") as file:
            changes = {row["where"]: f"{row['rule']}: {row['change']}" for row in csv.DictReader(file)}
        policy = {"rules": {"few-boxes": "off"}}
        return (
            done,
            changes,
            check(str(tmp_path / "fixed"), resolve("balanced", {"data.policy": policy}), tmp_path / "report"),
        )

    return call


def test_a_clean_set_is_copied_without_a_change(sets: Sets, fixed):
    done, changes, document = fixed(sets.yolo())
    assert (done.images, done.boxes, changes, document.findings) == (10, 10, {}, [])


def test_boxes_are_clipped_removed_and_counted_once(sets: Sets, fixed, tmp_path):
    root = sets.yolo()
    (root / "labels/train/0.txt").write_text("0 0.9 0.5 0.4 0.4\n0 0.5 0.5 0 0.4\n1 .2 .5 .2 .2\n1 .2 .5 .2 .2\n")
    done, changes, document = fixed(root)
    assert changes == {
        "labels/train/0.txt:1": "clipped-box: clipped the box to the image",
        "labels/train/0.txt:2": "zero-area-box: removed the box",
        "labels/train/0.txt:4": "duplicate-box: removed the repeated box",
    }
    assert done.changes == {"clipped-box": 1, "zero-area-box": 1, "duplicate-box": 1}
    lines = (tmp_path / "fixed/labels/train/0.txt").read_text().splitlines()
    assert sorted(lines) == ["0 0.850000 0.500000 0.300000 0.400000", "1 0.200000 0.500000 0.200000 0.200000"]
    assert (document.errors, document.warnings) == (0, 0)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 0.5 0.5 0.1", "label-syntax"),
        ("0 .1 .1 .2 .2 .3 .3 .1 .3", "wrong-task"),
        ("7 0.5 0.5 0.1 0.1", "class-range"),
        ("0 3 3 0.1 0.1", "box-outside"),
    ],
)
def test_an_image_with_an_object_that_cannot_be_read_is_left_out_whole(sets: Sets, fixed, tmp_path, line, rule):
    root = sets.yolo()
    (root / "labels/train/0.txt").write_text(f"{CLEAN}{line}\n")
    done, changes, document = fixed(root)
    assert done.images == 9
    assert [change.split(": ")[:2] for change in changes.values()] == [[rule, "left out the image"]]
    assert not (tmp_path / "fixed/images/train/0.png").exists()
    assert document.errors == 0


@pytest.mark.parametrize(
    ("line", "rule"),
    [("0 1.6 0.5 0.5 0.5", "box-outside"), ("0 0.5 0.5 0.1", "label-syntax"), ("9 .5 .5 .1 .1", "class-range")],
)
def test_nothing_is_written_where_no_image_would_be_left(sets: Sets, tmp_path, line, rule):
    root = sets.yolo()
    for label in root.rglob("*.txt"):
        label.write_text(f"{line}\n0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="keep 0 images and 0 boxes, too few") as caught:
        fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert caught.value.exit_code == 2
    assert caught.value.problems[0].startswith(f"{rule} 10: left out the image: ")
    assert not (tmp_path / "fixed").exists()
    with pytest.raises(DataRejected) as refused:
        check(str(root), resolve("balanced", {}), tmp_path / "report")
    assert "--fix" not in refused.value.message


def test_nothing_is_written_where_all_boxes_would_go_and_only_background_is_left(sets: Sets, tmp_path):
    root = sets.yolo()
    for label in root.rglob("*.txt"):
        label.write_text("0 0.5 0.5 0 0.2\n")
    with pytest.raises(DataError, match="keep 10 images and 0 boxes, too few") as caught:
        fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert caught.value.problems == ("zero-area-box 10: removed the box",)
    assert not (tmp_path / "fixed").exists()


def test_a_set_of_mostly_copies_is_repaired_all_the_same(sets: Sets, fixed):
    root = sets.yolo()
    for number in range(60):
        shutil.copy(root / "images/train/0.png", root / f"images/train/copy{number}.png")
        shutil.copy(root / "labels/train/0.txt", root / f"labels/train/copy{number}.txt")
    done, _, document = fixed(root)
    assert (done.images, document.errors) == (10, 0)


def test_leaked_images_leave_the_held_out_splits(sets: Sets, fixed, tmp_path):
    root = sets.yolo()
    for name, size in (("a", (320, 240)), ("b", (320, 240))):
        smooth = Image.open(picture(root / f"{name}.png", ord(name), (8, 6))).resize(size, Image.Resampling.BICUBIC)
        smooth.save(root / f"images/train/{name}.png")
        (root / f"labels/train/{name}.txt").write_text(CLEAN)
        (root / f"labels/test/{name}.txt").write_text(CLEAN)
        (root / f"{name}.png").unlink()
    shutil.copy(root / "images/train/a.png", root / "images/test/a.png")
    Image.open(root / "images/train/b.png").save(root / "images/test/b.jpg", quality=60)
    for split, name in (("train", "c.rf.11.png"), ("test", "c.rf.22.png"), ("val", "c.rf.33.png")):
        picture(root / "images" / split / name, hash(name) % 1000 + 100)
        (root / f"labels/{split}/{name[:-4]}.txt").write_text(CLEAN)
    _, changes, document = fixed(root)
    renamed = changes.pop("images/train/b.png")  # the two have different suffixes, and would share a label file
    assert renamed.startswith("file-name: renamed the image to b-")
    assert changes == {
        "images/test/a.png": "leaked-image: removed the copy from the held-out split",
        "images/test/b.jpg": "leaked-copy: moved the image from test to train",
        "images/test/c.rf.22.png": "leaked-augmentation: moved the image from test to train",
        "images/val/c.rf.33.png": "leaked-augmentation: moved the image from val to train",
    }
    assert {split: part.images for split, part in document.splits.items()} == {"train": 12, "val": 2, "test": 2}
    assert document.errors == 0
    assert list((tmp_path / "fixed/images/train").glob("b*.jpg"))


def test_an_image_with_two_versions_of_its_labels_is_left_out_in_both(sets: Sets, fixed):
    root = sets.yolo()
    shutil.copy(root / "images/train/0.png", root / "images/train/again.png")
    (root / "labels/train/again.txt").write_text("1 0.3 0.3 0.2 0.2\n")
    shutil.copy(root / "images/train/1.png", root / "images/train/same.png")
    shutil.copy(root / "labels/train/1.txt", root / "labels/train/same.txt")
    done, changes, document = fixed(root)
    assert {where: change.split(":")[0] for where, change in changes.items()} == {
        "images/train/0.png": "conflicting-labels",
        "images/train/again.png": "conflicting-labels",
        "images/train/same.png": "duplicate-image",
    }
    assert (done.images, document.errors, document.warnings) == (9, 0, 0)


def test_images_that_can_be_saved_are_with_their_labels_and_others_are_left_out(sets: Sets, fixed, tmp_path):
    root = sets.yolo()
    images, labels = root / "images/train", root / "labels/train"
    for name in ("cut", "ended", "tail", "turned"):
        shutil.copy(labels / "0.txt", labels / f"{name}.txt")
    jpeg = picture(images / "cut.jpg", 30, quality=95).read_bytes()
    (images / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    picture(images / "ended.jpg", 31, quality=95)
    (images / "ended.jpg").write_bytes((images / "ended.jpg").read_bytes()[:-2])  # only the end marker is missing
    picture(images / "tail.jpg", 32, quality=95)
    (images / "tail.jpg").write_bytes((images / "tail.jpg").read_bytes() + b"more")
    exif = Image.Exif()
    exif[0x112] = 6
    picture(images / "turned.jpg", 33, exif=exif)
    (images / "1.png").rename(images / "1.jpg")
    (labels / "2.txt").unlink()
    done, changes, document = fixed(root)
    out = tmp_path / "fixed/images/train"
    assert changes["images/train/cut.jpg"].startswith("truncated-image: left out the image")
    assert not (out / "cut.jpg").exists()
    assert "end marker" in changes["images/train/ended.jpg"]
    assert (tmp_path / "fixed/labels/train/ended.txt").read_text().strip()
    assert changes["images/train/turned.jpg"] == "exif-orientation: made upright (EXIF orientation 6)"
    with Image.open(out / "turned.jpg") as turned:
        assert turned.size == (20, 40)
    assert changes["images/train/1.jpg"] == "wrong-suffix: named .png, which it is"
    assert (out / "1.png").exists()
    assert changes["images/train/2.png"] == "missing-label: wrote an empty label: the image counts as background"
    assert set(changes) == {
        f"images/train/{n}" for n in ("cut.jpg", "ended.jpg", "tail.jpg", "turned.jpg", "1.jpg", "2.png")
    }
    assert (done.images, document.images, document.errors, document.warnings) == (13, 13, 0, 0)


def test_a_coco_set_with_crowds_masks_and_repeated_images_is_written_clean(sets: Sets, fixed):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    content = json.loads(path.read_text())
    image = content["images"][0]
    content["images"].append(image | {"id": 77})
    crowd = {"id": 900, "image_id": content["images"][1]["id"], "category_id": content["categories"][0]["id"]}
    content["annotations"].append(
        crowd | {"bbox": [1, 1, 5, 5], "iscrowd": 1, "segmentation": {"counts": "x", "size": [1, 1]}}
    )
    path.write_text(json.dumps(content))
    _, changes, document = fixed(root)
    kinds = {change.split(":")[0] for change in changes.values()}
    assert {"crowd-region", "conflicting-labels"} <= kinds
    assert (document.images, document.errors) == (9, 0)


def test_voc_pixels_counted_from_one_are_counted_from_nought_in_the_copy(sets: Sets, fixed, tmp_path):
    root = sets.voc()
    before = check(str(root), resolve("balanced", {"data.voc_origin": 1}), tmp_path / "before")
    done, _, document = fixed(root, **{"data.voc_origin": 1})
    assert (done.format, document.errors) == ("voc", 0)
    assert document.distributions == before.distributions


def test_labels_that_differ_in_order_alone_are_the_same(sets: Sets, fixed):
    root = sets.yolo()
    (root / "labels/train/0.txt").write_text("0 .2 .2 .1 .1\n1 .6 .6 .2 .2\n0 .4 .4 .1 .1\n")
    shutil.copy(root / "images/train/0.png", root / "images/train/z.png")
    (root / "labels/train/z.txt").write_text("0 .4 .4 .1 .1\n0 .2 .2 .1 .1\n1 .6 .6 .2 .2\n")
    done, changes, _ = fixed(root)
    assert changes == {"images/train/z.png": "duplicate-image: removed the copy"}
    assert (done.images, done.boxes) == (10, 12)


def test_one_image_with_other_labels_in_another_split_is_left_out_in_both(sets: Sets, fixed):
    root = sets.yolo()
    shutil.copy(root / "images/train/0.png", root / "images/test/x.png")
    (root / "labels/test/x.txt").write_text("1 0.3 0.3 0.2 0.2\n0 0.98 0.5 0.1 0.1\n")
    done, changes, document = fixed(root)
    assert {where: change.split(":")[0] for where, change in changes.items()} == {
        "images/train/0.png": "conflicting-labels",
        "images/test/x.png": "conflicting-labels",
    }
    assert (done.images, document.images, document.errors) == (9, 9, 0)


def test_nothing_is_listed_of_images_that_are_left_out_but_that(sets: Sets, fixed):
    root = sets.yolo()
    lines = "0 0.98 0.5 0.1 0.1\n0 .2 .2 .1 .1\n0 .2 .2 .1 .1\n0 .5 .5 0 .1\n9 .5 .5 .1 .1\n"
    (root / "labels/train/0.txt").write_text(lines)
    shutil.copy(root / "images/train/1.png", root / "images/test/y.png")
    shutil.copy(root / "labels/train/1.txt", root / "labels/test/y.txt")
    _, changes, _ = fixed(root)
    assert changes == {
        "labels/train/0.txt:5": "class-range: left out the image: an object in it has no class",
        "images/test/y.png": "leaked-image: removed the copy from the held-out split",
    }


def test_an_image_that_is_listed_twice_is_listed_once_and_a_pipe_is_left_out(sets: Sets, fixed):
    root = sets.yolo(train="train.txt")
    lines = [f"./images/train/{n}.png" for n in range(6)]
    (root / "train.txt").write_text("\n".join([*lines, lines[0]]) + "\n")
    os.mkfifo(root / "images/val/pipe.png")
    (root / "images/val/link.png").symlink_to("pipe.png")  # of a suffix that is read, and would be read for ever
    done, changes, _ = fixed(root)
    assert changes["images/train/0.png"] == "duplicate-image: listed once"
    assert changes["images/val/link.png"] == "unreadable-image: left out the image"
    assert done.images == 10
