"""What breaks the contract is refused with its place and what to do, all of a kind at once, leaving nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sightline.errors import DataError, DataRejected, StorageUsageError

LABEL = "labels/train/3.txt"


# --- label lines: exit 3, file and line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("zero 0.5 0.5 0.1 0.1", ["expected five numbers"]),
        ("0 0.5 0.5 0.1", ["got 4 numbers", "expected five"]),
        ("0 0.5 0.5 0.1 0.1 0.9", ["got 6 numbers"]),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", ["segmentation label"]),
        ("2 0.5 0.5 0.1 0.1", ["got class 2", "expected 0 to 1"]),
        ("-1 0.5 0.5 0.1 0.1", ["got class -1"]),
        ("0.5 0.5 0.5 0.1 0.1", ["got class 0.5"]),
        ("0 320 200 50 40", ["lies outside images/train/3.png (40x20)", "0 to 1"]),
        ("0 1.01 0.5 0.1 0.1", ["lies outside"]),
        ("0 0.5 0.5 -0.1 0.1", ["negative size"]),
        ("0 nan 0.5 0.1 0.1", ["expected finite numbers"]),
    ],
)
def test_a_wrong_label_line_is_named_with_file_and_line(sets, refuse, line, words):
    root = sets.yolo()
    (root / LABEL).write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    error = refuse(root, DataRejected)
    assert error.exit_code == 3
    assert "1 error " in error.message
    [problem] = error.problems
    assert problem.startswith(f"{LABEL}:2: ")
    for word in words:
        assert word in problem


def test_all_errors_are_counted_and_twenty_are_shown(sets, refuse):
    root = sets.yolo()
    for n in range(5):
        (root / f"labels/train/{n}.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 5)
    (root / "images/val/6.png").write_bytes(b"no image")
    error = refuse(root, DataRejected)
    assert "26 errors" in error.message
    assert len(error.problems) == 21
    assert error.problems[20] == "… and 6 more"


@pytest.mark.parametrize(
    ("names", "rule", "words"),
    [
        ({0: "cat", 2: "dog"}, "class-gap", "names has the numbers 0, 2; expected 0 to 1"),
        (["cat", "cat"], "duplicate-name", "'cat' is the name of 0 and of 1"),
    ],
)
def test_wrong_class_names_are_refused(sets, refuse, names, rule, words):
    problems = refuse(sets.yolo(names=names), DataRejected).problems
    assert any(words in problem and f"[{rule}]" in problem for problem in problems)


# --- images


def test_bytes_that_are_no_whole_image_are_named(sets, refuse):
    root = sets.yolo()
    whole = sets.picture(root / "images/train/x.jpg", 50, size=(200, 200)).read_bytes()
    (root / "images/train/x.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "images/train/0.png").write_bytes((root / "images/train/0.png").read_bytes()[:-40])
    (root / "images/train/1.png").write_bytes(b"")
    (root / "images/train/2.png").write_text("<html>404</html>")
    problems = refuse(root, DataRejected).problems
    named = dict(problem.split(": ", 1) for problem in problems)
    for name, word in (
        ("0.png", "ends too early"),
        ("1.png", "is empty"),
        ("2.png", "is no image but a web page"),
        ("x.jpg", "marker"),
    ):
        assert word in named[f"images/train/{name}"]
    assert len(problems) == 4


def test_an_enormous_image_is_refused_before_it_is_decoded(sets, refuse):
    root = sets.yolo()
    Image.new("1", (20000, 10000)).save(root / "images/train/0.png")
    [problem] = refuse(root, DataRejected).problems
    assert "images/train/0.png: has more than 178 million pixels" in problem


def test_equal_images_with_other_labels_are_refused(sets, refuse):
    root = sets.yolo()
    (root / "images/train/copy.PNG").write_bytes((root / "images/train/0.png").read_bytes())
    (root / "labels/train/copy.txt").write_text("1 0.5 0.45 0.5 0.5\n")
    [problem] = refuse(root, DataRejected).problems
    assert "images/train/copy.PNG: is the same image as images/train/0.png, with other labels" in problem


def test_an_image_whose_name_the_engine_would_pass_over_is_refused(sets, refuse):
    root = sets.coco()
    (root / "val/6.png").rename(root / "val/6.dat")
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text().replace("6.png", "6.dat"))
    [problem] = refuse(root, DataRejected).problems
    assert "val/6.dat: has the suffix '.dat'; expected one of .jpg, .jpeg, .png" in problem


# --- annotations


@pytest.mark.parametrize(
    ("change", "where", "word"),
    [
        (lambda d: d["images"].append({"id": 77, "file_name": "gone.png"}), "images[6]", "'gone.png' is not there"),
        (lambda d: d["images"][1].update(id=d["images"][0]["id"]), "images[0]", "which images[1] has too"),
        (lambda d: d["annotations"][1].update(image_id=500), "annotations[1]", "image 500"),
        (lambda d: d["annotations"][1].update(category_id=4), "annotations[1]", "category 4"),
        (lambda d: d["annotations"][1].update(bbox=[1, 2, 3]), "annotations[1]", "expected [x, y, width, height]"),
        (lambda d: d["images"][0].pop("file_name"), "images[0]", "has no file_name"),
    ],
)
def test_coco_entries_that_lead_nowhere_are_named(sets, refuse, change, where, word):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    problems = [p for p in refuse(root, DataRejected).problems if "with other labels" not in p]
    assert problems[0].startswith(f"train/_annotations.coco.json: {where}: ")
    assert word in problems[0]


@pytest.mark.parametrize(
    ("old", "new", "where", "word"),
    [
        ("<xmin>10", "<xmin>ten", "Annotations/3.xml:4", "xmin 'ten'"),
        ("<name>dog</name>", "", "Annotations/3.xml:4", "without a name"),
        ("</object>", "", "Annotations/3.xml:6", "not XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "Annotations/3.xml:1", "entities"),
    ],
)
def test_voc_files_that_cannot_be_used_are_named(sets, refuse, old, new, where, word):
    root = sets.voc()
    path = root / "Annotations/3.xml"
    path.write_text(path.read_text().replace(old, new))
    [problem] = refuse(root, DataRejected).problems
    assert problem.startswith(f"{where}: ")
    assert word in problem


def test_voc_annotations_and_list_entries_without_their_other_half_are_named(sets, refuse):
    root = sets.voc()
    (root / "JPEGImages/3.png").unlink()
    with (root / "ImageSets/Main/val.txt").open("a") as file:
        file.write("ghost\n")
    problems = refuse(root, DataRejected).problems
    assert problems[0].startswith("Annotations/3.xml:2: its image '3.png' is not there (looked in ")
    assert problems[1].startswith("ImageSets/Main/val.txt:3: 'ghost' has no annotation")


def test_voc_boxes_of_the_picture_before_it_was_turned_are_refused(sets, refuse):
    root = sets.voc()
    exif = Image.Exif()
    exif[0x0112] = 6
    sets.picture(root / "JPEGImages/8.png", 8, exif=exif)
    [problem] = refuse(root, DataRejected).problems
    assert "as stored (40x20)" in problem
    assert "turns it to 20x40 [turned-boxes]" in problem


# --- sources that cannot be read at all: exit 2


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [unclosed", ["not YAML"]),
        ("", ["holds no settings"]),
        ("train: images/train\n", ["no class names", "names: [first, second]"]),
        ("train: images/train\nnc: 3\nnames: [cat, dog]", ["nc is 3", "2 entries"]),
        ("train: images/train\nval: nowhere\ntest: void\nnames: [cat, dog]", ["val: 'nowhere'", "test: 'void'"]),
        ("nc: 2\nnames: [cat, dog]\nval: images/val", ["expected a train split"]),
    ],
)
def test_a_wrong_data_yaml_is_refused(sets, refuse, text, words):
    root = sets.yolo()
    if "expected a train" in words[0]:
        (root / "images/train").rename(root / "images/other")
    (root / "void").mkdir()
    _write(root / "data.yaml", text)
    error = refuse(root, DataError)
    assert error.exit_code == 2
    for word in words:
        assert word in str(error)


def test_a_path_that_does_not_exist_suggests_its_neighbour(sets, refuse):
    sets.yolo()
    assert "does not exist; did you mean 'yolo'?" in refuse(sets.root / "yolp", DataError).message


def test_an_empty_folder_and_an_unknown_format_say_what_was_looked_for(tmp_path, refuse, sets):
    (tmp_path / "empty").mkdir()
    assert "is an empty folder" in refuse(tmp_path / "empty", DataError).message
    sets.picture(tmp_path / "pictures/a.png", 1)
    message = refuse(tmp_path / "pictures", DataError).message
    assert "data.yaml" in message
    assert ".xml" in message
    assert "Found a.png" in message
    assert "no coco annotation format recognised" in refuse(sets.yolo(), DataError, format="coco").message


def test_two_formats_at_once_need_a_choice(sets, refuse, validate):
    root = sets.yolo("both")
    sets.voc("both")
    message = refuse(root, DataError).message
    assert "yolo: data.yaml; voc: Annotations" in message
    assert "--format" in message
    assert validate(root, format="voc").format == "voc"


def test_labels_without_a_box_in_train_are_refused(sets, refuse):
    root = sets.yolo()
    for path in (root / "labels/train").iterdir():
        path.write_text("")
    assert "no box in its train split (6 images)" in refuse(root, DataError).message


def test_annotations_without_images_are_refused(sets, refuse):
    root = sets.coco()
    for path in root.rglob("*.json"):
        path.write_text('{"images": [], "annotations": [], "categories": []}')
    assert "no images" in refuse(root, DataError).message


def test_a_file_that_is_no_archive_and_a_foreign_scheme_are_refused(tmp_path, refuse):
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    assert "expected a folder, or a .zip or a .tar" in refuse(tmp_path / "a.rar", DataError).message
    assert "got https://" in refuse("https://example.org/a.zip", DataError).message


def test_broken_json_is_named_with_its_line(sets, refuse):
    root = sets.coco()
    _write(root / "train/_annotations.coco.json", '{"images": [],\n"annotations": [], "categories": [}')
    assert "_annotations.coco.json:2: not JSON" in refuse(root, DataError).message


def test_two_files_for_one_split_are_refused(sets, refuse):
    root = sets.coco()
    source = root / "train/_annotations.coco.json"
    _write(root / "train/second.json", source.read_text())
    assert "several annotation files for the split train" in refuse(root, DataError).message


def test_a_store_that_cannot_be_used_is_said(sets, validate):
    with pytest.raises(StorageUsageError):
        validate(sets.yolo(), store="ftp://somewhere/else")
