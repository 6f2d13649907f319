"""For each rule of the data gate a small set in which it finds something: a good one, broken in one place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.helpers.sets import Sets, picture

Input = Callable[[Sets], Path]
INPUTS: dict[str, Input] = {}
TRAIN = "train/_annotations.coco.json"
BOX = "0 0.5 0.45 0.5 0.5\n"


def finds(rule: str) -> Callable[[Input], Input]:
    """Register the input of a rule."""

    def register(make: Input) -> Input:
        assert rule not in INPUTS
        INPUTS[rule] = make
        return make

    return register


def of_label(rule: str, text: str) -> None:
    """Register a YOLO set in which one label file has this text."""

    @finds(rule)
    def make(sets: Sets) -> Path:
        root = sets.yolo()
        (root / "labels/train/0.txt").write_text(text)
        return root


def of_coco(rule: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Register a COCO set of which the train annotations are changed."""

    @finds(rule)
    def make(sets: Sets) -> Path:
        root = sets.coco()
        values = json.loads((root / TRAIN).read_text())
        change(values)
        (root / TRAIN).write_text(json.dumps(values))
        return root


def of_voc(rule: str, old: str, new: str) -> None:
    """Register a VOC set in which a text of one annotation is another."""

    @finds(rule)
    def make(sets: Sets) -> Path:
        root = sets.voc()
        path = root / "Annotations/3.xml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return root


def of_image(rule: str, write: Callable[[Path], object], suffix: str = ".png") -> None:
    """Register a YOLO set with one more image, which `write` writes."""

    @finds(rule)
    def make(sets: Sets) -> Path:
        root = sets.yolo()
        write(root / f"images/train/odd{suffix}")
        (root / "labels/train/odd.txt").write_text(BOX)
        return root


def of_yolo(rule: str, **settings: Any) -> None:
    """Register a YOLO set with other settings in data.yaml."""
    INPUTS[rule] = lambda sets: sets.yolo(**settings)


def jpeg(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(picture(path, 50).read_bytes()))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(path, 51, exif=exif)


def smooth(path: Path, seed: int, **options: Any) -> None:
    """Write a picture that looks the same after encoding, as noise does not."""
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((160, 80), Image.Resampling.BICUBIC).save(path, **options)


def zero_to_divide_by(data: bytes) -> bytes:
    """Break a quantisation table."""
    place = data.index(b"\xff\xdb") + 30
    return data[:place] + b"\0" + data[place + 1 :]


# --- images

of_image("unreadable-image", lambda path: path.write_bytes(b"no image"))
of_image("truncated-image", lambda path: jpeg(path, lambda data: data[:-2]), ".jpg")
of_image("damaged-image", lambda path: jpeg(path, zero_to_divide_by), ".jpg")
of_image("huge-image", lambda path: Image.new("1", (20_000, 10_000)).save(path))
of_image("unsupported-suffix", lambda path: Image.new("RGB", (40, 20)).save(path), ".gif")
of_image("wrong-suffix", lambda path: shutil.move(picture(path.with_suffix(".png"), 52), path), ".jpg")
of_image("trailing-bytes", lambda path: jpeg(path, lambda data: data + b"more"), ".jpg")
of_image("exif-orientation", turned, ".jpg")
of_image("turned-boxes", lambda path: turned(path.with_suffix(".tif")), ".tif")
of_image("greyscale-image", lambda path: Image.open(picture(path, 53)).convert("L").save(path))
of_image("alpha-channel", lambda path: Image.new("RGBA", (40, 20), (9, 9, 9, 0)).save(path))
of_image("deep-pixels", lambda path: Image.fromarray(np.arange(800, dtype=np.uint16).reshape(20, 40)).save(path))


@finds("file-name")
def a_name_in_latin_1(sets: Sets) -> Path:
    root = sets.yolo()
    for path in (root / "images/train/0.png", root / "labels/train/0.txt"):
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + path.suffix.encode()))
    return root


@finds("name-collision")
def names_that_differ_in_case(sets: Sets) -> Path:
    root = sets.yolo()
    for number, stem in enumerate(("up", "UP"), 60):
        picture(root / f"images/train/{stem}.png", number)
        (root / f"labels/train/{stem}.txt").write_text(BOX)
    return root


@finds("shared-label")
def two_images_of_one_label(sets: Sets) -> Path:
    root = sets.yolo()
    picture(root / "images/train/3.jpg", 70)
    return root


# --- labels


@finds("missing-label")
def no_label(sets: Sets) -> Path:
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    return root


@finds("orphan-label")
def no_image(sets: Sets) -> Path:
    root = sets.yolo()
    (root / "labels/train/99.txt").write_text(BOX)
    return root


@finds("label-name")
def a_label_with_an_extra_suffix(sets: Sets) -> Path:
    root = sets.yolo()
    (root / "labels/train/0.txt").rename(root / "labels/train/0.png.txt")
    return root


@finds("unpaired-label")
def images_that_moved_without_their_labels(sets: Sets) -> Path:
    root = sets.yolo()
    for number in (4, 5):
        (root / f"images/train/{number}.png").rename(root / f"images/val/{number}.png")
    return root


of_voc("other-image", "<filename>3.png", "<filename>4.png")


@finds("misaligned-labels")
def annotations_of_the_next_image(sets: Sets) -> Path:
    root = sets.voc()
    for number in range(10):
        path = root / f"Annotations/{number}.xml"
        path.write_text(path.read_text().replace(f"<filename>{number}", f"<filename>{(number + 1) % 10}"))
    return root


of_coco("missing-image", lambda d: d["images"].append({"id": 77, "file_name": "gone.png"}))
of_label("label-syntax", f"{BOX}0 0.5 0.5 0.1\n")
of_label("wrong-task", f"{BOX}0 .1 .1 .2 .2 .3 .3 .1 .3\n")
of_label("class-range", f"{BOX}9 0.5 0.5 0.1 0.1\n")


@finds("class-gap")
def names_with_a_gap(sets: Sets) -> Path:
    root = sets.yolo(names={0: "cat", 2: "dog"}, nc=None)
    for path in root.rglob("*.txt"):
        path.write_text(path.read_text().replace("1 ", "2 ", 1))
    return root


of_yolo("duplicate-name", names=["cat", "cat"])
of_yolo("similar-names", names=["cat", "Cat"])


@finds("class-order")
def a_list_in_another_order(sets: Sets) -> Path:
    root = sets.yolo()
    (root / "classes.txt").write_text("dog\ncat\n")
    return root


@finds("class-numbers")
def notes_with_other_numbers(sets: Sets) -> Path:
    root = sets.root / "label-studio"
    (root / "labels").mkdir(parents=True)
    for number in range(12):
        picture(root / f"images/{number}.png", number)
        (root / f"labels/{number}.txt").write_text(f"{number % 2}{BOX[1:]}")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "notes.json").write_text(json.dumps({"categories": [{"id": 1, "name": "cat"}, {"id": 0, "name": "dog"}]}))
    return root


def same_id(values: dict[str, Any]) -> None:
    """Give the second image and its boxes the id of the first."""
    values["images"][1]["id"] = values["annotations"][1]["image_id"] = values["images"][0]["id"]


of_coco("duplicate-id", same_id)
of_coco("repeated-number", lambda d: [annotation.update(id=1) for annotation in d["annotations"]])
of_coco("size-mismatch", lambda d: d["images"][0].update(width=80, height=80))

# --- boxes


@finds("box-convention")
def pixels_for_fractions(sets: Sets) -> Path:
    root = sets.yolo()
    for path in root.rglob("*.txt"):
        path.write_text("0 20 9 20 10\n")
    return root


of_label("box-outside", f"{BOX}0 3 3 0.1 0.1\n")
of_label("clipped-box", f"{BOX}0 0.9 0.5 0.4 0.4\n")
of_label("zero-area-box", f"{BOX}0 0.5 0.5 0 0.4\n")
of_label("tiny-box", f"{BOX}0 0.2 0.2 0.003 0.003\n")
of_label("whole-image-box", f"{BOX}0 0.5 0.5 1 1\n")
of_label("duplicate-box", BOX * 2)
of_label("conflicting-boxes", f"{BOX}1{BOX[1:]}")

# --- across images


def copied(root: Path, split: str, label: str = BOX) -> Path:
    """Put a copy of a train image into a split."""
    shutil.copy(root / "images/train/0.png", root / f"images/{split}/copy.png")
    (root / f"labels/{split}/copy.txt").write_text(label)
    return root


def seen_again(root: Path, split: str) -> Path:
    """Put an image into train, and one that looks the same into a split."""
    for where, name, options in (("train", "seen.png", {}), (split, "again.jpg", {"quality": 60})):
        smooth(root / f"images/{where}/{name}", 80, **options)
        (root / f"labels/{where}/{Path(name).stem}.txt").write_text(BOX)
    return root


@finds("leaked-augmentation")
def augmented_copies_in_two_splits(sets: Sets) -> Path:
    root = sets.yolo()
    for number, (split, name) in enumerate((("train", "x_jpg.rf.aa"), ("test", "x_jpg.rf.bb")), 90):
        picture(root / f"images/{split}/{name}.png", number)
        (root / f"labels/{split}/{name}.txt").write_text(BOX)
    return root


INPUTS |= {
    "leaked-image": lambda sets: copied(sets.yolo(), "test"),
    "leaked-copy": lambda sets: seen_again(sets.yolo(), "test"),
    "duplicate-image": lambda sets: copied(sets.yolo(), "train"),
    "conflicting-labels": lambda sets: copied(sets.yolo(), "train", "1 0.3 0.3 0.2 0.2\n"),
    "near-duplicate": lambda sets: seen_again(sets.yolo(), "train"),
}

# --- the set

of_yolo("class-absent", nc=3, names=["cat", "dog", "bird"])
of_yolo("few-boxes")
of_label("class-imbalance", "".join(f"0 {0.3 + n / 100} 0.5 0.2 0.2\n" for n in range(40)))


@finds("many-backgrounds")
def images_without_boxes(sets: Sets) -> Path:
    root = sets.yolo()
    for number in range(4):
        (root / f"labels/train/{number}.txt").write_text("")
    return root


# --- reading

of_yolo("data-path", train="../images/train")


@finds("unused-file")
def a_folder_that_is_no_split(sets: Sets) -> Path:
    root = sets.yolo()
    picture(root / "images/extra/more.png", 99)
    return root


@finds("no-split")
def an_image_that_no_list_names(sets: Sets) -> Path:
    root = sets.voc()
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n4\n")
    return root


of_coco("crowd-region", lambda d: d["annotations"][0].update(iscrowd=1))
of_coco("mask-ignored", lambda d: d["annotations"][0].update(segmentation=[[1, 1, 9, 1, 9, 9]]))
of_coco("grouping-class", lambda d: d["categories"].append({"id": 0, "name": "pets"}) or group(d))


def group(values: dict[str, Any]) -> None:
    """Put all classes under one that has no boxes."""
    for category in values["categories"][:-1]:
        category["supercategory"] = "pets"


@finds("pixel-origin")
def boxes_from_pixel_one(sets: Sets) -> Path:
    root = sets.voc()
    box = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
    for path in (root / "Annotations").iterdir():
        boxes = "".join(box.format(8 + 5 * n, 5 + 2 * n) for n in range(6))
        path.write_text(path.read_text().replace("</annotation>", f"{boxes}</annotation>"))
    return root
