"""COCO files: layouts, ids, what is no box, and places in a file that is no JSON."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.helpers.coco import edit
from tests.helpers.reading import collect, problem
from tests.helpers.tool_exports import ToolExport, supervisely_coco


def test_coco_standard_layout_and_a_single_file_with_images_elsewhere_are_read(sets, tmp_path):
    roboflow = sets.coco()
    expected = collect(roboflow).boxes
    standard = tmp_path / "standard"
    (standard / "annotations").mkdir(parents=True)
    for split, year in (("train", "2017"), ("val", "2017"), ("test", "")):
        shutil.copytree(roboflow / split, standard / "images" / (split + year))
        moved = standard / "images" / (split + year) / "_annotations.coco.json"
        shutil.copy(moved, standard / "annotations" / f"captions_{split}{year}.json")
        moved.rename(standard / "annotations" / f"instances_{split}{year}.json")
    assert collect(standard).boxes == expected

    alone = tmp_path / "alone"
    alone.mkdir()
    (roboflow / "train/_annotations.coco.json").rename(alone / "anything.json")
    read = collect(alone, roboflow / "train")
    assert read.counts() == {None: (6, 6)}
    assert read.reading.declared == set()


def test_coco_folders_in_file_names_are_splits_and_an_image_outside_of_them_is_in_none(sets, tmp_path):
    source, root = sets.coco(), tmp_path / "one"
    merged: dict[str, Any] = {"annotations": [], "images": []}  # annotations come before images here
    for split in ("train", "val", "test"):
        values = json.loads((source / split / "_annotations.coco.json").read_text())
        shutil.copytree(source / split, root / "images" / split, ignore=shutil.ignore_patterns("*.json"))
        for image in values["images"]:
            image["file_name"] = f"{split}/{image['file_name']}"
        merged["images"] += values["images"]
        merged["annotations"] += values["annotations"]
    (root / "all.json").write_text(json.dumps(merged | {"categories": values["categories"]}))
    read = collect(root)
    assert read.boxes == collect(source).boxes
    assert read.reading.declared == {"train", "val", "test"}
    shutil.copy(root / "images/train/0.png", root / "images/0.png")
    edit(root / "all.json", lambda values: values["images"][0].update(file_name="0.png"))
    again = collect(root)
    assert again.counts() == {None: (1, 1), "train": (5, 5), "val": (2, 2), "test": (2, 2)}
    assert again.reading.declared == {"train", "val", "test"}
    assert again.rules() == [("unused-file", "images/train/0.png")]
    assert again.found[0].message == "is an image that no annotation file lists; left out"


def test_coco_ids_may_be_any_numbers_or_text_and_names_may_be_numbers(sets):
    root = sets.coco()

    def change(values: dict[str, Any]) -> None:
        for entry in (*values["images"], *values["annotations"]):
            for key in ("id", "image_id"):
                if key in entry:
                    entry[key] = f"é{{}}{entry[key]}" if key == "image_id" or "file_name" in entry else 10**15 + 7
        for number, annotation in enumerate(values["annotations"]):
            annotation["id"] = 10**15 + number
        values["categories"] = [{"id": 3, "name": 7}, {"id": 7, "name": "dog"}]

    for split in ("train", "val", "test"):
        edit(root / split / "_annotations.coco.json", change)
    read = collect(root)
    assert read.reading.classes == ["7", "dog"]
    assert read.counts() == {"train": (6, 6), "val": (2, 2), "test": (2, 2)}
    assert read.found == []


def test_coco_crowds_masks_and_keypoints_are_counted_and_annotations_without_a_box_are_of_another_task(sets):
    root = sets.coco()

    def change(values: dict[str, Any]) -> None:
        first, second = values["annotations"]
        first["segmentation"] = [[1, 1, 2, 2, 3, 1]]
        second["segmentation"] = []
        more = {"image_id": 9, "category_id": 3}
        values["annotations"] += [
            more | {"bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [2, 2]}},
            more | {"segmentation": {"counts": "abc", "size": [20, 40]}},
            more | {"keypoints": [1, 2, 2], "bbox": []},
            more | {"bbox": [5, 5, 4, 2, 45]},
        ]

    edit(root / "test/_annotations.coco.json", change)
    read = collect(root)
    assert read.counts()["test"] == (2, 2)
    place = "test/_annotations.coco.json"
    assert read.rules() == [
        ("crowd-region", place),
        ("mask-ignored", place),
        *[("wrong-task", f"{place}: annotations[{n}]") for n in (3, 4, 5)],
    ]
    assert read.found[1].message.startswith("1 annotation with")
    assert [word in found.message for word, found in zip(("a seg", "keyp", "orie"), read.found[2:], strict=True)] == [
        True
    ] * 3


def test_coco_classes_are_the_same_by_name_across_files(sets):
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text().replace('"id": 3, "name"', '"id": 30, "name"').replace('_id": 3,', '_id": 30,'))
    assert collect(root).boxes == collect(sets.yolo()).boxes


@pytest.mark.parametrize(
    ("change", "rule", "where", "word"),
    [
        (lambda d: d["images"].append({"id": 77, "file_name": "gone.png"}), "missing-image", "images[6]", "'gone.png'"),
        (lambda d: d["annotations"].append(dict(d["annotations"][2])), "repeated-number", "annotations[6]", "each box"),
        (lambda d: d["annotations"][1].update(image_id=500), "missing-image", "annotations[1]", "image 500"),
        (lambda d: d["annotations"][1].update(image_id="1"), "missing-image", "annotations[1]", 'image "1"'),
        (lambda d: d["annotations"][1].pop("image_id"), "missing-image", "annotations[1]", "image null"),
        (lambda d: d["annotations"][1].update(category_id=4), "class-range", "annotations[1]", "category 4"),
        (lambda d: d["annotations"][1].update(bbox=[1, 2, 3]), "label-syntax", "annotations[1]", "[1, 2, 3], expected"),
        (lambda d: d["annotations"][1].update(bbox=[1, 2, -3, 4]), "label-syntax", "annotations[1]", "negative"),
        (lambda d: d["annotations"][1].update(bbox=[1e308, 2, 1e308, 4]), "label-syntax", "annotations[1]", "endless"),
        (lambda d: d["annotations"][1].pop("bbox"), "label-syntax", "annotations[1]", "bbox null"),
        (lambda d: d["images"][0].pop("file_name"), "label-syntax", "images[0]", "has no file_name"),
        (lambda d: d["categories"].append({"id": 4, "name": "cat"}), "duplicate-name", "categories[2]", "'cat'"),
    ],
)
def test_coco_entries_that_lead_nowhere_are_named(sets, change, rule, where, word):
    root = sets.coco()
    edit(root / "train/_annotations.coco.json", change)
    found = [item for item in collect(root).found if item.rule != "unused-file"]
    assert [(item.rule, item.where) for item in found] == [(rule, f"train/_annotations.coco.json: {where}")]
    assert word in found[0].message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"images": [],\n"annotations": [], "categories": [}', ":2: not JSON: unallowed token"),
        ('{"images": [],\n"annotations": [], "categories": [}', "at column 35"),
        ('{"images": [],\n"annotations": [],\n"categories": [', ":3: not JSON: premature EOF"),
        (
            '{"images": [],\n"annotations": [{"image_id": "\\udfff"}], "categories": []}',
            ":2: not JSON: half a surrogate pair",
        ),
        ('{"images": [],\n"annotations": [{"image_id": "\\udfff"}], "categories": []}', "at column 37"),
        ('{"images": [{"id": Nan}], "annotations": [], "categories": []}', "at column 20"),
        ('{"a": [NaN, -Infinity],\n"images": [{"id": Nan}], "annotations": []}', ":2: not JSON: invalid char"),
        ('{"a": [NaN, -Infinity],\n"images": [{"id": Nan}], "annotations": []}', "at column 19"),
        ('{"images": [], "annotations": [], "categories": []} x', ":1: not JSON: trailing garbage at column 53"),
        ('{"images": {}, "annotations": [], "categories": []}', "'images' is not a list of objects"),
        ('{"images": [7], "annotations": [], "categories": []}', "'images' is not a list of objects"),
        ('["images", "annotations", "categories"]', "expected a JSON object"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "categories[0] is"),
        ('{"images": [], "a": ' + "[" * 200_000 + ', "annotations": [], "categories": []}', "not JSON"),
    ],
)
def test_json_that_is_no_coco_is_refused_with_its_place(sets, text, place):
    root = sets.coco()
    (root / "train/_annotations.coco.json").write_text(text)
    assert place in problem(root)


def test_a_place_far_into_a_file_is_exact_and_a_file_that_was_cut_short_is_not_an_unknown_format(tmp_path):
    lines = "".join(f'{{"id": {n}, "file_name": "{n}.jpg"}},\n' for n in range(30_000))
    (tmp_path / "a.json").write_text(f'{{"images": [\n{lines}{{"id": 1,, }}')
    assert "a.json:30002: not JSON: " in (message := problem(tmp_path))
    assert "at column 10" in message
    (tmp_path / "a.json").write_text(f'{{"images": [\n{lines}')
    assert "a.json:30002: not JSON: premature EOF" in problem(tmp_path)
    (tmp_path / "a.json").write_text('{"scripts": {}, "images": []}')
    assert "no known annotation format recognised" in problem(tmp_path)


def test_two_files_for_one_split_are_refused(sets):
    root = sets.coco()
    (root / "train/second.json").write_text((root / "train/_annotations.coco.json").read_text())
    assert "several annotation files for the split train" in problem(root)


def test_several_coco_files_without_splits_say_how_to_choose(make: ToolExport):
    supervisely_coco(make)
    shutil.copytree(make.root / "ds0", make.root / "ds1")
    message = problem(make.root)
    assert "ds0/annotations/instances.json, ds1/annotations/instances.json" in message
    assert "--data" in message
