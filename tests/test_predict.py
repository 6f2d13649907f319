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
from tests.helpers.finished_run import Finished


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
        "/a.txt is not an image that OpenCV can read.",
    ]


def test_results_of_before_are_not_looked_at(model: Path, photos: Path, tmp_path: Path) -> None:
    def look(image: Path, to: Path) -> list[str]:
        said.clear()
        return names(predict([image], model=model, to=to, say=said.append))

    said: list[str] = []
    with pytest.raises(DataError) as raised:
        look(photos, photos)
    assert "is searched for images, so results cannot go there" in raised.value.problems[0]
    assert not list(photos.glob("*.jpg"))
    assert look(photos / "**" / "*.[pj]*g", photos / "out") == ["a.png", "c[1].png", "d.png"]
    assert look(photos / "**" / "*.[pj]*g", photos / "out") == ["a.png", "c[1].png", "d.png"]
    assert said == [f"left out of {photos}/**/*.[pj]*g: 3 in {photos}/out, where results go"]
    assert look(photos / "more", photos) == ["d.png"]
    assert look(photos / "[mo]*", photos / "out") == ["d.png"]  # not the folder of results
    with pytest.raises(DataError, match=r"matches only files in .*; choose another --to"):
        look(photos / "*.jpg", photos)
    assert look(photos / "out" / "0000-a.jpg", photos / "out") == ["0000-a.jpg"]  # asked for by name


@pytest.mark.parametrize("empty", [["--model", ""], ["--to", ""], ["--device", ""], ["--confidence", ""], [""]])
def test_an_empty_path_is_refused(tmp_path: Path, command: Callable, empty: list[str]) -> None:
    (tmp_path / "a.jpg").write_text("x")
    options = {"--model": "m.onnx"} | ({empty[0]: ""} if len(empty) == 2 else {})
    images = ["a.jpg"] if len(empty) == 2 else empty
    done = command("predict", *(word for pair in options.items() for word in pair), *images, cwd=tmp_path)
    assert done.returncode == 2
    assert "got ''" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("value", ["nan", "2", "-1", "inf", "x"])
def test_a_confidence_that_is_no_fraction_is_refused(tmp_path: Path, command: Callable, value: str) -> None:
    done = command("predict", "--model", "m.onnx", f"--confidence={value}", "a.jpg", cwd=tmp_path)
    assert done.returncode == 2
    assert f"got '{value}', expected a number from 0 to 1" in done.stderr


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
