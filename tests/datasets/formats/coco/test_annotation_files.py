"""COCO files as they come: in other encodings, not fetched, cut; with paths of another place; with predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.config.presets import resolve
from sightline.documents import DataDocument
from sightline.errors import DataError
from sightline.validate import check
from tests.helpers.coco import edit
from tests.helpers.sets import Sets, found, picture, places


def instances(sets: Sets, name: Callable[[str, int], str] = lambda split, n: f"{n}.png") -> Path:
    """`annotations/instances_*.json` beside `images/*`, with the file names that `name` makes."""
    root = sets.coco()
    (root / "annotations").mkdir()
    for split, numbers in sets.numbers().items():
        path = root / split / "_annotations.coco.json"
        document = json.loads(path.read_text())
        for image, n in zip(document["images"], numbers, strict=True):
            image["file_name"] = name(split, n)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(document))
        path.unlink()
        (root / "images").mkdir(exist_ok=True)
        (root / split).rename(root / "images" / split)
    return root


# --- files that cannot be read


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_file_in_another_encoding_is_read(sets: Sets, report, encoding, split):
    root = instances(sets)
    path = root / f"annotations/instances_{split}.json"
    path.write_text(path.read_text(), encoding=encoding)
    document = report(root)
    assert {name: part.images for name, part in document.splits.items()} == {"train": 6, "val": 2, "test": 2}
    assert document.boxes == 10


def test_what_is_wrong_in_a_file_of_utf_16_has_its_line_and_column(sets: Sets):
    root = instances(sets)
    path = root / "annotations/instances_val.json"
    text = json.dumps(json.loads(path.read_text()), indent=1).replace('"iscrowd": 0', '"iscrowd": ?', 1)
    path.write_text(text, encoding="utf-16")
    before = text[: text.index("?")]
    line, shown = before.count("\n") + 1, before.rpartition("\n")[2]
    place = f"instances_val.json:{line}: not JSON: .* at column {len(shown) + 1}"
    with pytest.raises(DataError, match=place):
        check(str(root), resolve("balanced", {}), root.parent / "report")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (bytes(500), "holds zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5780\n", "is a pointer of git-lfs"),
        (b'{"images": [], "annot', "not JSON"),
        (b"\x1f\x8b\x08\x00junk", "is compressed by gzip"),
        (b"<!DOCTYPE html>\n<html></html>", "is a web page"),
        (b"{'images': []}", "not JSON"),
        (None, "is a link to nothing"),
    ],
)
@pytest.mark.parametrize("layout", ["annotations/instances_val.json", "val/_annotations.coco.json", "val.json"])
def test_a_split_whose_file_cannot_be_read_is_refused_and_made_of_nothing_else(sets: Sets, layout, data, words):
    root = sets.coco() if layout.startswith("val/") else instances(sets)
    if layout == "val.json":
        for path in (root / "annotations").iterdir():
            path.rename(root / path.name.removeprefix("instances_"))
    path = root / layout
    path.unlink()
    if data is None:
        path.symlink_to("../.git/annex/objects/nothing")
    else:
        path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        check(str(root), resolve("balanced", {}), root.parent / "report")
    message = f"{caught.value.message} {caught.value.problems}"
    assert layout in message
    assert words in message


def test_other_json_beside_annotations_is_let_be(sets: Sets, report):
    root = instances(sets)
    (root / "settings.json").write_text("// not JSON\n{}")
    (root / "images/val/meta.json").write_bytes(b"")
    (root / "annotations/captions_val.json").write_bytes(b"")
    assert found(report(root), "error") == {}


# --- paths of another place


def taken(document: DataDocument) -> set[str]:
    return {finding.rule for finding in document.findings} & {"data-path", "missing-image", "unused-file"}


@pytest.mark.parametrize(
    "name",
    [
        lambda split, n: f"C:\\data\\images\\{n}.png",
        lambda split, n: f"/data/cam2/{split}/{n}.png",
        lambda split, n: f"foo/{n}.png",
        lambda split, n: f"https://x.y/z/{n}.png",
    ],
)
def test_a_path_of_another_place_is_followed_and_said_once_a_file(sets: Sets, report, name):
    document = report(instances(sets, name))
    assert document.verdict == "accepted"
    assert document.boxes == 10
    assert len(places(document, "data-path")) == 3
    assert "and so do 5 more names; took images/train/0.png" in str(document.findings)


def test_a_path_that_is_there_as_it_is_written_is_no_finding(sets: Sets, report):
    for number, name in enumerate(
        (
            lambda split, n: f"../images/{split}/{n}.png",
            lambda split, n: f"images/{split}/{n}.png",
            lambda split, n: f"{split}\\{n}.png",
        )
    ):
        sets.root = sets.root.parent / str(number)
        assert taken(report(instances(sets, name))) == set()


def test_a_path_that_can_mean_two_images_is_refused_with_both(sets: Sets, report):
    root = instances(sets, lambda split, n: f"cam2/{n}.png")
    picture(root / "images/train/cam1/0.png", 77)
    document = report(root)
    assert found(document, "error") == {"missing-image": 1}
    assert "may be images/train/0.png or images/train/cam1/0.png; write which of them" in str(document.findings)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("P0.PNG", "p0.png"),
        ("a%20p0.png", "a p0.png"),
        ("p0.jpg", "p0.png"),
        ("https://x.y/z/p0.png?t=1", "p0.png"),
        ("p 0.png", "p_0.png"),
    ],
)
def test_an_image_that_is_not_there_is_reported_with_the_one_of_nearly_its_name(sets: Sets, report, name, there):
    root = instances(sets)
    (root / "images/train/0.png").rename(root / "images/train" / there)
    edit(root / "annotations/instances_train.json", lambda d: d["images"][0].update(file_name=name))
    document = report(root)
    assert found(document, "error") == {"missing-image": 1}
    assert f"images/train/{there} has nearly its name" in str(document.findings)


def test_a_filename_of_voc_with_folders_is_followed_and_said_once_a_list(sets: Sets, report):
    root = sets.voc()
    for number in range(10):
        path = root / f"Annotations/{number}.xml"
        path.write_text(path.read_text().replace(f"{number}.png", f"C:\\x\\{number}.png"))
        path.rename(path.with_stem(f"label-{number}"))
    for path in (root / "ImageSets/Main").iterdir():
        path.write_text("".join(f"label-{line}\n" for line in path.read_text().split()))
    document = report(root)
    assert document.boxes == 10
    assert len(places(document, "data-path")) == 3


# --- predictions


@pytest.mark.parametrize(
    ("key", "scores", "predictions"),
    [
        ("score", [0.9, 0.55, 0.3, 0.999, 0.41, 0.77], True),
        ("confidence", [0.5] * 6, True),
        ("score", [1.0, 0.98, 0.7, 0.6, 1.0, 0.4], True),
        ("score", [97.5, 55.1, 30.2, 99.9, 41.3, 77.7], True),
        ("score", [1.0] * 6, False),
        ("score", [0] * 6, False),
        ("score", [None] * 6, False),
        ("score", [0.9, 0.8, None, 0.7, 0.6, 0.5], False),  # a few that were labelled before
        ("confidence", [1, 2, 3, 5, 4, 3], False),  # how sure a person was
    ],
)
def test_predictions_are_no_labels_and_a_flag_beside_labels_does_no_harm(sets: Sets, report, key, scores, predictions):
    root = instances(sets)

    def score(document: dict[str, Any]) -> None:
        for annotation, value in zip(document["annotations"], scores, strict=True):
            annotation[key] = value

    edit(root / "annotations/instances_train.json", score)
    document = report(root)
    assert found(document, "error") == ({"wrong-task": 6} if predictions else {})
    assert ("predictions of a model; expected labels" in str(document.findings)) == predictions
