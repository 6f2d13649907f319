"""Which places a container must see so that a run finds in it what it finds outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sightline.config import RunConfig
from sightline.config.presets import resolve
from sightline.orchestrate.inputs import MOST, places
from tests.helpers.sets import Sets


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SIGHTLINE_WEIGHTS", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    return home


def config(**values: Any) -> RunConfig:
    return resolve("quickstart", {"train.gpus": 0, **{key.replace("__", "."): value for key, value in values.items()}})


def test_a_folder_an_archive_and_the_quickstart_are_what_they_are(home: Path, sets: Sets) -> None:
    folder = sets.yolo()
    archive = Path(shutil.make_archive(str(home / "set"), "zip", folder))
    assert places(str(folder), config()) == ([folder], [])
    assert places(f"file://{archive}", config()) == ([archive], [])
    assert places("quickstart", config()) == ([], [])
    assert places("s3://bucket/set", config()) == ([], [])


def test_of_a_place_that_is_missing_the_folder_around_is_seen(home: Path) -> None:
    assert places(str(home / "set"), config()) == ([], [home])
    assert places("/nowhere", config()) == ([], [])  # never all of the machine


def test_weights_and_pictures_are_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.pt", "pictures", "weights"):
        (home / name).mkdir() if name[-3:] != ".pt" else (home / name).touch()
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(home / "weights"))
    found = config(weights__source=str(home / "a.pt"), sample__pictures=str(home / "pictures"))
    assert set(places("quickstart", found)[0]) == {home / "a.pt", home / "pictures", home / "weights"}
    monkeypatch.chdir(home)
    assert home / "a.pt" in places("quickstart", config(weights__source="a.pt"))[0]
    assert places("quickstart", config(weights__source="yolo11n.yaml"))[0] == [home / "weights"]


def test_a_description_leads_to_images_elsewhere_with_their_labels(home: Path, sets: Sets) -> None:
    elsewhere = sets.yolo("elsewhere")
    description = home / "data.yaml"
    splits = {split: f"{elsewhere}/images/{split}" for split in ("train", "val")}
    description.write_text(json.dumps({**splits, "names": ["cat", "dog"]}))
    assert places(str(description), config()) == ([home], [elsewhere])
    assert places(str(home), config()) == ([home], [elsewhere])
    description.write_text(json.dumps({"path": "../yolos/elsewhere", "train": "images/train", "names": ["cat", "dog"]}))
    (home.parent / "yolos").mkdir()
    elsewhere.rename(home.parent / "yolos" / "elsewhere")
    assert places(str(description), config()) == ([home], [home.parent / "yolos" / "elsewhere"])


def test_a_list_leads_to_images_elsewhere(home: Path, sets: Sets) -> None:
    elsewhere = sets.yolo("elsewhere")
    (home / "train.txt").write_text("".join(f"{path}\n" for path in (elsewhere / "images/train").iterdir()))
    (home / "data.yaml").write_text(json.dumps({"train": "train.txt", "names": ["cat", "dog"]}))
    assert places(str(home), config()) == ([home], [elsewhere])


@pytest.mark.parametrize("name", ["{images}/train/0.png", "../images/train/0.png", "0.png"])
def test_annotations_of_coco_lead_to_images_beside_them(home: Path, name: str) -> None:
    images = home / "images"
    Sets.picture(images / "train" / "0.png", 0)
    file = home / "labels" / "instances_train.json"
    file.parent.mkdir()
    record = {"id": 0, "file_name": name.format(images=images), "width": 40, "height": 20}
    file.write_text(json.dumps({"images": [record], "annotations": [], "categories": []}))
    for data in (file, file.parent):
        named, led = places(str(data), config())
        assert named == [file.parent]
        assert any((images / "train").is_relative_to(path) for path in led), led


def test_links_lead_out_over_every_step(home: Path, sets: Sets) -> None:
    folder, real = sets.yolo(), home / "real"
    shutil.move(str(folder / "images"), real)
    (home / "step").symlink_to(real)
    (folder / "images").symlink_to(home / "step")
    (folder / "labels/train/0.txt").rename(home / "zero.txt")
    (folder / "labels/train/0.txt").symlink_to(home / "zero.txt")
    (folder / "labels/train/none.txt").symlink_to(home / "gone")
    assert places(str(folder), config()) == ([folder], [home])
    (folder / "labels/train/0.txt").unlink()
    assert places(str(folder), config()) == ([folder], [real, home / "step"])


def test_links_to_many_folders_become_few_mounts(home: Path) -> None:
    folder = home / "set"
    folder.mkdir()
    for number in range(3 * MOST):
        target = home / "annex" / "objects" / f"{number:03}" / "image.jpg"
        target.parent.mkdir(parents=True)
        target.touch()
        (folder / f"{number}.jpg").symlink_to(target)
    assert places(str(folder), config()) == ([folder], [home / "annex" / "objects"])
