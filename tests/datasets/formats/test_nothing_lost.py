"""Nothing of a source goes missing without a word: splits, folders, objects, or whose boxes they are."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sightline.config.presets import resolve
from sightline.datasets.types import folders
from sightline.documents import DataDocument, read
from sightline.errors import DataError, DataRejected
from sightline.image_files import images as pictures
from sightline.policy import Policy, Thresholds
from sightline.validate import check
from sightline.validate.incremental import SAFE_SECONDS
from sightline.validate.repair.fix import fix
from sightline.validate.repair.image_bytes import reencode
from tests.helpers.sets import Sets, found, picture, places

TRAIN = "train/_annotations.coco.json"


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., DataDocument]:
    """Puts a source through the gate, with rules set as named; returns the report, also on one that is refused."""

    def call(root: Path, **rules: Any) -> DataDocument:
        policy = {"rules": {"few-boxes": "off", **{name.replace("_", "-"): value for name, value in rules.items()}}}
        try:
            return check(str(root), resolve("balanced", {"data.policy": policy}), tmp_path / "report")
        except DataRejected:
            return read(DataDocument, tmp_path / "report")

    return call


def edit(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def images(document: DataDocument) -> dict[str, int]:
    return {split: part.images for split, part in document.splits.items()}


# --- whose boxes they are


def same_id(values: Any) -> None:
    first, second = values["images"][:2]
    for annotation in values["annotations"]:
        if annotation["image_id"] == second["id"]:
            annotation["image_id"] = first["id"]
    second["id"] = first["id"]


def test_images_that_share_an_id_are_refused_both(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    document = look(root)
    assert document.verdict == "rejected"
    assert places(document, "duplicate-id") == [f"{TRAIN}: images[{number}]" for number in (0, 1)]


def test_where_that_is_tolerated_neither_is_trained_on_and_both_are_counted(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    document = look(root, duplicate_id={"severity": "error", "max_count": 2})
    assert (document.images, document.dropped_images) == (10, 2)
    assert (document.boxes, document.dropped_boxes) == (10, 0)  # of images that stay
    assert images(document) == {"train": 4, "val": 2, "test": 2}


def test_a_repaired_copy_gives_no_image_the_boxes_of_another(sets: Sets, tmp_path):
    root = sets.coco()
    edit(root / TRAIN, same_id)
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert (done.images, done.boxes, done.changes) == (8, 8, {"duplicate-id": 2})


def test_an_entry_that_is_there_twice_counts_once(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["images"].append(dict(d["images"][0])))
    document = look(root)
    assert found(document) == {"duplicate-image": 1}
    assert (document.boxes, images(document)["train"]) == (10, 6)


def test_annotations_that_are_numbered_anew_for_each_image_are_all_used(sets: Sets, look, tmp_path):
    root = sets.coco()
    edit(root / TRAIN, lambda d: [annotation.update(id=1) for annotation in d["annotations"]])
    document = look(root)
    assert found(document) == {"repeated-number": 1}
    assert (document.verdict, document.boxes, document.dropped_boxes) == ("accepted", 10, 0)
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert (done.images, done.boxes) == (10, 10)


def test_categories_that_share_an_id_are_refused_unless_they_are_the_same(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["categories"].append({"id": 3, "name": "cow"}))
    with pytest.raises(DataError, match="have the same id 3 and different names"):
        look(root)


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


@pytest.mark.parametrize("value", [1, True, "1"])
def test_a_crowd_is_no_object_however_it_is_spelled(sets: Sets, look, value):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["annotations"][0].update(iscrowd=value))
    assert found(look(root)) == {"crowd-region": 1}


@pytest.mark.parametrize("side", [80, 80.0, "80"])
def test_a_size_is_compared_however_it_is_spelled(sets: Sets, look, side):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["images"][0].update(width=side, height=side))
    assert found(look(root)) == {"size-mismatch": 1}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["{}.png", "0.png"])
def test_thousands_of_images_of_one_id_take_no_time_of_their_pairs(sets: Sets, look, name):
    root = sets.coco()
    entries = [{"id": 0, "file_name": name.format(number)} for number in range(50_000)]
    edit(root / TRAIN, lambda d: d["images"].extend(entries))
    start = time.monotonic()
    look(root)
    assert time.monotonic() - start < 20  # a search among all pairs took more than ten minutes for twice as many


def test_a_file_of_predictions_beside_annotations_is_none_of_them(sets: Sets, look):
    root = sets.coco()
    (root / "train/found.json").write_text('{"file_name": "0.png", "bbox": [1, 2, 3, 4]}\n{"file_name": "1.png"}\n')
    assert found(look(root)) == {}


# --- splits and folders


def test_a_split_whose_annotations_are_cut_short_is_no_split_less(sets: Sets, look):
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text()[:-40].replace('"categories"', '"kinds"'))
    with pytest.raises(DataError, match=r"val/_annotations\.coco\.json:1: not JSON"):
        look(root)


def test_a_split_whose_annotations_lack_a_list_is_told(sets: Sets, look):
    root = sets.coco()
    edit(root / "val/_annotations.coco.json", lambda d: d.pop("annotations"))
    assert places(look(root), "unused-file") == ["val", "val/_annotations.coco.json"]


def test_captions_beside_instances_are_not_told(sets: Sets, look):
    root = sets.coco()
    place = root / "annotations"
    place.mkdir()
    for split in ("train", "val", "test"):
        (root / split / "_annotations.coco.json").rename(place / f"instances_{split}.json")
        (place / f"captions_{split}.json").write_text('{"images": [], "annotations": []}')
    assert found(look(root)) == {}


def test_a_split_without_annotations_is_told(sets: Sets, look):
    root = sets.voc()
    (root / "ImageSets/Main/val.txt").unlink()
    (root / "val").mkdir()
    picture(root / "val/new.png", 99)
    document = look(root)
    assert places(document, "unused-file") == ["val"]


def test_folders_of_images_that_nothing_speaks_of_are_told_and_previews_are_not(sets: Sets, look):
    root = sets.yolo()
    others = ("previews", "masks/val", "images/previews", "runs/detect/val", "train_masks/train", "docs")
    for name in ("images/extra", "more", *others):
        (root / name).mkdir(parents=True)
        picture(root / name / f"{len(name)}.png", len(name) + 200)
    (root / "more/4.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    assert places(look(root), "unused-file") == ["images/extra", "more"]


def test_images_that_no_list_names_are_told(sets: Sets, look):
    root = sets.yolo()
    data = (root / "data.yaml").read_text()
    names = sorted(path.name for path in (root / "images/train").iterdir())
    (root / "some.txt").write_text("".join(f"./images/train/{name}\n" for name in names[:4]))
    (root / "data.yaml").write_text(data.replace("images/train", "some.txt"))
    [finding] = [finding for finding in look(root).findings if finding.rule == "no-split"]
    assert [example.where for example in finding.examples] == [f"images/train/{name}" for name in names[4:]]
    assert finding.examples[0].message == "is an image that no list names; left out"


def test_a_folder_without_lists_beside_one_with_lists_is_told_and_left_out(sets: Sets, look, tmp_path):
    root = tmp_path / "both"
    shutil.move(sets.voc(), root / "one")
    shutil.copytree(root / "one", root / "two")
    shutil.rmtree(root / "two/ImageSets")
    for number, image in enumerate(sorted((root / "two/JPEGImages").iterdir())):
        picture(image, 300 + number)
    document = look(root)
    assert places(document, "no-split") == [f"two/Annotations/{number}.xml" for number in range(10)]
    assert images(document) == {"train": 6, "val": 2, "test": 2}
    assert document.dropped_images == 0


def test_lists_that_were_away_for_a_while_leave_no_trace(sets: Sets, look, tmp_path):
    root = tmp_path / "both"
    shutil.move(sets.voc(), root / "one")
    time.sleep(SAFE_SECONDS + 0.1)
    first = look(root)
    (root / "one/ImageSets").rename(root / "away")
    look(root)
    (root / "away").rename(root / "one/ImageSets")
    assert look(root).model_dump(exclude={"seconds"}) == first.model_dump(exclude={"seconds"})


def test_plain_labels_in_folders_without_train_are_not_split_anew(sets: Sets, look):
    root = sets.yolo()
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    for split in ("val", "test", "train"):
        place = root / ("trn" if split == "train" else split)
        shutil.copytree(root / "images" / split, place)
        shutil.copytree(root / "labels" / split, place, dirs_exist_ok=True)
    shutil.rmtree(root / "images")
    shutil.rmtree(root / "labels")
    with pytest.raises(DataError, match="expected a train split"):
        look(root)


def test_a_path_that_leads_out_of_the_source_is_told(sets: Sets, look):
    root, beside = sets.yolo(), sets.yolo("beside")
    shutil.rmtree(root / "images/train")
    data = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(data.replace("images/train", "../beside/images/train"))
    [finding] = [finding for finding in look(root).findings if finding.rule == "data-path"]
    assert f"leads out of the source; took ../{beside.name}/images/train" in finding.examples[0].message


def test_images_behind_a_link_to_a_folder_are_read_once(sets: Sets, look):
    root = sets.yolo()
    (root / "store").mkdir()
    for kind in ("images", "labels"):
        (root / kind / "train").rename(root / "store" / kind)
        (root / kind / "train").mkdir()
        (root / kind / "train/batch").symlink_to(root / "store" / kind)
    picture(root / "images/train/own.png", 77)
    (root / "labels/train/own.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    (root / "images/train/again").symlink_to(root / "images/train")
    assert images(look(root)) == {"train": 7, "val": 2, "test": 2}


def test_images_in_no_split_are_told_where_others_are_in_folders_of_splits(sets: Sets, look, tmp_path):
    source, root = sets.coco(), tmp_path / "one"
    whole: dict[str, Any] = {"images": [], "annotations": []}
    for split in ("train", "val", "test"):
        values = json.loads((source / split / "_annotations.coco.json").read_text())
        shutil.copytree(source / split, root / split, ignore=shutil.ignore_patterns("*.json"))
        for image in values["images"]:
            image["file_name"] = f"{split}/{image['file_name']}"
        whole = {key: [*whole[key], *values[key]] for key in whole}
    (root / "other").mkdir()
    (root / "train/0.png").rename(root / "other/0.png")
    whole["images"][0]["file_name"] = "other/0.png"
    (root / "all.json").write_text(json.dumps(whole | {"categories": values["categories"]}))
    document = look(root)
    assert places(document, "no-split") == ["other/0.png"]
    assert (images(document), document.dropped_images) == ({"train": 5, "val": 2, "test": 2}, 1)


def test_a_list_that_is_a_link_to_nothing_is_no_split_less(sets: Sets, look):
    root = sets.voc()
    (root / "ImageSets/Main/test.txt").unlink()
    (root / "ImageSets/Main/test.txt").symlink_to("nowhere")
    with pytest.raises(DataError, match="expected a list of the images of test"):
        look(root)


def test_links_that_lead_round_and_out_are_not_walked_again_and_again(sets: Sets, look, tmp_path):
    root = sets.yolo()
    (tmp_path / "elsewhere/images/val").mkdir(parents=True)
    picture(tmp_path / "elsewhere/images/val/a.png", 400)
    (root / "out").symlink_to(tmp_path / "elsewhere")
    for number in range(60):
        (root / f"round{number}").symlink_to(".")
    assert found(look(root)) == {}
    walked = [path.resolve() for path in folders(root, 3)]
    assert len(walked) == len(set(walked)) == 12


# --- labels


def test_a_label_beside_images_without_its_image_is_told(sets: Sets, look):
    root = sets.yolo()
    for split in ("train", "val", "test"):
        for label in (root / "labels" / split).iterdir():
            label.rename(root / "images" / split / label.name)
    shutil.rmtree(root / "labels")
    (root / "images/train/0.png").unlink()
    (root / "images/train/notes.txt").write_text("taken on a sunny day\n")
    assert places(look(root), "orphan-label") == ["images/train/0.txt"]


@pytest.mark.parametrize("target", ["nowhere", "0.txt"])
def test_a_label_that_is_a_link_to_nothing_is_no_background(sets: Sets, look, target):
    root = sets.yolo()
    (root / "labels/train/0.txt").unlink()
    (root / "labels/train/0.txt").symlink_to(target)
    assert found(look(root)) == {"label-syntax": 1}


@pytest.mark.parametrize("tag", ["Object", "OBJECT"])
def test_an_object_in_capitals_is_no_background(sets: Sets, look, tag):
    root = sets.voc()
    path = next((root / "Annotations").iterdir())
    path.write_text(path.read_text().replace("<object>", f"<{tag}>").replace("</object>", f"</{tag}>"))
    assert found(look(root)) == {"label-syntax": 1}


def test_names_that_changed_with_the_file_of_annotations_are_told_by_the_new_one(sets: Sets, look):
    root = sets.coco()
    edit(root / TRAIN, lambda d: d["annotations"][0].update(bbox=[0, 0, 0, 5]))
    time.sleep(SAFE_SECONDS + 0.1)
    look(root)
    (root / TRAIN).rename(root / "train/instances.json")
    assert places(look(root), "zero-area-box") == ["train/instances.json: annotations[0]"]


def test_a_path_with_two_slashes_is_the_same_image(sets: Sets, look):
    root = sets.yolo()
    data = (root / "data.yaml").read_text()
    names = [f"./images/train/{name}\n" for name in sorted(path.name for path in (root / "images/train").iterdir())]
    (root / "some.txt").write_text("".join([*names, names[0].replace("/train/", "//train/")]))
    (root / "data.yaml").write_text(data.replace("images/train", "some.txt"))
    document = look(root)
    assert (document.images, found(document)) == (10, {"duplicate-image": 1})


def test_a_budget_is_exact_at_its_border():
    setting = Policy.model_validate({"rules": {"box-outside": {"max_fraction": 0.29}}}).of("box-outside")
    assert not setting.exceeded(29, 100)
    assert setting.exceeded(30, 100)


# --- images


def jpeg(**options: Any) -> bytes:
    noise = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((320, 240)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def rules_of(path: Path) -> list[str]:
    thresholds = Thresholds()
    pictures.prepare(thresholds)
    return [item.rule for item in pictures.inspect(str(path), path.name, thresholds)[1]]


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 4}, {"quality": 95}, {"progressive": True}])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_an_end_marker_does_not_hide_a_cut(tmp_path, kept, options):
    data = jpeg(**options)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[: int(kept * len(data))] + b"\xff\xd9")
    assert rules_of(tmp_path / "whole.jpg") == []
    assert rules_of(tmp_path / "cut.jpg") == ["truncated-image"]


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 2}])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_with_a_plain_ground_is_whole(tmp_path, level, options):
    pixels = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    pixels[120:] = level
    Image.fromarray(pixels).save(tmp_path / "a.jpg", **options)
    assert rules_of(tmp_path / "a.jpg") == []


@pytest.mark.parametrize("compression", ["lzma", "zstd", "tiff_lzw", None])
def test_a_tiff_that_the_engine_cannot_read_is_refused_and_saved(tmp_path, compression):
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "a.tif", compression=compression)
    readable = cv2.imread(str(tmp_path / "a.tif")) is not None  # which the engine reads by
    assert rules_of(tmp_path / "a.tif") == ([] if readable else ["unreadable-image"])
    assert (reencode((tmp_path / "a.tif").read_bytes(), ".tif") is None) == readable


def test_what_xmp_says_of_a_picture_turns_nothing(tmp_path):
    words = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=exif, xmp=words.encode())
    note = PngImagePlugin.PngInfo()
    note.add_itxt("XML:com.adobe.xmp", words)
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png", pnginfo=note)
    for name in ("a.jpg", "a.png"):
        with Image.open(tmp_path / name) as image:
            assert image.getexif().get(0x0112) == 6  # what a reader makes of it that believes XMP
        facts, _ = pictures.inspect(str(tmp_path / name), name, Thresholds())
        assert facts is not None
        assert (facts.width, facts.height, facts.orientation) == (80, 60, 1)


def test_every_new_name_is_listed(sets: Sets, tmp_path):
    root = sets.yolo()
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (root / kind / "train" / f"0.{suffix}").rename(root / kind / "train" / f"ü ß.{suffix}")
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert done.changes == {"file-name": 1}
    assert "renamed the image to " in (tmp_path / "fixed/changes.csv").read_text()
