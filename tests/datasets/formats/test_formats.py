"""Every format on the same real and small sets: which it is, what it reads, and that it stays inside the source."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets import formats
from sightline.datasets.formats import files
from sightline.datasets.types import Folder, ImageRecord
from sightline.errors import DataError
from tests.helpers.reading import collect, problem
from tests.helpers.sets import Sets
from tests.helpers.tool_exports import LABEL, write

SIZE = (40, 20)


def test_bccd_keeps_its_own_splits(shared):
    read = collect(shared / "data/bccd")
    assert read.reading.format == "voc"
    assert read.counts() == {"train": (205, 2805), "val": (87, 1138), "test": (72, 945)}  # two have no area
    assert Counter(name for listed in read.boxes.values() for name, _ in listed) == {
        "RBC": 4155,
        "WBC": 372,
        "Platelets": 361,
    }
    assert read.reading.declared == {"train", "val", "test"}
    assert read.found == []


def test_roboflow_yolo_with_wrong_relative_paths_is_found_and_said_once_a_key(shared):
    read = collect(shared / "data/chess-squares")
    assert read.counts() == {"train": (78, 483), "val": (8, 43), "test": (5, 28)}
    assert (len(read.reading.classes), read.reading.classes[2]) == (12, "Black King")
    assert read.rules() == [("data-path", "data.yaml")] * 3
    assert read.found[1].message == "val: '../valid/images' leads nowhere as it is written; took valid/images"


def test_roboflow_coco_leaves_out_the_category_that_only_groups_others(shared):
    read = collect(shared / "data/rbc-wbc-coco")
    assert read.reading.classes == ["rbc", "wbc"]
    assert read.counts() == {"train": (210, 4947), "val": (20, 470), "test": (10, 221)}
    assert read.rules() == [("grouping-class", "test/_annotations.coco.json")]


def test_one_set_in_five_formats_has_the_same_273_boxes(shared):
    root = shared / "data/voc100-multiformat"
    names = ("pascalvoc_format", "imagenet_format", "coco_format_v1", "coco_format_v2", "yolo_format")
    reads = [collect(root / "gts" / name, root / "images") for name in names]
    voc, imagenet, *others = [{stem: boxes for (_, stem), boxes in read.boxes.items()} for read in reads]
    assert (len(voc), sum(map(len, voc.values()))) == (100, 273)
    assert voc == imagenet
    for other in others:
        assert other.keys() == voc.keys()
        for stem, boxes in other.items():
            assert [name for name, _ in boxes] == [name for name, _ in voc[stem]], stem
            for (_, mine), (_, exact) in zip(boxes, voc[stem], strict=True):
                assert mine == pytest.approx(exact, abs=0.001)  # six decimals of 500 pixels
    assert [read.reading.declared for read in reads] == [set(), set(), set(), set(), {"train"}]
    assert [read.rules() for read in reads] == [[], [], [], [("mask-ignored", "instances_v2.json")], []]


def test_formats_of_one_set_say_the_same(sets):
    yolo, coco, voc = (collect(source) for source in (sets.yolo(), sets.coco(), sets.voc()))
    assert yolo.boxes == coco.boxes == voc.boxes
    assert yolo.counts() == {"train": (6, 6), "val": (2, 2), "test": (2, 2)}
    assert yolo.boxes["test", "9"] == [("dog", (10, 4, 30, 14))]
    assert yolo.reading.classes == coco.reading.classes == ["cat", "dog"]
    assert voc.reading.classes is None
    assert yolo.found == coco.found == voc.found == []


def test_places_are_shown_with_a_line_or_a_number_and_parsers_travel_to_other_processes(sets):
    for source, image, where in (
        (sets.yolo(), "images/test/8.png", "labels/test/8.txt:{}"),
        (sets.coco(), "test/8.png", "test/_annotations.coco.json: annotations[{}]"),
        (sets.voc(), "JPEGImages/8.png", "Annotations/8.xml:{}"),
    ):
        read = collect(source, voc_origin=1)
        assert read.records[image].where == where
        assert pickle.loads(pickle.dumps(read.reading.parse)) or read.reading.format == "coco"


def test_images_are_looked_at_as_files_in_every_format(sets):
    for source, folder in ((sets.yolo(), "images/train"), (sets.coco(), "train"), (sets.voc(), "JPEGImages")):
        place = source / folder
        (place / "x.HEIC").write_bytes(b"")
        (place / ".hidden.gif").write_bytes(b"")
        shutil.copy(place / "0.png", place / "UP.png")
        shutil.copy(place / "0.png", place / "up.PNG")
        Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9.png")).write_bytes((place / "0.png").read_bytes())
        found = collect(source).found
        by_rule = {item.rule: item for item in found}
        assert by_rule["unsupported-suffix"].where == f"{folder}/x.HEIC"
        assert "'.heic'; expected one of .jpg" in by_rule["unsupported-suffix"].message
        assert by_rule["file-name"].where == f"{folder}/caf\ufffd.png"
        assert by_rule["name-collision"].where == f"{folder}/up.PNG"
        assert sum(item.rule == "unsupported-suffix" for item in found) == 1


def test_images_that_are_links_to_nothing_stay_images_and_pipes_and_folders_are_none(sets):
    for source, folder in ((sets.yolo(), "images/train"), (sets.coco(), "train"), (sets.voc(), "JPEGImages")):
        place = source / folder
        (place / "gone.png").symlink_to("nowhere")
        (place / "loop.jpg").symlink_to("loop.jpg")
        (place / "zero.jpg").symlink_to("/dev/zero")
        (place / "place.jpg").symlink_to(".")
        os.mkfifo(place / "pipe.jpg")
        (place / "folder.jpg").mkdir()
        (place / "loop.txt").symlink_to("loop.txt")
        assert set(files.names(place, files.ALL_IMAGE_SUFFIXES)) >= {"gone.png", "loop.jpg", "zero.jpg"}
        assert not set(files.names(place, files.ALL_IMAGE_SUFFIXES)) & {"place.jpg", "pipe.jpg", "folder.jpg"}
        assert files.names(place, (".txt",)) == ["loop.txt"]
        (place / "loop.yaml").symlink_to("loop.yaml")
        assert files.names(place, (".yaml",)) == []
    for loop in (sets.root / "yolo/images/train").glob("loop.*"):
        loop.unlink()
    entries = formats.read(Folder(sets.root / "yolo", "yolo")).records()
    sources = {entry.source for entry in entries if isinstance(entry, ImageRecord)}
    assert sources >= {"images/train/gone.png", "images/train/zero.jpg"}


def test_an_unknown_format_says_what_was_looked_for_and_two_at_once_need_a_choice(sets, tmp_path):
    sets.picture(tmp_path / "pictures/a.png", 1)
    message = problem(tmp_path / "pictures")
    for word in ("data.yaml", "obj.data", ".json", ".xml", "Found a.png"):
        assert word in message
    assert "no coco annotation format recognised" in problem(sets.yolo(), format="coco")
    root = sets.yolo("both")
    sets.voc("both")
    assert "yolo: data.yaml; voc: Annotations" in problem(root)
    assert collect(root, format="voc").reading.format == "voc"


def test_nothing_outside_a_strangers_source_is_read(sets):
    outside = sets.yolo("outside")
    far = sets.yolo("far", val="../outside/images/val")
    assert collect(far).records["../outside/images/val/6.png"].split == "val"
    inside = collect(far, fenced=True)
    assert {e.source for e in inside.records.values() if e.split == "val"} == {"images/val/6.png", "images/val/7.png"}
    shutil.rmtree(far / "images/val")
    assert "val: '../outside/images/val' is no folder and no list file" in problem(far, fenced=True)

    root = sets.yolo("fenced", path="../outside", train="train.txt", val="../images/val")
    (root / "train.txt").write_text(
        f"images/train/0.png\n../outside/images/train/secret1.png\n{outside}/images/train/secret2.png\nlink.png\n"
    )
    for number in (1, 2):
        shutil.copy(outside / f"images/train/{number}.png", outside / f"images/train/secret{number}.png")
    (root / "link.png").symlink_to(outside / "images/train/3.png")
    (root / "images/val/link.png").symlink_to(outside / "images/train/3.png")
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/0.txt").symlink_to(outside / "labels/train/0.txt")
    read = collect(root, fenced=True)
    assert [where for rule, where in read.rules() if rule == "missing-image"] == [
        "train.txt:2",
        "train.txt:3",
        "train.txt:4",
    ]
    assert [(e.source, e.label) for e in read.records.values() if e.split == "train"] == [("images/train/0.png", None)]
    assert [e.source for e in read.records.values() if e.split == "val"] == ["images/val/6.png", "images/val/7.png"]

    for name in ("images/train", "labels/val"):
        shutil.rmtree(root / name)
        (root / name).symlink_to(outside / name)
    (outside / "labels/val/secret.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "train.txt").write_text("images/test/8.png\n")
    read = collect(root, fenced=True)
    assert {where for rule, where in read.rules() if rule != "data-path"} == set()
    assert read.records["images/val/6.png"].label is None


def test_coco_and_voc_of_a_stranger_do_not_reach_outside_either(sets):
    outside = sets.yolo("outside") / "images/train/1.png"
    coco, voc = sets.coco(), sets.voc()
    values = json.loads((coco / "train/_annotations.coco.json").read_text())
    values["images"][1]["file_name"] = str(outside)
    values["images"][2]["file_name"] = "../../outside/images/train/2.png"
    (coco / "train/_annotations.coco.json").write_text(json.dumps(values))
    (coco / "train/2.png").unlink()
    path = voc / "Annotations/1.xml"
    path.write_text(path.read_text().replace("1.png", str(outside)))
    (voc / "JPEGImages/1.png").unlink()
    assert [item.rule for item in collect(coco).found if item.rule == "missing-image"] == []
    assert [item.where for item in collect(coco, fenced=True).found if item.rule == "missing-image"] == [
        "train/_annotations.coco.json: images[2]"
    ]
    assert collect(coco, fenced=True).records["train/1.png"].image == str(coco / "train/1.png")
    assert collect(voc).found == []
    assert collect(voc, fenced=True).rules() == [("missing-image", "Annotations/1.xml:2")]


def test_images_left_out_are_named_one_by_one_with_the_reason(sets: Sets, validate: Any, tmp_path: Path):
    yolo, coco, voc = sets.yolo(), sets.coco(), sets.voc()
    for number in range(20, 24):
        for folder in (yolo / "images/extra", coco / "train", voc / "JPEGImages"):
            sets.picture(folder / f"{number}.png", number)
        write(yolo / f"labels/extra/{number}.txt", LABEL.format(0))
    said = {}
    for root in (yolo, coco, voc):
        [finding] = [finding for finding in validate(root).findings if finding.rule == "unused-file"]
        said[root.name] = (finding.count, finding.examples[0].where, finding.examples[0].message)
        assert (tmp_path / "out/problems.csv").read_text().count("unused-file") == finding.count
    assert said == {
        "yolo": (1, "images/extra", "4 images with labels, in a folder that no split names; left out"),
        "coco": (4, "train/20.png", "is an image that no annotation file lists; left out"),
        "voc": (
            4,
            "JPEGImages/20.png",
            "is an image without an annotation file; expected Annotations/20.xml; left out",
        ),
    }


def test_where_boxes_belong_is_said_in_the_words_of_the_format(sets: Sets, refuse: Any):
    yolo, coco, voc = sets.yolo(), sets.coco(), sets.voc()
    for path in (yolo / "labels").rglob("*.txt"):
        path.write_text("")
    for path in coco.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    for path in (voc / "Annotations").iterdir():
        path.write_text(path.read_text().partition("<object>")[0] + "</annotation>")
    for root, words in (
        (yolo, "a folder `labels`"),
        (coco, "entries of `annotations`"),
        (voc, "<object> elements in the .xml"),
    ):
        message = refuse(root, DataError).message
        assert "no box in its train split (6 images)" in message
        assert words in message
        assert ("labels` beside" in message) == (root is yolo)
