"""The sheet of what training sees: drawn once, with each image's own boxes, and kept over attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sightline import annotate
from sightline.train.engine.sheets import MOST_TRAIN, TrainSheet

NAMES = {0: "red-cell", 1: "platelet"}
BLUE, ORANGE = (np.array(colour) for colour in annotate.PALETTE[:2])


def batch(images: int, grey: int = 200) -> dict[str, Any]:
    """A batch as the engine collates it: the first image has a box of class 0, the second one of class 1."""
    return {
        "img": torch.full((images, 3, 64, 64), grey, dtype=torch.uint8),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]),
        "cls": torch.tensor([[0.0], [1.0]]),
    }


def tile(path: Path, place: int) -> np.ndarray:
    """The picture at a place of a sheet."""
    sheet = cv2.imread(str(path))
    y, x = annotate.HEAD + place // 4 * (320 + annotate.GAP), annotate.GAP + place % 4 * (320 + annotate.GAP)
    return sheet[y : y + 320, x : x + 320].astype(int)


def at(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    return picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)


def test_images_come_with_their_boxes_where_they_are(tmp_path: Path) -> None:
    made = TrainSheet(tmp_path / "work", tmp_path / "out")
    given = batch(4)
    made.take(given)
    given["img"].zero_()  # the loader's memory is used again
    made.take(batch(20, grey=100))
    made.draw(NAMES, 1)
    drawn = tmp_path / "out" / "sheets" / "train.jpg"
    assert cv2.imread(str(drawn)).shape == (annotate.HEAD + MOST_TRAIN // 4 * 326, annotate.GAP + 4 * 326, 3)
    assert tile(drawn, 0)[300, 300] == pytest.approx(200, abs=4)
    assert tile(drawn, 4)[300, 300] == pytest.approx(100, abs=4)
    # The box of the first image goes from 80 to 240, that of the second one from 0 to 160: in their own colours.
    assert np.abs(at(tile(drawn, 0), 240, 160) - BLUE).max(axis=1).min() < 40
    assert np.abs(at(tile(drawn, 1), 160, 80) - ORANGE).max(axis=1).min() < 40
    assert tile(drawn, 1)[160, 240] == pytest.approx(200, abs=4)
    assert tile(drawn, 2)[20:, 20:].std() < 4, "the third has none"


def test_it_is_drawn_once_and_the_next_attempt_shows_the_same(tmp_path: Path) -> None:
    first = TrainSheet(tmp_path / "work", tmp_path / "out")
    first.take(batch(4))
    first.draw(NAMES, 1)
    kept = (tmp_path / "out" / "sheets" / "train.jpg").read_bytes()
    first.take(batch(4, grey=10))
    first.draw(NAMES, 2)
    second = TrainSheet(tmp_path / "work", tmp_path / "other")
    second.take(batch(4, grey=10))
    second.draw(NAMES, 3)
    for out in ("out", "other"):
        assert (tmp_path / out / "sheets" / "train.jpg").read_bytes() == kept


def test_crowded_images_have_boxes_without_words() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    boxes = np.array([[20.0, 20.0, 40.0, 40.0]])
    few = annotate.tile(image, boxes, [0], ["red-cell"])
    many = annotate.tile(image, np.repeat(boxes, annotate.CROWD + 1, axis=0), [0] * 16, ["red-cell"] * 16)
    above = slice(82, 96), slice(104, 140)
    assert (few[above] != 200).any()
    assert (many[above] == 200).all()
    assert (many != 200).any()
