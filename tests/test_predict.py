"""What a person points `predict` at: folders, patterns, pictures of every depth, and files that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import DataError
from sightline.predict import predict

from .conftest import Finished


@pytest.fixture
def model(quickstart: Finished) -> Path:
    return quickstart.folder / "export" / "model.onnx"


@pytest.fixture
def photos(quickstart: Finished, tmp_path: Path) -> Path:
    """Three pictures in a folder and one in a folder in it, among other files."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    images = sorted((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))[:4]
    for image, name in zip(images, ("a.png", "b.PNG", "c[1].png", "more/d.png"), strict=True):
        shutil.copy(image, folder / name)
    for name in ("a.txt", "b.txt", "clip.gif", "README", ".hidden"):
        (folder / name).write_text("x")
    return folder


def names(results: list[dict]) -> list[str]:
    return [Path(result["image"]).name for result in results]


def test_patterns_stand_for_the_files_they_match(model: Path, photos: Path, tmp_path: Path) -> None:
    def look(*images: Path) -> list[str]:
        return names(predict(list(images), model=model, to=tmp_path / "out"))

    assert look(photos / "*.png") == ["a.png", "c[1].png"]
    assert look(photos / "**" / "*.png") == ["a.png", "c[1].png", "d.png"]
    assert look(photos / "c[1].png") == ["c[1].png"]  # what exists is no pattern
    assert look(photos / "mor*") == ["d.png"]  # a folder
    with pytest.raises(DataError) as raised:
        look(photos / "*.jpg", photos / "nothing.png", photos / "a.txt")
    assert [problem.removeprefix(str(photos)) for problem in raised.value.problems] == [
        *("/*.jpg matches no file", "/nothing.png cannot be read: No such file or directory."),
        "/a.txt is no image that OpenCV can read.",
    ]


def test_what_is_left_out_of_a_folder_is_said(model: Path, photos: Path, tmp_path: Path, command: Callable) -> None:
    done = command("predict", "--model", str(model), "--to", "photos/out", "photos", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out of photos: 2 .txt, 1 .gif, 1 without a suffix (of a folder, .jpg, " in done.stderr
    assert len(json.loads((photos / "out" / "predictions.json").read_text())) == 4
    again = command("predict", "--model", str(model), "--to", "photos/out", "photos", cwd=tmp_path)
    assert "left out of photos: 5 in photos/out, where results go, 2 .txt" in again.stderr
    assert len(json.loads((photos / "out" / "predictions.json").read_text())) == 4


def test_deep_pictures_are_scaled_as_in_training_or_refused(model: Path, photos: Path, tmp_path: Path) -> None:
    shallow = cv2.imread(str(photos / "a.png"))
    noise = np.random.default_rng(0).integers(0, 256, shallow.shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), (shallow.astype(np.uint16) << 8) + noise)
    cv2.imwrite(str(tmp_path / "float.tif"), shallow.astype(np.float32) / 255)
    same = predict([photos / "a.png", tmp_path / "deep.png"], model=model, to=tmp_path / "out")
    assert same[0]["detections"]
    assert same[0]["detections"] == same[1]["detections"]
    with pytest.raises(DataError, match=r"float\.tif has channels of type float32, expected 8 or 16 bits"):
        predict([photos, tmp_path / "float.tif"], model=model, to=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_name_of_a_picture_may_be_as_long_as_the_file_system_allows(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    long = photos / ("ä" * 125 + ".png")
    shutil.copy(photos / "a.png", long)
    assert names(predict([long], model=model, to=tmp_path / "out")) == [long.name]
