"""The gate: what each rule finds in a set, what the policy makes of it, and what is left for training."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sightline import snapshots
from sightline.documents import DataDocument, read
from sightline.errors import DataRejected
from tests.helpers.sets import found, places

LABEL = "labels/train/3.txt"


def photo(path: Path, seed: int, size: tuple[int, int] = (160, 80), **options) -> None:
    """A smooth picture: it looks the same after encoding, as noise does not."""
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 8, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **options)


def problems(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "out/problems.csv").read_text().splitlines()))


# --- leakage


def test_the_same_image_in_two_splits_is_leakage_and_found_at_the_held_out_copy(sets, rejected):
    root = sets.yolo()
    shutil.copy(root / "images/train/0.png", root / "images/test/other name.png")
    shutil.copy(root / "labels/train/0.txt", root / "labels/test/other name.txt")
    document = rejected(root)
    assert found(document, "error") == {"leaked-image": 1}
    assert places(document, "leaked-image") == ["images/test/other name.png"]
    [example] = document.findings[0].examples
    assert example.message == "of test is byte for byte the same as images/train/0.png of train"


def test_val_and_test_naming_one_folder_is_leakage(sets, rejected):
    root = sets.yolo(test="images/val")
    assert found(rejected(root), "error") == {"leaked-image": 2}


@pytest.mark.parametrize("options", [{"quality": 50}, {"quality": 90}])
@pytest.mark.parametrize("size", [(160, 80), (100, 50), (320, 160)])
def test_a_copy_encoded_anew_or_resized_is_leakage(sets, rejected, options, size):
    root = sets.yolo()
    for n in range(6):
        photo(root / f"images/train/{n}.png", n)
    photo(root / "images/val/6.png", 6)
    photo(root / "images/val/7.jpg", 2, size, **options)
    (root / "images/val/7.png").unlink()
    document = rejected(root)
    assert found(document, "error") == {"leaked-copy": 1}
    assert places(document, "leaked-copy") == ["images/val/7.jpg"]
    assert document.findings[0].examples[0].message == "of val looks the same as images/train/2.png of train"


def test_a_scene_in_which_something_moved_is_no_leaked_copy(sets, validate):
    root = sets.yolo()
    photo(root / "images/train/0.png", 0, (640, 320))
    with Image.open(root / "images/train/0.png") as image:
        image.paste((0, 0, 0), (300, 100, 330, 130))
        image.save(root / "images/val/6.png")
    assert "leaked-copy" not in found(validate(root))


def test_augmented_copies_of_one_source_in_two_splits_are_leakage(sets, rejected):
    root = sets.yolo()
    for split, n, name in (("train", 0, "x_jpg.rf.aa"), ("train", 1, "x_jpg.rf.bb"), ("test", 8, "x_jpg.rf.cc")):
        (root / f"images/{split}/{n}.png").rename(root / f"images/{split}/{name}.png")
        (root / f"labels/{split}/{n}.txt").rename(root / f"labels/{split}/{name}.txt")
    document = rejected(root)
    assert found(document, "error") == {"leaked-augmentation": 1}
    assert places(document, "leaked-augmentation") == ["images/test/x_jpg.rf.cc.png"]


def test_made_splits_keep_copies_and_augmentations_together(sets, validate, tmp_path):
    root = tmp_path / "one"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for n in range(60):
        sets.picture(root / f"images/scene{n % 20}_jpg.rf.{n}.png", n)
        (root / f"labels/scene{n % 20}_jpg.rf.{n}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images\nnames: [cat]\n")
    document = validate(root)
    assert found(document, "error") == {}
    kept = snapshots.fetch(document.snapshot)
    splits: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        for sample in kept.samples(split):
            splits.setdefault(Path(sample.source).name.split(".rf.")[0], set()).add(split)
    assert len(splits) == 20
    assert all(len(names) == 1 for names in splits.values())


# --- the set


def test_copies_in_a_split_count_once_and_near_ones_are_told(sets, validate):
    root = sets.yolo()
    shutil.copy(root / "images/train/0.png", root / "images/train/copy.PNG")
    shutil.copy(root / "labels/train/0.txt", root / "labels/train/copy.txt")
    photo(root / "images/train/1.png", 1)
    photo(root / "images/train/near.jpg", 1, quality=60)
    (root / "labels/train/near.txt").write_text("1 0.5 0.45 0.5 0.5\n")
    document = validate(root)
    assert found(document, "error") == {}
    assert places(document, "duplicate-image") == ["images/train/copy.PNG"]
    assert places(document, "near-duplicate") == ["images/train/near.jpg"]
    assert document.splits["train"].images == 7


def test_classes_and_backgrounds_of_the_set_are_judged(sets, validate):
    root = sets.yolo(nc=3, names=["cat", "dog", "bird"])
    (root / "labels/test/9.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    for n in range(4):
        (root / f"labels/train/{n}.txt").write_text("")
    (root / "labels/train/5.txt").write_text("".join(f"1 {0.3 + n / 100} 0.5 0.2 0.2\n" for n in range(40)))
    document = validate(root)
    assert found(document) == {
        "class-absent": 4,  # bird everywhere, dog in test
        "few-boxes": 1,
        "class-imbalance": 1,
        "many-backgrounds": 1,
    }
    messages = [example.message for finding in document.findings for example in finding.examples]
    assert "has 1 of 'cat' and 40 of 'dog', 40 times as many" in messages
    assert "has 4 of 6 images without a box (67%)" in messages


def test_the_odd_ones_among_grey_and_coloured_images_are_told_and_a_grey_set_is_not(sets, validate):
    root = sets.yolo()
    Image.open(root / "images/train/0.png").convert("L").save(root / "images/train/0.png")
    assert places(validate(root), "greyscale-image") == ["images/train/0.png"]
    for path in sorted(root.rglob("*.png"))[:-2]:
        Image.open(path).convert("L").save(path)
    document = validate(root)
    assert places(document, "greyscale-image") == ["images/val/6.png", "images/val/7.png"]
    [finding] = [finding for finding in document.findings if finding.rule == "greyscale-image"]
    assert finding.examples[0].message == "has colours; 8 images have one channel"
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert "greyscale-image" not in found(validate(root))


# --- policy


def test_over_budget_is_refused_with_everything_told_at_once(sets, rejected, tmp_path):
    root = sets.yolo()
    (root / LABEL).write_text("9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n")
    (root / "images/val/6.png").write_bytes(b"no image")
    document = rejected(root)
    assert found(document, "error") == {"class-range": 1, "label-syntax": 1, "unreadable-image": 1}
    assert all(finding.rejected and finding.handling == "rejected" for finding in document.findings[:3])
    assert (document.errors, document.images, document.boxes) == (3, 10, 11)  # two of them cannot be read
    rows = problems(tmp_path)
    assert [(row["rule"], row["where"]) for row in rows if row["severity"] == "error"] == [
        ("class-range", f"{LABEL}:1"),
        ("label-syntax", f"{LABEL}:2"),
        ("unreadable-image", "images/val/6.png"),
    ]
    page = (tmp_path / "out/data.html").read_text()
    assert "class-range" in page
    assert "9 0.5 0.5 0.1 0.1" not in page  # the class is named, the line is not repeated


def test_under_budget_items_are_dropped_with_their_reason_and_never_trained_on(sets, validate, tmp_path):
    root = sets.yolo()
    (root / LABEL).write_text("9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.3 0.3\n")
    (root / "labels/train/4.txt").write_text("0 0.5 0.5 0.3 0.3\n0 0.5 0.5 0 0.1\n")
    (root / "labels/train/5.txt").write_text("0 0.5 0.5 0.3 0.3\n0 0.2 0.2 0.003 0.003\n")
    rules = {
        "class-range": {"severity": "error", "max_count": 1},
        "zero-area-box": {"severity": "error", "max_fraction": 0.2},
        "tiny-box": {"severity": "error", "max_count": 1, "max_fraction": 0.5},
    }
    document = validate(root, policy={"rules": rules})
    assert found(document, "error") == {"class-range": 1, "zero-area-box": 1, "tiny-box": 1}
    handlings = {finding.rule: finding.handling for finding in document.findings}
    assert handlings["class-range"] == "dropped the image"
    assert handlings["tiny-box"] == "dropped the box"
    assert (document.dropped_images, document.dropped_boxes) == (1, 2)
    kept = {sample.source: sample for sample in snapshots.fetch(document.snapshot).samples("train")}
    assert "images/train/3.png" not in kept
    assert len(kept["images/train/4.png"].boxes) == len(kept["images/train/5.png"].boxes) == 1
    rows = {row["rule"]: row["handling"] for row in problems(tmp_path)}
    assert rows["class-range"] == "dropped the image"


@pytest.mark.parametrize(
    ("limits", "errors", "passes"),
    [
        ({"max_count": 2}, 2, True),
        ({"max_count": 1}, 2, False),
        ({"max_fraction": 0.2}, 2, True),
        ({"max_fraction": 0.1}, 2, False),
        ({"max_fraction": 0.5, "max_count": 1}, 2, False),
        ({}, 1, False),
    ],
)
def test_either_limit_refuses(sets, validate, limits, errors, passes):
    root = sets.yolo()
    for n in range(errors):
        (root / f"images/train/{n}.png").write_bytes(b"no image")
    policy = {"rules": {"unreadable-image": {"severity": "error", **limits}}}
    if passes:
        assert validate(root, policy=policy).splits["train"].images == 6 - errors
    else:
        with pytest.raises(DataRejected, match=r"unreadable-image \d"):
            validate(root, policy=policy)


def test_strict_default_and_lenient_differ_on_the_same_set(sets, validate, rejected):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    assert found(validate(root), "warning")["missing-label"] == 1
    assert found(rejected(root, policy="strict"), "error") == {"missing-label": 1}
    for n in range(100, 130):
        sets.picture(root / f"images/train/{n}.png", n)
        (root / f"labels/train/{n}.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    (root / "images/train/1.png").write_bytes(b"no image")
    assert found(rejected(root), "error") == {"unreadable-image": 1}
    lenient = validate(root, policy="lenient")
    assert (lenient.dropped_images, lenient.splits["train"].images) == (1, 35)


def test_a_rule_that_is_off_is_not_told(sets, validate):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    assert "missing-label" not in found(validate(root, policy={"rules": {"missing-label": "off"}}))


# --- what only some rules see


def test_a_class_that_only_a_refused_image_has_is_a_class_and_drawn(sets, rejected, tmp_path):
    root = sets.voc()
    path = root / "Annotations/0.xml"
    path.write_text(
        path.read_text().replace("cat", "zebra").replace("<xmin>10<", "<xmin>900<").replace("<xmax>30<", "<xmax>990<")
    )
    other = (
        "<object><name>zebra</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    )
    path.write_text(path.read_text().replace("</annotation>", f"{other}</annotation>"))
    document = rejected(root)
    assert found(document, "error") == {"box-outside": 1}
    assert document.classes == ["cat", "dog", "zebra"]
    assert "zebra" in (tmp_path / "out/data.html").read_text()


def test_an_equal_augmented_copy_is_one_leak(sets, rejected):
    root = sets.yolo()
    for split in ("train", "test"):
        sets.picture(root / f"images/{split}/p_jpg.rf.aaa.png", 50)
        (root / f"labels/{split}/p_jpg.rf.aaa.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    assert found(rejected(root), "error") == {"leaked-image": 1}


def test_annotations_of_one_image_that_is_gone_are_one_missing_image(sets, rejected):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    content = json.loads(path.read_text())
    content["annotations"] += [content["annotations"][0] | {"id": 500 + n, "image_id": 77} for n in range(7)]
    path.write_text(json.dumps(content))
    document = rejected(root)
    assert found(document, "error") == {"missing-image": 1}
    assert (document.images, document.dropped_images) == (11, 1)


# --- the report


def test_the_report_of_a_passing_set_has_counts_distributions_and_no_errors(sets, validate, tmp_path):
    validate(sets.yolo())
    document = read(DataDocument, tmp_path / "out")
    assert document.verdict == "accepted"
    assert document.errors == 0
    assert document.distributions is not None
    assert sum(document.distributions.sizes.counts["train"]) == 6
    json.loads((tmp_path / "out/data.json").read_text())
    yaml.safe_load(document.policy.model_dump_json())


def test_what_is_wrong_with_the_whole_set_comes_before_what_is_wrong_with_many_boxes(sets, refuse):
    root = sets.yolo(names=["Cat", "cat"])
    for label in root.rglob("*.txt"):
        label.write_text("9 0.5 0.5 0.1 0.1\n" * 3)
    (root / "classes.txt").write_text("cat\nCat\n")
    error = refuse(root, DataRejected)
    assert [problem.rpartition("[")[2] for problem in error.problems[:3]] == [
        "class-order]",
        "similar-names]",
        "class-range]",
    ]
