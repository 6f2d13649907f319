"""Class names that are meant to be the same: in two lists, or in two spellings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.config.presets import resolve
from sightline.errors import DataError
from sightline.validate.checks.class_names import similar
from sightline.validate.repair.fix import fix
from tests.helpers.repairs import repaired
from tests.helpers.sets import BOX, Sets, found, picture, places


def label_studio(root: Path, names: list[str], notes: object) -> Path:
    """Four images of each class number, as Label Studio's YOLO export has them."""
    for number in range(len(names)):
        for copy in range(4):
            stem = f"{number}-{copy}"
            picture(root / f"images/{stem}.png", number * 10 + copy)
            (root / "labels").mkdir(exist_ok=True)
            (root / f"labels/{stem}.txt").write_text(f"{number} {BOX}\n")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "notes.json").write_text(notes if isinstance(notes, str) else json.dumps({"categories": notes}))
    return root


@pytest.mark.parametrize("kind", [int, str])
def test_label_studios_labels_have_the_numbers_of_its_notes(tmp_path, report, kind):
    notes = [{"id": kind(n), "name": name} for n, name in ((2, "bolt"), (0, "nut"), (1, "pin"))]
    document = report(label_studio(tmp_path / "ls", ["bolt", "nut", "pin"], notes))
    assert document.classes == ["nut", "pin", "bolt"]
    assert found(document)["class-numbers"] == 1
    assert places(document, "class-numbers") == ["classes.txt"]
    assert document.verdict == "accepted"


@pytest.mark.parametrize(
    "notes", [[{"id": 0, "name": "nut"}, {"id": 1, "name": "pin"}], [], '{"no": "categories"}', "x"]
)
def test_notes_that_agree_or_say_nothing_change_nothing(tmp_path, report, notes):
    document = report(label_studio(tmp_path / "ls", ["nut", "pin"], notes))
    assert document.classes == ["nut", "pin"]
    assert "class-numbers" not in found(document)


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ([{"id": 0, "name": "nut"}, {"id": 1, "name": "bolt"}], "different class names: 0 'nut', 1 'bolt'; and"),
        ([{"id": 0, "name": "nut"}, {"id": 0, "name": "pin"}], "categories[1] is"),
        ([{"id": "x", "name": "nut"}], "expected a number of its own and a name"),
        ('{"categories": [', "is not JSON"),
    ],
)
def test_notes_that_contradict_the_list_are_refused(tmp_path, report, notes, words):
    with pytest.raises(DataError) as caught:
        report(label_studio(tmp_path / "ls", ["nut", "pin"], notes))
    assert words in str(caught.value)


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt", "labels/train/classes.txt", "obj.names"])
def test_a_list_in_another_order_than_data_yaml_is_an_error(sets: Sets, report, place):
    root = sets.yolo()
    (root / place).write_text("dog\ncat\n")
    document = report(root)
    assert places(document, "class-order") == [place]
    assert document.verdict == "rejected"
    with pytest.raises(DataError, match="Nothing was written"):
        fix(str(root), resolve("balanced", {}), root.parent / "fixed")


@pytest.mark.parametrize("text", ["cat\ndog\n", "cat \r\ndog\n\n", "person\ndog\n", "cat\ndog\nperson\n", "", "\0\n"])
def test_a_list_that_agrees_or_is_of_something_else_is_let_be(sets: Sets, report, text):
    root = sets.yolo()
    (root / "labels/train/classes.txt").write_text(text)
    assert "class-order" not in found(report(root))


@pytest.mark.parametrize(
    ("place", "text", "words"),
    [
        ("classes.txt", "background\ncat\ndog\n", "1 'cat', 2 'dog'; data.yaml has 0 'cat', 1 'dog'"),
        ("classes.txt", "Dog\nCat\n", "0 'Dog', 1 'Cat'; data.yaml has 0 'cat', 1 'dog'"),
        ("labels/classes.txt", "dog\n", "0 'dog'; data.yaml has 1 'dog'"),
        ("notes.json", '{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}', "1 'cat', 2 'dog'"),
    ],
)
def test_a_list_that_gives_one_shared_name_another_number_is_an_error(sets: Sets, report, place, text, words):
    root = sets.yolo()
    (root / place).write_text(text)
    document = report(root)
    assert places(document, "class-order") == [place]
    assert words in str(document.findings)


def test_a_list_in_utf_16_is_compared_too(sets: Sets, report):
    root = sets.yolo()
    (root / "classes.txt").write_text("dog\ncat\n", encoding="utf-16")
    assert places(report(root), "class-order") == ["classes.txt"]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["cat", "Cat", "CAT"], [[0, 1, 2]]),
        (["a", "a "], [[0, 1]]),
        (["a", "A"], []),  # letters
        (["traffic light", "Traffic_Light", "traffic-light"], [[0, 1, 2]]),
        (["caf\u00e9", "cafe\u0301", "cafe"], [[0, 1]]),
        (["A-", "A", "A+", "AB"], []),
        (["c 1", "c-1", "c1"], []),
        (["class 1", "class_1", "class-1", "class1", "class 2"], [[0, 1, 2]]),
        (["x -1", "x 1", "1-2", "12"], []),
        (["cat", "c\u200bat", "\ufeffcat"], [[0, 1, 2]]),
        (["\u0130stanbul", "istanbul"], [[0, 1]]),
        (["dog", "cat", "Dog", "bird", "cat\u00a0"], [[0, 2], [1, 4]]),
    ],
)
def test_names_are_alike_that_differ_in_typing_alone(names, groups):
    assert similar(names) == groups


def test_spellings_are_an_error_and_the_repair_makes_them_one_under_the_commonest(sets: Sets, report, tmp_path):
    root = sets.yolo(nc=3, names=["Cat", "dog", "cat "])
    (root / "labels/train/0.txt").write_text(f"0 {BOX}\n2 0.5 0.45 0.501 0.5\n1 0.2 0.2 0.1 0.1\n")  # one object twice
    for number in (2, 4):
        (root / f"labels/train/{number}.txt").write_text(f"2 {BOX}\n2 0.2 0.2 0.2 0.2\n")
    document = report(root)
    assert places(document, "similar-names") == ["class Cat"]
    assert document.verdict == "rejected"
    assert ("similar-names", "merged the classes") in repaired(root, tmp_path)
    copy = report(tmp_path / "fixed")
    assert copy.classes == ["cat", "dog"]
    assert "similar-names" not in found(copy)
    lines = (tmp_path / "fixed/labels/train/0.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]


def test_spellings_in_voc_files_and_in_two_coco_files_are_found(sets: Sets, report):
    root = sets.voc()
    path = root / "Annotations/0.xml"
    path.write_text(path.read_text().replace("cat", "CAT"))
    assert places(report(root), "similar-names") == ["class CAT"]
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text().replace('"cat"', '"Cat"'))
    assert places(report(root), "similar-names") == ["class cat"]
