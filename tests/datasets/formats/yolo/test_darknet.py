"""Darknet files and plain lists of class names in place of a data.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.reading import collect, problem
from tests.helpers.sets import Sets


def darknet(root: Path, source: Path, *, beside: bool) -> Path:
    home = root / "darknet"
    (home / "data/obj").mkdir(parents=True)
    (home / "data/obj.names").write_text("cat\ndog\n\n")
    keys = {"train": "train", "valid": "val"}
    (home / "data/obj.data").write_text(
        "# comment\nclasses = 2\nnames = data/obj.names\nbackup = backup/\n"
        + "".join(f"{key} = data/{key}.txt\n" for key in keys)
    )
    for key, split in keys.items():
        images = sorted((source / "images" / split).iterdir())
        (home / f"data/{key}.txt").write_text("".join(f"data/obj/{path.name}\n" for path in images))
        for path in images:
            shutil.copy(path, home / "data/obj" if beside else root / "pictures")
            shutil.copy(source / "labels" / split / f"{path.stem}.txt", home / "data/obj")
    return home


@pytest.mark.parametrize("beside", [True, False], ids=["images-beside", "images-elsewhere"])
def test_darknet_is_read_with_paths_that_start_a_folder_higher(sets, tmp_path, beside):
    source = sets.yolo()
    (tmp_path / "pictures").mkdir()
    root = darknet(tmp_path, source, beside=beside)
    read = collect(root, None if beside else tmp_path / "pictures")
    expected = {key: boxes for key, boxes in collect(source).boxes.items() if key[0] != "test"}
    assert read.boxes == expected
    assert read.reading.declared == {"train", "val"}
    assert read.found == []
    (root / "data/obj/lost.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "data/obj/notes.txt").write_text("nothing to see\n")
    with (root / "data/train.txt").open("a") as file:
        file.write("data/obj/gone.png\n")
    again = collect(root, None if beside else tmp_path / "pictures")
    orphans = [where for rule, where in again.rules() if rule == "orphan-label"]
    assert orphans[0] == "data/obj/lost.txt"
    assert ("missing-image", "data/train.txt:7") in again.rules()


def test_darknet_that_leads_nowhere_is_refused_with_all_that_is_missing(sets, tmp_path):
    root = darknet(tmp_path, sets.yolo(), beside=True)
    (root / "data/valid.txt").unlink()
    (root / "data/obj.names").unlink()
    message = problem(root)
    assert "valid: 'data/valid.txt'" in message
    assert "names: 'data/obj.names'" in message
    (root / "data/valid.txt").write_text("")
    (root / "data/obj.names").write_text("cat\n")
    assert "classes is 2, and data/obj.names has 1 names" in problem(root)


def test_labels_with_only_a_list_of_names_are_one_set_without_splits(sets, tmp_path):
    source = sets.yolo()
    expected = sorted((stem, boxes) for (split, stem), boxes in collect(source).boxes.items() if split == "train")
    flat, split_off = tmp_path / "labelimg", tmp_path / "studio"
    shutil.copytree(source / "images/train", flat)
    shutil.copytree(source / "labels/train", flat, dirs_exist_ok=True)
    shutil.copytree(source / "images/train", split_off / "images")
    shutil.copytree(source / "labels/train", split_off / "labels")
    for root in (flat, split_off):
        (root / "classes.txt").write_text("cat\ndog\n")
        read = collect(root)
        assert sorted((stem, boxes) for (_, stem), boxes in read.boxes.items()) == expected
        assert read.counts() == {None: (6, 6)}
        assert read.reading.declared == set()
        assert read.found == []
    shutil.move(split_off / "images", tmp_path / "elsewhere")
    assert "Name the folder of its images with --images" in problem(split_off)
    assert collect(split_off, tmp_path / "elsewhere").boxes == read.boxes


def test_a_list_of_names_beside_another_format_is_not_yolo(sets):
    for root in (sets.coco(), sets.voc()):
        (root / "classes.txt").write_text("cat\ndog\n")
        assert collect(root).reading.format in root.name


def test_yolo_labels_that_lack_only_class_names_are_said_to(sets: Sets):
    root = sets.yolo()
    (root / "data.yaml").unlink()
    (root / "labels/train/0.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    message = problem(root)
    for word in ("no class names", "labels/", "data.yaml", "classes.txt", "0, 1, 7"):
        assert word in message
