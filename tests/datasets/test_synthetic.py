"""The quickstart's drawn data: always the same, honest about its boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.datasets.synthetic import CLASSES, COUNTS, Smear, draw


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn"))


def test_the_set_has_three_splits_three_classes_and_some_backgrounds(drawn, validate):
    document = validate(drawn)
    assert document.classes == list(CLASSES)
    assert {split: counts.images for split, counts in document.splits.items()} == COUNTS
    assert document.findings == []
    assert sum(counts.backgrounds for counts in document.splits.values()) == 15
    assert min(document.splits["test"].boxes_per_class.values()) >= 30


def test_drawing_again_gives_the_same_picture_and_labels(drawn, tmp_path):
    smear = Smear(np.random.default_rng([0, 2, 7]))
    cv2.imwrite(str(tmp_path / "again.png"), smear.photograph())
    assert (tmp_path / "again.png").read_bytes() == (drawn / "images/test/smear_test_007.png").read_bytes()
    assert smear.label_text() == (drawn / "labels/test/smear_test_007.txt").read_text()


def test_white_cells_and_platelets_are_the_dark_purple_things_in_their_boxes(drawn):
    """Their boxes hold dark pixels, and nothing outside all boxes is nearly as dark over a comparable area."""
    for path in sorted((drawn / "images/val").iterdir()):
        blue, _, red = cv2.split(cv2.imread(str(path)).astype(int))
        purple = (blue - red > 8).astype(np.uint8)
        outside = purple.copy()
        for line in (drawn / "labels/val" / f"{path.stem}.txt").read_text().splitlines():
            index, cx, cy, w, h = (float(word) * (200 if n else 1) for n, word in enumerate(line.split()))
            rows, columns = slice(round(cy - h / 2), round(cy + h / 2)), slice(round(cx - w / 2), round(cx + w / 2))
            if index > 0:
                assert purple[rows, columns].mean() > 0.1
            outside[rows, columns] = 0
        assert outside.sum() < 8
