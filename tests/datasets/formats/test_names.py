"""Names that are meant to be the same: of classes in two lists or two spellings, of images and their labels."""

from __future__ import annotations

import contextlib
import csv
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config.presets import resolve
from sightline.documents import DataDocument, read
from sightline.errors import DataError, DataRejected
from sightline.validate import check
from sightline.validate.checks.class_names import alike
from sightline.validate.repair.fix import fix
from tests.helpers.sets import Sets, found, picture, places

BOX = "0.5 0.45 0.5 0.5"
Report = Callable[[Path], DataDocument]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """`report(source)` returns what the gate says of a source, refused or not."""

    def call(root: Path) -> DataDocument:
        with contextlib.suppress(DataRejected):
            return check(str(root), resolve("balanced", {}), tmp_path / "report")
        return read(DataDocument, tmp_path / "report")

    return call


def repaired(root: Path, tmp_path: Path) -> list[tuple[str, str]]:
    """Write a repaired copy into `fixed`; returns what was changed, and by which rule."""
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    with open(done.changes_file, newline="", encoding="utf-8") as file:
        return [(row["rule"], row["change"]) for row in csv.DictReader(file)]


# --- class names in two lists


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


# --- spellings of a class


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
    assert alike(names) == groups


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


# --- images and labels


def forms(stem: str) -> tuple[str, str]:
    """Return a name composed and decomposed."""
    return unicodedata.normalize("NFC", stem), unicodedata.normalize("NFD", stem)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_a_label_in_another_unicode_form_is_the_labels_of_its_image(sets: Sets, report, turned, listed):
    root = sets.yolo()
    image, label = forms("caf\u00e9")[:: -1 if turned else 1]
    (root / "images/train/0.png").rename(root / f"images/train/{image}.png")
    (root / "labels/train/0.txt").rename(root / f"labels/train/{label}.txt")
    if listed:
        lines = [f"images/train/{label}.png", *(f"images/train/{n}.png" for n in range(1, 6))]
        (root / "train.txt").write_text("\n".join(lines))
        settings = json.loads((root / "data.yaml").read_text()) | {"train": "train.txt"}
        (root / "data.yaml").write_text(json.dumps(settings))
    document = report(root)
    assert set(found(document)) == {"few-boxes"}
    assert (document.splits["train"].images, document.splits["train"].backgrounds) == (6, 0)


def test_coco_and_voc_find_images_in_another_unicode_form(sets: Sets, report):
    image, other = forms("caf\u00e9")
    root = sets.coco()
    (root / "train/0.png").rename(root / f"train/{image}.png")
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"0.png"', json.dumps(f"{other}.png")))
    assert set(found(report(root))) == {"few-boxes"}
    root = sets.voc()
    (root / "JPEGImages/0.png").rename(root / f"JPEGImages/{image}.png")
    (root / "Annotations/0.xml").rename(root / f"Annotations/{other}.xml")
    path = root / "ImageSets/Main/train.txt"
    path.write_text(path.read_text().replace("0\n", f"{image}\n", 1))
    assert set(found(report(root))) == {"few-boxes"}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("IMG_1.png", "img_1.txt"),
        ("a b.png", "a  b.txt"),
        ("a b.png", "a_b.txt"),
        ("a.png", "a.png.txt"),
        ("a.png", "a .txt"),
    ],
)
def test_a_label_of_nearly_the_images_name_is_an_error_and_its_boxes_are_not_lost(
    sets: Sets, report, validate, tmp_path, image, label
):
    root = sets.yolo()
    (root / "images/train/0.png").rename(root / "images/train" / image)
    (root / "labels/train/0.txt").rename(root / "labels/train" / label)
    document = report(root)
    assert found(document, "error") == {"label-name": 1}
    assert places(document, "label-name") == [f"images/train/{image}"]
    assert {"missing-label", "orphan-label"}.isdisjoint(found(document))
    document = validate(root, policy={"rules": {"label-name": "warning"}})
    assert document.splits["train"].backgrounds == 0
    assert ("label-name", "renamed the label after its image") in repaired(root, tmp_path)
    copy = report(tmp_path / "fixed")
    assert (copy.errors, copy.splits["train"].boxes) == (0, 6)


def test_a_label_that_two_images_might_have_is_nobodys(sets: Sets, report):
    root = sets.yolo()
    picture(root / "images/train/A.png", 50)
    picture(root / "images/train/a.png", 51)
    (root / "labels/train/a .txt").write_text(f"0 {BOX}\n")
    document = report(root)
    assert "label-name" not in found(document)
    assert found(document)["missing-label"] == 2
    assert document.verdict == "rejected"  # but somebody's it is


def test_labels_that_were_left_behind_in_another_split_are_an_error(sets: Sets, report, tmp_path):
    root = sets.yolo()
    for number in (4, 5):
        (root / f"images/train/{number}.png").rename(root / f"images/val/{number}.png")
    document = report(root)
    assert document.verdict == "rejected"
    assert places(document, "unpaired-label") == ["images/val/4.png", "images/val/5.png"]
    with pytest.raises(DataError, match="Nothing was written"):
        fix(str(root), resolve("balanced", {}), tmp_path / "fixed")


def test_a_split_whose_labels_are_named_by_another_scheme_is_an_error(sets: Sets, report):
    root = sets.yolo()
    for number in range(4):
        (root / f"labels/train/{number}.txt").rename(root / f"labels/train/d41d8cd9-{number}x.txt")
    document = report(root)
    assert document.verdict == "rejected"
    assert places(document, "unpaired-label") == ["labels/train"]
    assert "4 labels without an image and 4 images without a label" in str(document.findings)
    assert "expected labels that are named like their images" in str(document.findings)


def test_one_background_without_a_file_and_one_lost_image_do_not_pair_up(sets: Sets, report):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/lost.txt").write_text(f"0 {BOX}\n")
    document = report(root)
    assert {"missing-label", "orphan-label"} <= set(found(document, "warning"))
    assert document.verdict == "accepted"


def name_inside(root: Path, number: int, name: str) -> None:
    path = root / f"Annotations/{number}.xml"
    path.write_text(path.read_text().replace(f"<filename>{number}.png", f"<filename>{name}"))


def test_a_voc_file_that_names_another_image_in_another_case_is_a_warning(sets: Sets, report):
    root = sets.voc()
    for number in (0, 1):
        for path in (root / f"JPEGImages/{number}.png", root / f"Annotations/{number}.xml"):
            path.rename(path.with_stem(f"p{number}"))
    lists = root / "ImageSets/Main/train.txt"
    lists.write_text(lists.read_text().replace("0\n1\n", "p0\np1\n"))
    for number, name in ((0, "P1.PNG"), (1, "P1.PNG")):  # the second has just its own name
        path = root / f"Annotations/p{number}.xml"
        path.write_text(path.read_text().replace(f"{number}.png", name))
    assert places(report(root), "other-image") == ["JPEGImages/p0.png"]


def test_names_that_look_the_same_are_shown_with_what_tells_them_apart(sets: Sets, report):
    for number, (names, words) in enumerate(
        (
            (["traffic light", "traffic\u00a0light"], r"'traffic light', 'traffic\xa0light' differ"),
            (["cat", "c\u200bat"], r"'cat', 'c\u200bat' differ"),
            (["caf\u00e9", "cafe\u0301"], r"'caf\xe9', 'cafe\u0301' differ"),
        )
    ):
        document = report(sets.yolo(str(number), names=names))
        [finding] = [finding for finding in document.findings if finding.rule == "similar-names"]
        assert words in finding.examples[0].message


def test_voc_annotations_that_all_name_the_next_image_are_refused_and_not_repaired(sets: Sets, report, tmp_path):
    root = sets.voc()
    for number in range(10):
        name_inside(root, number, f"{(number + 1) % 10}.png")
    document = report(root)
    assert found(document, "error") == {"misaligned-labels": 1}
    assert "10 of 10 annotations have the <filename> of another image, such as" in str(document.findings)
    with pytest.raises(DataError, match="Nothing was written"):
        repaired(root, tmp_path)


def test_one_name_in_all_annotations_is_what_a_template_left(sets: Sets, report):
    root = sets.voc()
    for number in range(10):
        name_inside(root, number, "3.png")
    document = report(root)
    assert found(document, "error") == {}
    assert found(document, "warning")["other-image"] == 9


def test_a_voc_file_that_names_another_image_that_is_there_is_a_warning(sets: Sets, report):
    root = sets.voc()

    def rename(number: int, to: str) -> None:
        path = root / f"Annotations/{number}.xml"
        path.write_text(path.read_text().replace(f"<filename>{number}.png", f"<filename>{to}"))

    picture(root / "JPEGImages/spare.png", 40)  # without an annotation
    rename(0, "1.png")
    rename(1, "photo.jpg")  # the name before somebody numbered them: no such image
    rename(2, "2")
    rename(3, "..\\JPEGImages\\4")
    rename(6, "spare.png")
    document = report(root)
    assert places(document, "other-image") == ["JPEGImages/0.png", "JPEGImages/3.png", "JPEGImages/6.png"]
    assert document.verdict == "accepted"
    [finding] = [f for f in document.findings if f.rule == "other-image"]
    assert finding.severity == "warning"
    assert finding.examples[0].image == "JPEGImages/0.png"


# --- numbers that JSON lacks


def coco_with(root: Path, **values: object) -> Path:
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    document["annotations"][0] |= values
    path.write_text(json.dumps(document))
    return root


@pytest.mark.parametrize(
    "values",
    [
        {"area": float("nan")},
        {"score": float("inf"), "note": 'NaN, "Infinity" and \\'},
        {"extra": [1, {"x": [float("-inf")]}]},
        {"segmentation": []},
    ],
)
def test_endless_numbers_that_nobody_reads_do_not_matter(sets: Sets, report, values):
    document = report(coco_with(sets.coco(), **values))
    assert set(found(document)) == {"few-boxes"}
    assert document.boxes == 10


@pytest.mark.parametrize(
    ("values", "rule", "words"),
    [
        ({"bbox": [float("nan"), 4, 20, 10]}, "label-syntax", "[NaN, 4, 20, 10], which are not all finite numbers"),
        ({"bbox": [1, 4, 20, float("inf")]}, "label-syntax", "[1, 4, 20, Infinity], which are not all finite numbers"),
        ({"category_id": float("nan")}, "class-range", "has category NaN, which is not in categories"),
        ({"iscrowd": float("nan")}, "label-syntax", "has iscrowd NaN; expected 0 or 1"),
        ({"bbox": ["10", "4", "20", "10"]}, "label-syntax", "whose numbers are texts"),
        ({"image_id": float("nan")}, "missing-image", "refers to image NaN, which is not in images"),
    ],
)
def test_endless_numbers_that_matter_are_named(sets: Sets, report, values, rule, words):
    document = report(coco_with(sets.coco(), **values))
    assert found(document, "error") == {rule: 1}
    assert words in str(document.findings)


@pytest.mark.parametrize("number", ["1e999", "18446744073709551616", "9" * 400])
def test_a_number_beyond_64_bits_that_nobody_reads_does_not_matter(sets: Sets, report, number):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', f'"iscrowd": 0, "track": {number}, "area": 200.0'))
    document = report(root)
    assert set(found(document)) == {"few-boxes"}
    assert document.boxes == 10


def test_ids_beyond_64_bits_are_kept_apart(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    for record in (*document["images"], *document["categories"]):
        record["id"] += 2**70
    for record in document["annotations"]:
        record |= {"image_id": record["image_id"] + 2**70, "category_id": record["category_id"] + 2**70}
    path.write_text(json.dumps(document))
    assert report(root).splits["train"].boxes_per_class == {"cat": 3, "dog": 3}


def test_an_endless_image_size_is_named(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace('"width": 40', '"width": Infinity', 1))
    document = report(root)
    assert found(document, "error") == {"size-mismatch": 1}
    assert "has the width Infinity; expected whole numbers of pixels" in str(document.findings)


def test_endless_numbers_are_found_wherever_a_chunk_ends(sets: Sets, report):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    document = json.loads(path.read_text())
    text = json.dumps(document | {"info": {"x": ["\\" * 3, float("nan"), "NaN", float("-inf")] * 9}})
    for shift in range(0, 130, 7):
        path.write_text(json.dumps({"pad": "p" * (2**16 - shift)})[:-1] + ", " + text[1:])
        assert report(root).boxes == 10
