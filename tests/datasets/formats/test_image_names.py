"""Images and labels whose names are meant to be the same, and are not."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from sightline.config.presets import resolve
from sightline.errors import DataError
from sightline.validate.repair.fix import fix
from tests.helpers.repairs import repaired
from tests.helpers.sets import BOX, Sets, found, picture, places


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


def test_a_label_that_two_images_might_have_belongs_to_neither(sets: Sets, report):
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
