"""Lists of images: of another machine, of no images, and of other splits."""

from __future__ import annotations

import shutil

import pytest

from tests.helpers.reading import collect
from tests.helpers.sets import Sets


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", "'0' is no path of an image: it has no suffix of one, and 5 more lines are like it"),
        ("labels/train/{}.txt", "'labels/train/0.txt' is the path of a label, and 5 more lines are like it"),
    ],
)
def test_a_list_of_what_is_no_image_is_explained_once(sets: Sets, line, words):
    root = sets.yolo(train="train.txt")
    (root / "train.txt").write_text("".join(line.format(n) + "\n" for n in range(6)))
    read = collect(root)
    assert read.rules() == [("missing-image", "train.txt:1")]
    assert words in read.found[0].message


def test_lists_of_another_machine_are_followed_and_said_once(sets: Sets):
    root = sets.yolo(train="train.txt", val="val.txt")
    lines = "".join(rf"C:\sets\mine\images\train\{n}.png" + "\n" for n in range(5))
    (root / "train.txt").write_text(f"images/train/5.png\n{lines}/home/me/images/train/gone.png\n")
    (root / "val.txt").write_text("/home/me/mine/images/val/6.png\n/home/me/mine/images/val/7.png\n")
    read = collect(root, fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("missing-image", "train.txt:7"), ("data-path", "train.txt:2"), ("data-path", "val.txt:1")]
    assert read.found[1].message == (
        r"'C:\sets\mine\images\train\0.png' leads nowhere as it is written, and so do 4 more lines; "
        "took images/train/0.png"
    )


def test_a_line_is_not_followed_to_an_image_of_another_split(sets: Sets):
    root = sets.yolo(train="images/train.txt")
    shutil.copy(root / "images/val/6.png", root / "images/9.png")
    (root / "images/train.txt").write_text("train/0.png\n/home/me/train/9.png\n")
    assert ("missing-image", "images/train.txt:2") in collect(root).rules()
