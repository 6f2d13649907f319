"""Paths in data.yaml that lead nowhere as they are written: one place is taken, two are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.reading import collect, problem
from tests.helpers.sets import COUNTS, Sets


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            {"train": "data/images/train"},
            ["train: 'data/images/train' leads nowhere as it is written; took images/train"],
        ),
        ({"train": r"images\train"}, [r"train: 'images\train' leads nowhere as it is written; took images/train"]),
        ({"train": r"D:\sets\mine\images\train"}, ["took images/train"]),
        ({"train": "/content/mine/train/images"}, ["took images/train"]),
        ({"train": "file:///home/me/images/train"}, ["took images/train"]),
        ({"train": None, "Train": "images/train", "val": None, "Validation": "images/val"}, []),
        ({"path": "/kaggle/input/mine"}, ["path: '/kaggle/input/mine' leads nowhere; took the folder of data.yaml"]),
        ({"path": "..\\yolo"}, []),
        (
            {"path": "labels", "test": None},
            ["train: 'images/train' is not below the folder that `path` names, labels; took images/train"] * 1
            + ["val: 'images/val' is not below the folder that `path` names, labels; took images/val"],
        ),
    ],
    ids=["data", "backslash", "drive", "colab", "uri", "capitals", "path", "path-of-windows", "path-elsewhere"],
)
def test_a_path_that_can_mean_one_place_is_taken_and_said(sets: Sets, values: dict[str, Any], messages: list[str]):
    read = collect(sets.yolo(**values), fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    said = [item.message for item in read.found]
    assert len(said) == len(messages)
    for message, expected in zip(said, messages, strict=True):
        assert message.endswith(expected)


def test_a_path_that_can_mean_two_places_is_refused_with_both(sets: Sets):
    root = sets.yolo(train="/content/mine/train/images")
    shutil.copytree(root / "images/train", root / "train/images")
    assert "took" not in problem_or_read(root)
    shutil.copytree(root / "images/train", root / "a/part/train")
    shutil.copytree(root / "images/train", root / "b/part/train")
    text = json.loads((root / "data.yaml").read_text()) | {"train": "/content/part/train"}
    (root / "data.yaml").write_text(json.dumps(text))
    message = problem(root)
    for word in ("train: '/content/part/train'", "a/part/train or b/part/train", "write which of them"):
        assert word in message


def problem_or_read(root: Path) -> str:
    return "; ".join(item.message for item in collect(root).found if "took images" in item.message)


def test_no_split_is_made_of_the_folder_of_all(sets: Sets):
    root = sets.yolo(train="/x/train/images", val="/x/val/images", test=None)
    for split in COUNTS:
        for path in (root / "images" / split).iterdir():
            path.rename(root / "images" / path.name)
        (root / "images" / split).rmdir()
    message = problem(root)
    for word in ("train: '/x/train/images' is no folder", "val: '/x/val/images'", "tried x/train/images, train/images"):
        assert word in message
    (root / "data.yaml").write_text("train: /x/images\nval: /y/images\nnames: [cat, dog]\n")
    assert "val: '/y/images' leads nowhere, and all that is like it is the place of train" in problem(root)


def test_two_spellings_of_a_split_that_lead_to_two_places_are_refused(sets: Sets):
    assert "val and valid are the same split" in problem(sets.yolo(valid="images/test"))
    assert "'train' is given twice" in problem(sets.yolo("other", Train="images/test"))


@pytest.mark.parametrize("scheme", ["https", "s3", "ftp"])
def test_a_url_in_data_yaml_is_not_followed(sets: Sets, scheme):
    message = problem(sets.yolo(train=f"{scheme}://x.y/train.zip"))
    assert f"train: '{scheme}://x.y/train.zip' is a URL, and nothing is downloaded" in message
