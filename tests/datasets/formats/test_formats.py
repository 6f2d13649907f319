"""Every format is read as it comes, from real sets and from the layouts that tools write."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from sightline.datasets import formats
from sightline.datasets.formats import files
from sightline.datasets.formats.voc import xml as voc_xml
from sightline.datasets.formats.yolo import label_file
from sightline.datasets.types import Box, Folder, ImageRecord, Parsed, Reading
from sightline.errors import DataError
from sightline.rules import Issue

SIZE = (40, 20)


class Collected(NamedTuple):
    """A source read to its end: named boxes in pixels by split and file name, and all findings in order."""

    reading: Reading
    boxes: dict[tuple[str | None, str], list[tuple[str, tuple[float, ...]]]]
    found: list[Issue]
    entries: dict[str, ImageRecord]

    def counts(self) -> dict[str | None, tuple[int, int]]:
        images = Counter(split for split, _ in self.boxes)
        boxes = Counter(split for (split, _), listed in self.boxes.items() for _ in listed)
        return {split: (images[split], boxes[split]) for split in images}

    def rules(self) -> list[tuple[str, str]]:
        return [(found.rule, found.where) for found in self.found]


def collect(root: Path, images: Path | None = None, *, fenced: bool = False, **options: Any) -> Collected:
    folder = Folder(root, root.name, images, root.resolve() if fenced else None)
    reading = formats.read(folder, **options)
    boxes, entries = {}, {}
    found: list[Issue] = []
    for entry in reading.records():
        if isinstance(entry, Issue):
            found.append(entry)
            continue
        assert entry.source not in entries or entries[entry.source].split != entry.split
        entries[entry.source] = entry
        parsed = entry.parsed
        if entry.label:
            parsed = reading.parse(Path(entry.label).read_bytes(), entry.where.removesuffix(":{}"), reading.classes)
        found += parsed.issues if parsed else ()
        with Image.open(entry.image) as picture:
            width, height = picture.size if reading.relative else (1, 1)
        boxes[entry.split, Path(entry.image).stem] = sorted(
            (
                box.label if isinstance(box.label, str) else reading.classes[box.label],
                tuple(round(edge * side, 3) for edge, side in zip(box.edges, (width, height) * 2, strict=True)),
            )
            for box in (parsed.boxes if parsed else ())
        )
    return Collected(reading, boxes, reading.issues + found, entries)


def problem(root: Path, images: Path | None = None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        collect(root, images, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def parsed_rules(text: str, count: int = 2) -> list[tuple[str, str]]:
    found = label_file.parse(text.encode(), "a.txt", [str(n) for n in range(count)]).issues
    assert all(item.where.startswith("a.txt") for item in found)
    return [(item.rule, item.message) for item in found]


# --- real sets


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


# --- one small set


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
        assert read.entries[image].where == where
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


# --- YOLO


@pytest.mark.parametrize(
    ("values", "mended"),
    [
        ({"names": {"0": "cat", "1": "dog"}}, 0),
        ({"val": None, "valid": "images/val"}, 0),
        ({"val": None, "validation": "images/val"}, 0),
        ({"path": "../yolo", "train": ["images/train"]}, 0),
        ({"path": "/somewhere/else", "train": "../images/train", "val": "../images/val"}, 3),
        ({"val": "images/valid", "nc": None}, 1),
        ({"test": None}, 0),
        ({"train": ["images/train", "images/train/"]}, 0),
    ],
    ids=["dict", "valid", "validation", "path-and-list", "roboflow", "synonym-folder", "sibling-folder", "twice"],
)
def test_data_yaml_dialects_mean_the_same(sets, values, mended):
    read = collect(sets.yolo(**values))
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("data-path", "data.yaml")] * mended
    assert set(read.entries) == {f"images/{s}/{n}.png" for s, numbers in sets.numbers().items() for n in numbers}


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
    assert read.entries["more/deep/7.png"].label == str(root / "more/deep/7.txt")


def test_an_image_without_a_label_file_has_none_and_a_label_without_an_image_is_an_orphan(sets):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/1.txt").write_text("")
    (root / "labels/train/99.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "labels/train/classes.txt").write_text("cat\ndog\n")
    read = collect(root)
    assert (read.boxes["train", "0"], read.boxes["train", "1"]) == ([], [])
    assert read.entries["images/train/0.png"].label is None
    assert read.entries["images/train/0.png"].where == "labels/train/0.txt:{}"
    assert read.entries["images/train/1.png"].label == str(root / "labels/train/1.txt")
    assert read.rules() == [("orphan-label", "labels/train/99.txt")]


@pytest.mark.parametrize("listed", [False, True])
def test_label_files_with_a_suffix_in_upper_case_are_found(sets, listed):
    root = sets.yolo(**({"train": "train.txt"} if listed else {}))
    (root / "train.txt").write_text("images/train/0.png\nimages/train/1.png\n")
    (root / "labels/train/0.txt").rename(root / "labels/train/0.TXT")
    (root / "labels/train/99.TXT").write_text("0 0.5 0.5 0.1 0.1\n")
    read = collect(root)
    assert read.entries["images/train/0.png"].label == str(root / "labels/train/0.TXT")
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


def test_missing_numbers_and_doubled_names_are_mended_and_said(sets):
    root = sets.yolo(names={"0": "cat", "2": "dog", "5": "cat"}, nc=6)
    (root / "labels/train/0.txt").write_text(
        "0 0.5 0.45 0.5 0.5\n2.0 0.5 0.45 0.5 0.5\n5 .5 .45 .5 .5\n1 .5 .5 .1 .1\n"
    )
    read = collect(root)
    assert read.reading.classes == ["cat", "dog"]
    assert [name for name, _ in read.boxes["train", "0"]] == ["cat", "cat", "dog"]
    assert [rule for rule, _ in read.rules()[:2]] == ["class-gap", "duplicate-name"]
    assert read.found[0].message == "names has the numbers 0, 2, 5; expected 0 to 2; renumbered"
    assert "'cat' is the name of 0 and of 5" in read.found[1].message
    of_line = next(item for item in read.found if item.where == "labels/train/0.txt:4")
    assert (of_line.rule, of_line.message) == ("class-range", "got class 1, expected one of 0, 2, 5")


def test_a_class_called_no_stays_no(sets):
    root = sets.yolo()
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [yes, no]\n")
    assert collect(root).reading.classes == ["yes", "no"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [unclosed", ["not YAML"]),
        ("names: " + "[" * 600, ["nests too deep"]),
        ('names: ["\\UFFFFFFFF"]', ["not YAML"]),
        ("", ["holds no settings"]),
        ("train: images/train\n", ["no class names", "names: [first, second]"]),
        ("train: images/train\nnames: {cat: 0}", ["keys that are no numbers"]),
        ("train: images/train\nnc: 3\nnames: [cat, dog]", ["nc is 3", "2 entries"]),
        ("train: images/train\nval: nowhere\ntest: void\nnames: [cat, dog]", ["val: 'nowhere'", "test: 'void'"]),
        ("train: [[a]]\nnames: [cat, dog]", ["train: expected a path"]),
        (f"train: {'x' * 5000}\nnames: [cat, dog]", ["is no folder and no list file"]),
        ("#" * 2**20 + "\ntrain: images/train\nnames: [cat, dog]", ["larger than 1 MiB"]),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_refused(sets, text, words):
    root = sets.yolo()
    (root / "void").mkdir()
    (root / "data.yaml").write_text(text)
    message = problem(root)
    for word in words:
        assert word in message


# --- Darknet and lists of names


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


# --- label lines


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        ("zero 0.5 0.5 0.1 0.1", "label-syntax", "got 'zero 0.5 0.5 0.1 0.1', expected five numbers"),
        ("0 0.5 0.5 0.1", "label-syntax", "got 4 numbers, expected five"),
        ("0 nan 0.5 0.1 0.1", "label-syntax", "expected finite numbers"),
        ("0 0.5 0.5 inf 0.1", "label-syntax", "expected finite numbers"),
        ("0 0.5 0.5 -0.1 0.1", "label-syntax", "negative size"),
        ("0 0.5 0.5 0.1 0.1 0.9", "wrong-task", "got 6 numbers, which is a prediction"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "wrong-task", "got 7 numbers, which is a segmentation label"),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "wrong-task", "an oriented box or a polygon of four points"),
        ("0 .5 .5 .2 .2 .45 .5 2", "wrong-task", "got 8 numbers, which is a pose label"),
        ("0 .5 .5 .2 .2" + " .45 .5 2" * 17, "wrong-task", "got 56 numbers, which is a pose label"),
        ("0 1e308 .5 1.7e308 .1", "label-syntax", "endless size or place"),
        ("0 .5 -1e200 .1 .1", "label-syntax", "endless size or place"),
        ("2 0.5 0.5 0.1 0.1", "class-range", "got class 2, expected 0 to 1 (2 class names)"),
        ("-1 0.5 0.5 0.1 0.1", "class-range", "got class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class-range", "got class 0.5"),
    ],
)
def test_a_label_line_that_is_no_box_is_named(line, rule, words):
    [(found, message)] = parsed_rules(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert found == rule
    assert words in message


def test_label_files_that_are_no_text_are_named_once():
    assert parsed_rules("0 0.5 0.5 0.1 0.1\n\n \n") == []
    assert label_file.parse("\ufeff1.0 .5 .5 1 1\r\n".encode(), "a.txt", ["a", "b"]).boxes == ((1, (0, 0, 1, 1), 1),)
    assert [f.rule for f in label_file.parse("0 0.5".encode("utf-16"), "a.txt", ["a"]).issues] == ["label-syntax"]
    [large] = label_file.parse(b" " * (2**24 + 1), "a.txt", ["a"]).issues
    assert (large.rule, "at most 16 MiB" in large.message) == ("label-syntax", True)
    many = label_file.parse(b"x\n" * 5000, "a.txt", ["a"]).issues
    assert (len(many), many[-1].message) == (1001, "the 1000th bad line; the rest is not read")


# --- COCO


def edit(path: Path, change: Any) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


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


# --- VOC


def test_voc_trainval_is_ignored_beside_train_and_stands_for_it_alone(sets):
    root = sets.voc()
    main = root / "ImageSets/Main"
    (main / "trainval.txt").write_text("0\n1\n2\n3\n4\n5\n6\n7\n")
    (main / "train.txt").write_text("0\n1.png\nJPEGImages/2.png\n3\n")
    read = collect(root)
    assert read.counts() == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    assert read.rules() == [("no-split", "Annotations/4.xml"), ("no-split", "Annotations/5.xml")]
    assert read.found[0].message == "is of an image in no split; left out"
    (main / "train.txt").unlink()
    (main / "val.txt").unlink()
    assert collect(root).counts() == {"train": (8, 8), "test": (2, 2)}


def test_voc_in_split_folders_with_images_beside_and_mixed_case_is_read(sets, tmp_path):
    root = sets.voc()
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        (tmp_path / "flat" / folder).mkdir(parents=True)
        for stem, suffix, xml in zip(
            (root / f"ImageSets/Main/{split}.txt").read_text().split(),
            (".png", ".PNG", ".Png") * 2,
            (".xml", ".Xml", ".XML") * 2,
            strict=False,
        ):
            shutil.copy(root / f"JPEGImages/{stem}.png", tmp_path / "flat" / folder / f"{stem}{suffix}")
            shutil.copy(root / f"Annotations/{stem}.xml", tmp_path / "flat" / folder / f"{stem}{xml}")
    read = collect(tmp_path / "flat")
    assert read.boxes == collect(root).boxes
    assert read.found == []


def test_voc_images_go_by_the_stem_and_then_by_the_name_in_the_file(sets):
    root = sets.voc()
    (root / "Annotations/3.xml").rename(root / "Annotations/renamed.xml")
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\nrenamed\n4\n5\n")
    assert collect(root).boxes == collect(sets.voc("other")).boxes
    (root / "JPEGImages/3.png").unlink()
    sets.picture(root / "JPEGImages/77.png", 77)
    with (root / "ImageSets/Main/val.txt").open("a") as file:
        file.write("ghost\n77\n")
    read = collect(root)
    assert sorted(read.rules()) == [
        ("missing-image", "Annotations/renamed.xml:2"),
        ("missing-image", "ImageSets/Main/val.txt:3"),
    ]
    assert read.entries["JPEGImages/77.png"].label is None
    assert read.entries["JPEGImages/77.png"].where == "Annotations/77.xml:{}"
    sets.picture(root / "JPEGImages/78.png", 78)
    [unused] = [item for item in collect(root).found if item.rule == "unused-file"]
    assert (unused.where, unused.message) == (
        "JPEGImages/78.png",
        "is an image without an annotation file; expected Annotations/78.xml; left out",
    )


@pytest.mark.parametrize(
    ("old", "new", "rule", "where", "word"),
    [
        ("<xmin>10", "<xmin>ten", "label-syntax", "3.xml:4", "xmin 'ten'"),
        ("<xmin>10", "<xmin>-1e308", "label-syntax", "3.xml:4", "expected four numbers"),
        ("<xmin>10", "<xmin>31", "label-syntax", "3.xml:4", "expected xmin <= xmax"),
        ("<name>dog</name>", "", "label-syntax", "3.xml:4", "without a name"),
        ("bndbox>", "robndbox>", "wrong-task", "3.xml:4", "has an oriented box and no bndbox"),
        ("</object>", "", "label-syntax", "3.xml:6", "not XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "label-syntax", "3.xml:1", "entities"),
        ("<annotation>", '<?xml version="1.0" encoding="gb2312"?><annotation>', "label-syntax", "3.xml:1", "encoding"),
        ("annotation>", "svg>", "label-syntax", "3.xml:1", "expected an <annotation>"),
    ],
)
def test_voc_files_that_cannot_be_used_are_named(sets, old, new, rule, where, word):
    root = sets.voc()
    path = root / "Annotations/3.xml"
    path.write_text(path.read_text().replace(old, new))
    [found] = collect(root).found
    assert (found.rule, found.where) == (rule, f"Annotations/{where}")
    assert word in found.message


def test_voc_parts_and_polygons_inside_objects_add_no_boxes_and_the_origin_moves_two_edges():
    text = (
        b"<annotation><filename>a.jpg</filename><size><width>40</width><height>20</height></size>\n<object>"
        b"<name>man</name><polygon><x1>1</x1></polygon>\n<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax>"
        b"<ymax>20</ymax></bndbox><part><name>head</name><bndbox><xmin>3</xmin></bndbox></part></object></annotation>"
    )
    plain, counted = (voc_xml.parse(text, "a.xml", None, origin) for origin in (0, 1))
    assert plain == Parsed((Box("man", (1, 1, 40, 20), 2),), (40, 20), (), "a.jpg")
    assert counted.boxes == (("man", (0, 0, 40, 20), 2),)


# --- which format


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


# --- strangers


def test_nothing_outside_a_strangers_source_is_read(sets):
    outside = sets.yolo("outside")
    far = sets.yolo("far", val="../outside/images/val")
    assert collect(far).entries["../outside/images/val/6.png"].split == "val"
    inside = collect(far, fenced=True)
    assert {e.source for e in inside.entries.values() if e.split == "val"} == {"images/val/6.png", "images/val/7.png"}
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
    assert [(e.source, e.label) for e in read.entries.values() if e.split == "train"] == [("images/train/0.png", None)]
    assert [e.source for e in read.entries.values() if e.split == "val"] == ["images/val/6.png", "images/val/7.png"]

    for name in ("images/train", "labels/val"):
        shutil.rmtree(root / name)
        (root / name).symlink_to(outside / name)
    (outside / "labels/val/secret.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "train.txt").write_text("images/test/8.png\n")
    read = collect(root, fenced=True)
    assert {where for rule, where in read.rules() if rule != "data-path"} == set()
    assert read.entries["images/val/6.png"].label is None


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
    assert collect(coco, fenced=True).entries["train/1.png"].image == str(coco / "train/1.png")
    assert collect(voc).found == []
    assert collect(voc, fenced=True).rules() == [("missing-image", "Annotations/1.xml:2")]
