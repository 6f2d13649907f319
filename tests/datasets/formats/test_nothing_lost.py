"""Nothing of a source goes missing unsaid: splits, folders, lists and labels."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest

from sightline.config.presets import resolve
from sightline.datasets.types import folders
from sightline.errors import DataError
from sightline.validate.incremental import SAFE_SECONDS
from sightline.validate.repair.fix import fix
from tests.helpers.coco import TRAIN, edit
from tests.helpers.sets import Sets, found, image_counts, picture, places


def test_a_split_whose_annotations_are_cut_short_is_no_split_less(sets: Sets, look):
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text()[:-40].replace('"categories"', '"kinds"'))
    with pytest.raises(DataError, match=r"val/_annotations\.coco\.json:1: not JSON"):
        look(root)


def test_a_split_whose_annotations_lack_a_list_is_reported(sets: Sets, look):
    root = sets.coco()
    edit(root / "val/_annotations.coco.json", lambda d: d.pop("annotations"))
    assert places(look(root), "unused-file") == ["val", "val/_annotations.coco.json"]


def test_captions_beside_instances_are_not_reported(sets: Sets, look):
    root = sets.coco()
    place = root / "annotations"
    place.mkdir()
    for split in ("train", "val", "test"):
        (root / split / "_annotations.coco.json").rename(place / f"instances_{split}.json")
        (place / f"captions_{split}.json").write_text('{"images": [], "annotations": []}')
    assert found(look(root)) == {}


def test_a_split_without_annotations_is_reported(sets: Sets, look):
    root = sets.voc()
    (root / "ImageSets/Main/val.txt").unlink()
    (root / "val").mkdir()
    picture(root / "val/new.png", 99)
    document = look(root)
    assert places(document, "unused-file") == ["val"]


def test_folders_of_images_that_nothing_mentions_are_reported_and_previews_are_not(sets: Sets, look):
    root = sets.yolo()
    others = ("previews", "masks/val", "images/previews", "runs/detect/val", "train_masks/train", "docs")
    for name in ("images/extra", "more", *others):
        (root / name).mkdir(parents=True)
        picture(root / name / f"{len(name)}.png", len(name) + 200)
    (root / "more/4.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    assert places(look(root), "unused-file") == ["images/extra", "more"]


def test_images_that_no_list_names_are_reported(sets: Sets, look):
    root = sets.yolo()
    data = (root / "data.yaml").read_text()
    names = sorted(path.name for path in (root / "images/train").iterdir())
    (root / "some.txt").write_text("".join(f"./images/train/{name}\n" for name in names[:4]))
    (root / "data.yaml").write_text(data.replace("images/train", "some.txt"))
    [finding] = [finding for finding in look(root).findings if finding.rule == "no-split"]
    assert [example.where for example in finding.examples] == [f"images/train/{name}" for name in names[4:]]
    assert finding.examples[0].message == "is an image that no list names; left out"


def test_a_folder_without_lists_beside_one_with_lists_is_reported_and_left_out(sets: Sets, look, tmp_path):
    root = tmp_path / "both"
    shutil.move(sets.voc(), root / "one")
    shutil.copytree(root / "one", root / "two")
    shutil.rmtree(root / "two/ImageSets")
    for number, image in enumerate(sorted((root / "two/JPEGImages").iterdir())):
        picture(image, 300 + number)
    document = look(root)
    assert places(document, "no-split") == [f"two/Annotations/{number}.xml" for number in range(10)]
    assert image_counts(document) == {"train": 6, "val": 2, "test": 2}
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


def test_plain_labels_in_folders_without_train_are_not_split_again(sets: Sets, look):
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


def test_a_path_that_leads_out_of_the_source_is_reported(sets: Sets, look):
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
    assert image_counts(look(root)) == {"train": 7, "val": 2, "test": 2}


def test_images_in_no_split_are_reported_where_others_are_in_folders_of_splits(sets: Sets, look, tmp_path):
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
    assert (image_counts(document), document.dropped_images) == ({"train": 5, "val": 2, "test": 2}, 1)


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


def test_a_label_beside_images_without_its_image_is_reported(sets: Sets, look):
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


def test_names_that_changed_with_the_file_of_annotations_are_located_by_the_new_one(sets: Sets, look):
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


def test_every_new_name_is_listed(sets: Sets, tmp_path):
    root = sets.yolo()
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (root / kind / "train" / f"0.{suffix}").rename(root / kind / "train" / f"ü ß.{suffix}")
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert done.changes == {"file-name": 1}
    assert "renamed the image to " in (tmp_path / "fixed/changes.csv").read_text()
