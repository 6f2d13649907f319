"""Reading a source again and again: nothing is opened twice, and nothing is remembered wrongly."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from sightline.config.presets import resolve
from sightline.documents import DataDocument, ValidateDocument, read
from sightline.errors import DataError
from tests.helpers.gate import look, rest
from tests.helpers.sets import Sets, picture

LABEL = "0 0.5 0.45 0.5 0.5\n"


OPENED: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(arguments[0], str | bytes):
        OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_listen)  # stays for the life of the process, and does nothing outside of `opened`


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Paths of the files that this process opens meanwhile."""
    global OPENED
    OPENED = []
    yield OPENED
    OPENED = None


def found(document: DataDocument | ValidateDocument) -> dict[str, int]:
    return {finding.rule: finding.count for finding in document.findings if finding.rule != "few-boxes"}


def of(paths: list[str], root: Path) -> set[str]:
    return {
        path[len(str(root)) + 1 :]
        for path in paths
        if path.startswith(f"{root}/") and "/" in path[len(str(root)) + 1 :]
    }


def test_only_what_has_changed_is_opened_again(sets: Sets, validate, opened):
    root = sets.yolo()
    rest()
    first = validate(root)
    assert len(of(opened, root)) == 20
    opened.clear()
    assert validate(root).digest == first.digest
    assert of(opened, root) == set()
    label = root / "labels/train/0.txt"
    before = label.stat()
    label.write_text(label.read_text().replace("0 0.5 0.45", "1 0.5 0.45"))
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a tool does that keeps times; the size is equal
    opened.clear()
    changed = validate(root)
    assert of(opened, root) == {"labels/train/0.txt"}
    assert changed.digest != first.digest
    assert changed.splits["train"].boxes_per_class == {"cat": 2, "dog": 4}
    rest()
    picture(root / "images/train/1.png", 99)
    opened.clear()
    assert validate(root).digest != changed.digest
    assert "images/train/1.png" in of(opened, root)
    assert "images/train/2.png" not in of(opened, root)


def test_a_warm_reading_says_what_a_fresh_one_says(sets: Sets, validate, tmp_path, monkeypatch):
    root = sets.yolo()
    rest()
    validate(root)
    shutil.move(root / "images/train/0.png", root / "images/train/new.png")
    shutil.move(root / "labels/train/0.txt", root / "labels/train/new.txt")
    (root / "labels/train/1.txt").write_text("1 0.9 0.5 0.4 0.4\n")
    (root / "images/val/6.png").unlink()
    (root / "labels/val/6.txt").unlink()
    shutil.copy(root / "images/train/2.png", root / "images/train/copy.png")
    shutil.copy(root / "labels/train/2.txt", root / "labels/train/copy.txt")
    warm = validate(root)
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "empty-cache"))
    fresh = validate(root)
    assert warm.digest == fresh.digest
    assert warm.findings == fresh.findings
    assert warm.splits == fresh.splits


def test_labels_are_judged_again_when_class_names_change(sets: Sets, validate, tmp_path):
    root = sets.yolo()
    rest()
    assert list(validate(root).splits["train"].boxes_per_class.values()) == [3, 3]
    data = root / "data.yaml"
    data.write_text(
        data.read_text().replace('"names": ["cat", "dog"]', '"names": ["cat"]').replace('"nc": 2', '"nc": 1')
    )
    with pytest.raises(Exception, match="class-range 5"):
        validate(root)
    data.write_text(data.read_text().replace('["cat"]', '{"0": "horse", "1": "hen"}').replace('"nc": 1', '"nc": 2'))
    assert validate(root).splits["train"].boxes_per_class == {"horse": 3, "hen": 3}


def test_a_class_of_voc_that_is_gone_is_gone(sets: Sets, tmp_path):
    root = sets.voc()
    rest()
    assert look(root, tmp_path / "out").classes == ["cat", "dog"]
    for path in (root / "Annotations").iterdir():
        path.write_text(path.read_text().replace("dog", "cow"))
    assert look(root, tmp_path / "out").classes == ["cat", "cow"]


def test_an_image_that_is_listed_twice_far_apart_counts_once(tmp_path):
    root = tmp_path / "set"
    for n in range(700):
        path = root / f"images/{n}.png"
        if not n:
            picture(path, n, (16, 8))
        else:
            path.write_bytes(b"")
            Image.new("RGB", (16, 8), (n % 256, n // 256, 7)).save(path)
        label = root / f"labels/{n}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(LABEL)
    lines = [f"./images/{n}.png" for n in range(700)]
    (root / "train.txt").write_text("\n".join([*lines, *lines[:5]]) + "\n")
    (root / "data.yaml").write_text("train: train.txt\nnames: [cat]\n")
    policy = {"rules": {"duplicate-image": {"max_count": 5}}}
    document = look(root, tmp_path / "out", **{"data.policy": policy})
    assert (document.images, document.dropped_images) == (700, 0)
    assert found(document)["duplicate-image"] == 5


def test_one_image_in_two_splits_is_two_images(sets: Sets, validate, tmp_path):
    root = sets.yolo(val="images/train")
    with pytest.raises(Exception, match="leaked-image 6"):
        validate(root)
    assert read(DataDocument, tmp_path / "out").images == 14


def film(root: Path, frames: int) -> None:
    """Frames of a scene in which a light goes on slowly, in twelve other pictures."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    scene = Image.open(picture(root / "scene.png", 1, (8, 6))).resize((160, 120), Image.Resampling.BICUBIC)
    for n in range(frames):
        scene.point([min(255, value + n) for value in range(256)] * 3).save(root / f"images/film{n:03}.jpg", quality=90)
    for n in range(12):
        other = Image.open(picture(root / "scene.png", 100 + n, (8, 6))).resize((160, 120), Image.Resampling.BICUBIC)
        other.save(root / f"images/other{n}.jpg")
    for path in (root / "images").iterdir():
        (root / f"labels/{path.stem}.txt").write_text(LABEL)
    (root / "scene.png").unlink()
    (root / "data.yaml").write_text("train: images\nnames: [cat]\n")


def splits_of(root: Path) -> dict[str, str]:
    from sightline.validate import validated_source

    with validated_source.opened(str(root), resolve("balanced", {})) as result:
        return {Path(sample.source).stem: sample.split for sample in result.dataset.samples()}


def test_frames_of_a_film_are_in_one_split_also_when_it_goes_on(tmp_path):
    film(tmp_path / "short", 20)
    film(tmp_path / "long", 60)
    short, long = splits_of(tmp_path / "short"), splits_of(tmp_path / "long")
    assert len({split for name, split in short.items() if name.startswith("film")}) == 1
    assert len({split for name, split in long.items() if name.startswith("film")}) == 1
    assert {name: long[name] for name in short} == short


def test_a_leak_is_reported_though_the_image_also_has_a_near_copy_in_its_own_split(tmp_path):
    root = tmp_path / "set"
    film(root, 3)
    for split in ("train", "val", "test"):
        (root / f"images/{split}").mkdir()
        (root / f"labels/{split}").mkdir()
    for path in sorted((root / "images").glob("*.jpg")):
        split = {"film000": "train", "film001": "test", "film002": "test", "other0": "val", "other1": "test"}
        part = split.get(path.stem, "train")
        path.rename(root / f"images/{part}/{path.name}")
        (root / f"labels/{path.stem}.txt").rename(root / f"labels/{part}/{path.stem}.txt")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [cat]\n")
    with pytest.raises(Exception, match="leaked-copy 2"):
        look(root, tmp_path / "out")
    document = read(DataDocument, tmp_path / "out")
    assert found(document)["near-duplicate"] == 1


def test_images_and_boxes_add_up_to_what_the_source_mentions(sets: Sets, validate, tmp_path):
    root = sets.yolo()
    (root / "labels/train/0.txt").write_text(f"{LABEL}9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n0 .5 .5 0 .1\n")
    (root / "images/train/1.png").write_bytes(b"no image")
    (root / "images/train/a.heic").write_bytes(b"heic")
    limits = {
        rule: {"max_fraction": 0.5} for rule in ("class-range", "label-syntax", "unreadable-image", "zero-area-box")
    }
    limits["unsupported-suffix"] = {"max_fraction": 0.5}
    document = validate(root, policy={"rules": limits})
    assert (document.dropped_images, document.dropped_boxes) == (3, 0)  # an unreadable object drops its image
    assert sum(part.images for part in document.splits.values()) == 8
    report = read(DataDocument, tmp_path / "out")
    assert (report.images, report.boxes) == (11, 13)
    assert {finding.rule: finding.of for finding in report.findings if finding.severity == "error"} == {
        "class-range": 13,
        "label-syntax": 13,
        "zero-area-box": 13,
        "unreadable-image": 11,
        "unsupported-suffix": 11,
    }


def test_a_set_of_which_too_little_is_left_is_refused_with_a_report(sets: Sets, refuse, tmp_path):
    root = sets.yolo()
    for n in (8, 9):
        (root / f"labels/test/{n}.txt").write_text("0 .5 .5 0 .1\n")
    error = refuse(root, DataError, policy={"rules": {"zero-area-box": {"max_fraction": 0.5}}})
    assert "has no box in its test split (2 images)" in error.message
    assert "0 images and 2 boxes were left out" in error.message
    document = read(DataDocument, tmp_path / "out")
    assert document.verdict == "rejected"
    assert document.unusable is not None
    assert "Nothing can be trained on this data." in (tmp_path / "out/data.html").read_text()


def test_a_usable_copy_is_kept_when_the_first_one_is_left_out(sets: Sets, validate):
    root = sets.yolo()
    shutil.copy(root / "images/train/1.png", root / "images/train/0a.png")  # comes first by name
    (root / "labels/train/0a.txt").write_text("1 0.5 0.45 0.5 0.5\n9 0.5 0.5 0.1 0.1\n")
    document = validate(root, policy={"rules": {"class-range": {"max_fraction": 0.5}}})
    assert document.splits["train"].images == 6
    assert document.splits["train"].boxes_per_class == {"cat": 3, "dog": 3}


@pytest.mark.parametrize("damage", ["header", "middle", "empty", "other columns"])
def test_a_damaged_index_is_rebuilt(sets: Sets, validate, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    root = sets.yolo()
    first = validate(root)
    [path] = (tmp_path / "cache/index").glob("*.sqlite")
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:64] = bytes(64)
    elif damage == "middle":
        data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(b"" if damage in ("empty", "other columns") else data)
    if damage == "other columns":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE image (id INTEGER PRIMARY KEY, file TEXT)")
    assert validate(root).digest == first.digest
    assert validate(root).digest == first.digest


def test_a_cache_that_cannot_be_written_is_done_without(sets: Sets, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/index").write_text("a file where the folder belongs")
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    assert look(sets.yolo(), tmp_path / "out").images == 10


def test_an_index_unused_for_long_is_removed(sets: Sets, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    look(sets.yolo("old"), tmp_path / "out")
    [old] = (tmp_path / "cache/index").glob("*.sqlite")
    os.utime(old, (1e9, 1e9))
    look(sets.yolo("new"), tmp_path / "out")
    [new] = (tmp_path / "cache/index").glob("*.sqlite")
    assert new != old
    assert sorted(path.name for path in old.parent.iterdir()) == sorted([new.name, new.with_suffix(".lock").name])
