"""Every format is read as it comes, from real sets and from the layouts that tools write."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from sightline.artifacts import ValidateDocument
from sightline.validate import snapshot


def table(document: ValidateDocument) -> dict[str, tuple[int, int]]:
    return {split: (counts.images, counts.boxes) for split, counts in document.splits.items()}


def warnings(document: ValidateDocument) -> Counter[str]:
    return Counter(problem.rule for problem in document.problems)


def named_boxes(document: ValidateDocument) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    snap = snapshot.fetch(document.snapshot)
    return {
        sample.image.name: sorted(
            (snap.classes[index], tuple(box)) for index, box in zip(sample.classes, sample.boxes.round(3), strict=True)
        )
        for split in document.splits
        for sample in snap.samples(split)
    }


# --- real sets


def test_bccd_keeps_its_own_splits_and_names_its_two_boxes_without_area(shared, validate):
    document = validate(shared / "data/bccd")
    assert document.format == "voc"
    assert document.classes == ["Platelets", "RBC", "WBC"]
    assert table(document) == {"train": (205, 2804), "val": (87, 1137), "test": (72, 945)}
    assert document.split_rule is None
    assert sorted((p.rule, p.where, p.message) for p in document.problems) == [
        (
            "zero-area-box",
            "BCCD/Annotations/BloodImage_00338.xml:158",
            "'RBC' box (504, 337, 504, 337) of BCCD/JPEGImages/BloodImage_00338.jpg has no area; dropped",
        ),
        (
            "zero-area-box",
            "BCCD/Annotations/BloodImage_00343.xml:50",
            "'RBC' box (181, 329, 181, 329) of BCCD/JPEGImages/BloodImage_00343.jpg has no area; dropped",
        ),
    ]


def test_roboflow_yolo_with_wrong_relative_paths_is_found_and_absent_classes_are_said(shared, validate):
    document = validate(shared / "data/chess-squares")
    assert document.format == "yolo"
    assert table(document) == {"train": (78, 483), "val": (8, 43), "test": (5, 28)}
    assert (len(document.classes), document.classes[2]) == (12, "Black King")
    [problem] = document.problems
    assert (problem.rule, problem.where) == ("class-absent", "test")
    assert problem.message == "no box of 'White Bishop', 'White Knight' in test"


def test_roboflow_coco_leaves_out_the_category_that_only_groups_others(shared, validate):
    document = validate(shared / "data/rbc-wbc-coco")
    assert document.format == "coco"
    assert document.classes == ["rbc", "wbc"]
    assert table(document) == {"train": (210, 4947), "val": (20, 470), "test": (10, 221)}


def test_the_same_boxes_come_out_of_voc_and_coco_and_images_two_folders_up_are_found(shared, validate):
    voc = validate(shared / "data/voc100-multiformat/gts/pascalvoc_format")
    coco = validate(shared / "data/voc100-multiformat/gts/coco_format_v2")
    assert table(voc) == table(coco) == {"train": (65, 197), "val": (19, 49), "test": (16, 27)}
    assert voc.split_rule == coco.split_rule
    assert "65 train, 19 val, 16 test" in voc.split_rule
    assert voc.classes == sorted(coco.classes)
    assert len(coco.classes) == 20
    assert coco.classes[0] == "person"
    assert named_boxes(voc) == named_boxes(coco)


# --- one small set, three formats


def test_three_formats_of_one_set_have_one_digest(sets, validate):
    digests = {validate(source).digest for source in (sets.yolo(), sets.coco(), sets.voc())}
    assert len(digests) == 1


def test_samples_give_boxes_in_pixels(sets, validate):
    sample = snapshot.fetch(validate(sets.yolo()).snapshot, ["test"]).samples("test")[0]
    assert (sample.width, sample.height) == (40, 20)
    assert sample.boxes.round(4).tolist() == [[10, 4, 30, 14]]
    assert sample.classes.tolist() == [int(Path(sample.source).stem) % 2]
    assert sample.image.is_file()


# --- YOLO layouts


@pytest.mark.parametrize(
    "values",
    [
        {"names": {"0": "cat", "1": "dog"}},
        {"val": None, "valid": "images/val"},
        {"val": None, "validation": "images/val"},
        {"path": "../yolo", "train": ["images/train"]},
        {"path": "/somewhere/else", "train": "../images/train", "val": "../images/val"},
        {"val": "images/valid", "nc": None},
        {"test": None},
    ],
    ids=["names-dict", "valid", "validation", "path-and-list", "roboflow", "synonym-folder", "sibling-folder"],
)
def test_data_yaml_dialects_mean_the_same(sets, validate, values):
    assert validate(sets.yolo(**values)).digest == validate(sets.yolo("plain")).digest


def test_yolo_in_a_folder_of_its_own_and_image_lists_are_read(sets, validate):
    root = sets.yolo(f"{'wrapped'}/inner", train="train.txt")
    (root / "train.txt").write_text("".join(f"./images/train/{n}.png\n" for n in range(6)))
    assert validate(root.parent).digest == validate(sets.yolo()).digest


def test_images_without_labels_are_backgrounds_and_labels_without_images_are_orphans(sets, validate):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/1.txt").write_text("")
    (root / "labels/train/99.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    document = validate(root)
    assert document.splits["train"].backgrounds == 2
    assert [(p.rule, p.where) for p in document.problems] == [("orphan-label", "labels/train/99.txt")]


def test_rounding_overshoot_is_clipped_silently(sets, validate):
    root = sets.yolo()
    (root / "labels/test/8.txt").write_text("0 0.75 0.5 0.5009 0.5\n")
    document = validate(root)
    assert warnings(document) == {}
    boxes = {Path(s.source).stem: s.boxes for s in snapshot.fetch(document.snapshot).samples("test")}
    assert boxes["8"].round(3).tolist() == [[19.982, 5, 40, 15]]


def test_a_class_called_no_stays_no(sets, validate):
    root = sets.yolo()
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [yes, no]\n")
    document = validate(root)
    assert document.classes == ["yes", "no"]
    assert "'no'" in snapshot.fetch(document.snapshot, []).data_yaml.read_text()


# --- COCO layouts


def test_coco_standard_layout_and_a_single_file_with_images_elsewhere_are_read(sets, validate, tmp_path):
    roboflow = sets.coco()
    expected = validate(roboflow).digest
    standard = tmp_path / "standard"
    (standard / "annotations").mkdir(parents=True)
    for split, year in (("train", "2017"), ("val", "2017"), ("test", "")):
        shutil.copytree(roboflow / split, standard / "images" / (split + year))
        moved = standard / "images" / (split + year) / "_annotations.coco.json"
        shutil.copy(moved, standard / "annotations" / f"captions_{split}{year}.json")
        moved.rename(standard / "annotations" / f"instances_{split}{year}.json")
    assert validate(standard).digest == expected

    alone = tmp_path / "alone"
    alone.mkdir()
    (roboflow / "train/_annotations.coco.json").rename(alone / "anything.json")
    document = validate(alone, images=str(roboflow / "train"))
    assert sum(counts.images for counts in document.splits.values()) == 6
    assert document.split_rule.startswith("The source has no splits")


def test_coco_crowds_are_left_out_and_boxes_that_stick_out_are_clipped(sets, validate):
    root = sets.coco()
    path = root / "test/_annotations.coco.json"
    values = json.loads(path.read_text())
    values["annotations"][0]["bbox"] = [30, 4, 20, 10]
    values["annotations"] += [{"image_id": 9, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1}]
    path.write_text(json.dumps(values))
    document = validate(root)
    assert document.splits["test"].boxes == 2
    assert warnings(document) == {"crowd": 1, "box-outside": 1}
    [outside] = [p for p in document.problems if p.rule == "box-outside"]
    assert outside.message == "'cat' box (30, 4, 50, 14) sticks out of test/8.png (40x20); clipped"


def test_coco_classes_are_the_same_by_name_across_files(sets, validate):
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text().replace('"id": 3, "name"', '"id": 30, "name"').replace('_id": 3,', '_id": 30,'))
    assert validate(root).digest == validate(sets.yolo()).digest


# --- VOC layouts


def test_voc_trainval_is_ignored_and_images_in_no_list_are_counted(sets, validate):
    root = sets.voc()
    (root / "ImageSets/Main/trainval.txt").write_text("0\n1\n2\n3\n4\n5\n6\n7\n")
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    document = validate(root)
    assert table(document) == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    [problem] = document.problems
    assert (problem.rule, problem.message) == ("no-split", "2 annotated images in no split; left out")


def test_voc_in_split_folders_with_images_beside(sets, validate, tmp_path):
    root = sets.voc()
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        (tmp_path / "flat" / folder).mkdir(parents=True)
        for stem in (root / f"ImageSets/Main/{split}.txt").read_text().split():
            shutil.copy(root / f"JPEGImages/{stem}.png", tmp_path / "flat" / folder)
            shutil.copy(root / f"Annotations/{stem}.xml", tmp_path / "flat" / folder)
    assert validate(tmp_path / "flat").digest == validate(root).digest


def test_boxes_follow_the_upright_picture_where_the_annotation_agrees_with_it(sets, validate, refuse):
    root = sets.voc()
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    sets.picture(root / "JPEGImages/8.png", 8, size=(20, 40), exif=exif)
    document = validate(root)
    assert [(p.rule, p.where) for p in document.problems] == [("exif-orientation", "JPEGImages/8.png")]
    sizes = {s.source: (s.width, s.height) for s in snapshot.fetch(document.snapshot).samples("test")}
    assert sizes["JPEGImages/8.png"] == (40, 20)
