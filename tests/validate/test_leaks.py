"""Copies are found by what pictures show: whatever their names, their format, how plain they are, or how many."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.config.presets import resolve
from sightline.documents import DataDocument
from sightline.errors import SightlineError
from sightline.validate import check, validated_source
from sightline.validate.checks import near_duplicates
from sightline.validate.index import Index
from sightline.validate.repair.fix import fix
from tests.bench import scenes
from tests.helpers import index_rows
from tests.helpers.sets import found, places

SIDE = (160, 120)
LABEL = "0 0.5 0.5 0.2 0.2\n"


def look(root: Path, out: Path) -> DataDocument:
    """Return the data report, whatever the verdict."""
    try:
        return check(str(root), resolve("balanced", {}), out)
    except SightlineError:
        return DataDocument.model_validate_json((out / "data.json").read_text())


def leaks(out: Path) -> set[str]:
    with open(out / "problems.csv", newline="", encoding="utf-8") as file:
        return {Path(row["where"]).stem for row in csv.DictReader(file) if row["rule"] == "leaked-copy"}


def leaked(files: list[scenes.File]) -> set[str]:
    """Return the stems of the files that are held out and of which a copy lies in an earlier split."""
    order = list(scenes.SPLITS)
    earliest: dict[int, int] = {}
    for file in files:
        earliest[file.picture] = min(earliest.get(file.picture, 9), order.index(file.split))
    return {Path(file.name).stem for file in files if order.index(file.split) > earliest[file.picture]}


@pytest.fixture(scope="module")
def cameras(tmp_path_factory) -> tuple[Path, list[scenes.File]]:
    """300 images of eight fixed cameras, half of them before plain ground, and 15 copies in other splits."""
    root = tmp_path_factory.mktemp("cameras") / "set"
    return root, scenes.draw(root, 300, SIDE)


def one_split(root: Path, pictures: dict[str, Image.Image | bytes]) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for name, picture in pictures.items():
        path = root / "images" / name
        path.write_bytes(picture if isinstance(picture, bytes) else scenes.encoded(picture, None))
        (root / "labels" / f"{path.stem}.txt").write_text(LABEL)
    (root / "data.yaml").write_text("train: images\nnames: [object]\n")
    return root


def splits(root: Path, parts: dict[str, dict[str, bytes]]) -> Path:
    for split, pictures in parts.items():
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for name, data in pictures.items():
            (root / "images" / split / name).write_bytes(data)
            (root / "labels" / split / name).with_suffix(".txt").write_text(LABEL)
    lines = "".join(f"{split}: images/{split}\n" for split in parts)
    (root / "data.yaml").write_text(f"{lines}names: [object]\n")
    return root


def assigned(root: Path) -> dict[str, str]:
    with validated_source.opened(str(root), resolve("balanced", {})) as result:
        return {Path(sample.source).name: sample.split for sample in result.dataset.samples()}


# --- found


def test_every_copy_of_a_fixed_camera_is_found_and_no_other_frame(cameras, tmp_path):
    root, files = cameras
    look(root, tmp_path / "out")
    assert len(leaked(files)) == 15
    assert leaks(tmp_path / "out") == leaked(files)


def test_names_and_format_have_no_part_in_it(cameras, tmp_path):
    root, files = cameras
    names = {file.name: f"{n:04}" for n, file in enumerate(random.Random(1).sample(files, len(files)))}
    voc = tmp_path / "voc"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / folder).mkdir(parents=True)
    for file in files:
        name = names[file.name]
        shutil.copy(root / "images" / file.split / file.name, voc / f"JPEGImages/{name}{Path(file.name).suffix}")
        box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>50</xmax><ymax>50</ymax></bndbox>"
        filename = f"<filename>{name}{Path(file.name).suffix}</filename>"
        text = f"<annotation>{filename}<object><name>object</name>{box}</object></annotation>"
        (voc / f"Annotations/{name}.xml").write_text(text)
        with open(voc / f"ImageSets/Main/{file.split}.txt", "a") as list_file:
            list_file.write(f"{name}\n")
    look(voc, tmp_path / "out")
    assert leaks(tmp_path / "out") == {names[file.name] for file in files if Path(file.name).stem in leaked(files)}


def test_copies_of_low_contrast_pictures_are_found(shared, tmp_path):
    document = look(shared / "cases/leak-low-contrast", tmp_path / "out")
    assert found(document, "error") == {"leaked-copy": 5}
    held_out = ("test/b0", "test/b1", "test/b2", "val/c3", "val/c4")
    assert places(document, "leaked-copy") == [f"images/{name}.jpg" for name in held_out]


def test_a_copy_is_found_among_many_frames_of_its_own_split(tmp_path):
    frames = [scenes.picture(8 * n, SIDE) for n in range(40)]
    test = {f"t{n}.jpg": scenes.encoded(frames[n], 0) for n in range(20)}
    again = {f"u{n}.jpg": scenes.encoded(frames[n], 3) for n in range(20)}  # whose nearest is in its own split
    train = {f"x{n}.jpg": scenes.encoded(frames[n], None) for n in (3, *range(20, 40))}
    val = {"v.jpg": scenes.encoded(scenes.picture(1, SIDE), None)}
    root = splits(tmp_path / "set", {"train": train, "val": val, "test": test | again})
    document = look(root, tmp_path / "out")
    assert leaks(tmp_path / "out") == {"t3", "u3"}
    assert found(document)["near-duplicate"] == 20


@pytest.mark.parametrize("what", ["plain ground", "fixed cameras"])
def test_copies_among_many_thousands_of_near_alike_are_found_by_the_search(tmp_path, what):
    rng = np.random.default_rng(1)
    count, copies = near_duplicates.SMALL + 900, 100
    grounds = (
        rng.uniform(30, 220, (8, near_duplicates.CELLS))
        if what == "fixed cameras"
        else np.full((1, near_duplicates.CELLS), 128.0)
    )
    thumbs = grounds[rng.integers(0, len(grounds), count)]
    thumbs = thumbs + rng.normal(0, 0.6, thumbs.shape)
    for _ in range(3):
        thumbs[np.arange(count), rng.integers(0, near_duplicates.CELLS, count)] += rng.uniform(10, 30, count)
    drawn = np.vstack([thumbs, thumbs[:copies] + rng.normal(0, 0.2, (copies, near_duplicates.CELLS))]).astype(
        np.float16
    )
    index = Index(tmp_path / "index.sqlite")
    hashes = [f"{n * 7919 % len(drawn):09}" for n in range(len(drawn))]
    index_rows.fill(index, hashes, thumbs=[thumb.tobytes() for thumb in drawn])
    codes = near_duplicates.codes(index)
    index.close()
    pairs = near_duplicates.neighbours(codes.select(codes.ids > count), codes.select(codes.ids <= count))
    hits = sum(int(id) - count in row for ids, others in pairs for id, row in zip(ids, others, strict=True))
    assert (codes.thumbs, hits) == (None, copies)


# --- not called copies


@pytest.mark.parametrize("scene", [1, 3, 5])
def test_different_pictures_of_plain_ground_are_no_copies(tmp_path, scene):
    numbers = range(scene, scene + 8 * 30, 8)
    empty = [scenes.encoded(scenes.picture(n, SIDE, objects=0), None) for n in numbers]
    parts = {"train": empty[:20], "val": empty[20:25], "test": empty[25:]}
    named = {split: {f"{split}{n}.jpg": data for n, data in enumerate(some)} for split, some in parts.items()}
    document = look(splits(tmp_path / "set", named), tmp_path / "out")
    assert {"leaked-copy", "near-duplicate"} & set(found(document)) == set()


def test_a_faint_object_that_moved_on_a_clean_ground_makes_another_picture(tmp_path):
    def belt(x: int) -> bytes:
        image = Image.new("L", (640, 480), 120)
        image.paste(60, (0, 0, 640, 40))
        image.paste(135, (x, 200, x + 30, 230))
        return scenes.encoded(image, None)

    parts = {"train": {"a.jpg": belt(100)}, "val": {"b.jpg": belt(300)}, "test": {"c.jpg": belt(500)}}
    root = splits(tmp_path / "set", parts)
    assert "leaked-copy" not in found(look(root, tmp_path / "out"))


def test_pictures_that_show_nothing_are_copies_of_nothing(tmp_path):
    dark = [scenes.encoded(Image.new("RGB", SIDE, (n, n, n)), None) for n in range(15)]
    parts = {"train": dark[:9], "val": dark[9:12], "test": dark[12:]}
    named = {split: {f"{split}{n}.jpg": data for n, data in enumerate(some)} for split, some in parts.items()}
    document = look(splits(tmp_path / "set", named), tmp_path / "out")
    assert {"leaked-copy", "near-duplicate"} & set(found(document)) == set()


# --- repaired, and splits that are made


def test_nothing_leaks_after_a_repair(cameras, tmp_path):
    root, files = cameras
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert (done.images, done.changes["leaked-copy"]) == (len(files), 15)
    document = look(tmp_path / "fixed", tmp_path / "out")
    assert [rule for rule in found(document) if rule.startswith("leaked")] == []


def test_nothing_leaks_after_a_repair_of_a_chain(tmp_path):
    def frame(level: int) -> bytes:
        pixels = np.asarray(scenes.picture(0, SIDE), np.int16) + level
        return scenes.encoded(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), None)

    others = {f"{n}.jpg": scenes.encoded(scenes.picture(n, SIDE), None) for n in range(1, 7)}
    some = {split: {name: others[name]} for split, name in (("val", "5.jpg"), ("test", "6.jpg"))}
    parts = {
        "train": {"a.jpg": frame(0)} | {name: data for name, data in others.items() if name < "5"},
        "val": some["val"] | {"b.jpg": frame(2)},
        "test": some["test"] | {"c.jpg": frame(4), "d.jpg": frame(6)},  # each looks the same as the next alone
    }
    root = splits(tmp_path / "set", parts)
    assert leaks_of(root, tmp_path / "before") == {"b", "c"}  # and d, once c is moved
    fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert leaks_of(tmp_path / "fixed", tmp_path / "after") == set()
    kept = {path.stem: path.parent.name for path in (tmp_path / "fixed/images").rglob("*.jpg")}
    assert {kept[name] for name in "abcd"} == {"train"}
    assert (kept["5"], kept["6"]) == ("val", "test")


def leaks_of(root: Path, out: Path) -> set[str]:
    look(root, out)
    return leaks(out)


def test_what_a_repair_makes_a_copy_does_not_leak_either(tmp_path):
    shown = scenes.picture(0, SIDE)
    holes = shown.convert("RGBA")
    holes.paste((0, 0, 0, 0), (0, 0, 80, 120))
    white = Image.alpha_composite(Image.new("RGBA", SIDE, "white"), holes).convert("RGB")
    others = [scenes.encoded(scenes.picture(n, SIDE), None) for n in range(1, 5)]
    parts = {
        "train": {"white.png": scenes.encoded(white, 2), "1.jpg": others[0], "2.jpg": others[1]},
        "val": {"3.jpg": others[2], "tail.jpg": others[1] + b"tail"},
        "test": {"4.jpg": others[3], "holes.png": scenes.encoded(holes, 2)},
    }
    root = splits(tmp_path / "set", parts)
    fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    document = look(tmp_path / "fixed", tmp_path / "out")
    assert [rule for rule in found(document) if rule.startswith("leaked")] == []
    assert {path.stem for path in (tmp_path / "fixed/images/test").iterdir()} == {"4"}


def test_made_splits_keep_copies_of_plain_pictures_together(cameras, tmp_path):
    root, files = cameras
    plain = [file for file in files if file.picture % 2]
    pictures = {file.name: (root / "images" / file.split / file.name).read_bytes() for file in plain}
    made = assigned(one_split(tmp_path / "set", pictures))
    where: dict[int, set[str]] = {}
    for file in plain:
        where.setdefault(file.picture, set()).add(made[file.name])
    assert set(made.values()) == {"train", "val", "test"}
    assert [picture for picture, names in where.items() if len(names) > 1] == []


def test_a_set_of_one_fixed_camera_gets_splits_that_keep_copies_together(tmp_path):
    frames = {f"{n}.jpg": scenes.encoded(scenes.picture(8 * n, SIDE, objects=1), None) for n in range(60)}
    copied = {f"copy{n}.jpg": scenes.encoded(scenes.picture(8 * n, SIDE, objects=1), 0) for n in range(0, 60, 3)}
    made = assigned(one_split(tmp_path / "set", frames | copied))
    assert set(made.values()) == {"train", "val", "test"}
    assert {n for n in range(0, 60, 3) if made[f"{n}.jpg"] != made[f"copy{n}.jpg"]} == set()


def test_real_sets_of_pictures_that_look_alike_have_no_copies(shared, tmp_path):
    for name in ("bccd/BCCD", "rbc-wbc-coco", "chess-squares"):
        document = look(shared / "data" / name, tmp_path / "out")
        assert {"leaked-copy", "near-duplicate"} & set(found(document)) == set(), name
