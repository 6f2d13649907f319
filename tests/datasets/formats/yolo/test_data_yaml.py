"""data.yaml in its dialects, and what is refused of it."""

from __future__ import annotations

import pytest

from sightline.errors import DataError
from tests.helpers.reading import collect, problem
from tests.helpers.sets import Sets, found
from tests.helpers.tool_exports import NAMES


@pytest.mark.parametrize(
    ("values", "repaired"),
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
def test_data_yaml_dialects_mean_the_same(sets, values, repaired):
    read = collect(sets.yolo(**values))
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("data-path", "data.yaml")] * repaired
    assert set(read.records) == {f"images/{s}/{n}.png" for s, numbers in sets.numbers().items() for n in numbers}


def test_missing_numbers_and_doubled_names_are_repaired_and_reported(sets):
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
        ("names: " + "[" * 600, ["nested too deeply"]),
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


def test_class_names_in_a_file_of_their_own_are_read(sets: Sets):
    root = sets.yolo(names="data/coco.names")
    (root / "coco.names").write_text(NAMES)
    assert collect(root).reading.classes == ["cat", "dog"]
    (root / "coco.names").unlink()
    assert "has no class names" in problem(root)


def test_a_data_yaml_that_lacks_only_names_says_so_with_its_keys(sets: Sets):
    message = problem(sets.yolo(names=None, classes=["cat", "dog"]))
    assert "has no class names; expected `names: [first, second]`" in message
    assert "Its keys are train, val, test, nc, classes." in message


def test_two_names_under_one_number_are_refused(sets: Sets, look):
    root = sets.yolo()
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace('["cat", "dog"]', "{0: cat, 1: dog, 01: cow}"))
    with pytest.raises(DataError, match="'1' is given twice"):
        look(root)


def test_a_setting_that_says_the_same_twice_is_no_mistake(sets: Sets, look):
    root = sets.yolo()
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace('"nc": 2', '"nc": 2, "nc": 2'))
    assert found(look(root)) == {}
