"""Validate takes a larger image where boxes are small, unless a person chose its size, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.documents import DataDocument, ValidateDocument, read

SIDE = 600  # pixels


@pytest.fixture
def small_boxes(tmp_path: Path) -> Path:
    """Images of noise, each with boxes of 12 by 6 pixels and one that is large."""
    root, drawn = tmp_path / "data", np.random.default_rng(0)
    for split, count in {"train": 12, "val": 3, "test": 3}.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            pixels = drawn.integers(0, 256, (SIDE // 2, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"{split}{number}.png")
            boxes = [(0.2 + 0.1 * place, 0.5, 12 / SIDE, 12 / SIDE) for place in range(5)]  # of half the height
            text = "".join(f"0 {' '.join(f'{value:.6f}' for value in box)}\n" for box in [*boxes, (0.5, 0.5, 0.5, 0.5)])
            (root / "labels" / split / f"{split}{number}.txt").write_text(text)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [cell]\n")
    return root


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        (["--gpu-tier", "high"], 960, "image size 640 → 960, in which these are 9.6 pixels"),
        (["--set", "train.image_size=640"], 640, "The image size stays, since it was given"),
        (["--set", "train.sizing=off"], 640, None),
    ],
)
def test_the_image_size_follows_the_boxes(
    command: Callable, small_boxes: Path, tmp_path: Path, options: list[str], size: int, words: str | None
) -> None:
    start = ["validate", "--data", "data", "--run", "run", "--weights", "yolo11n.yaml"]
    done = command(*start, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read(ValidateDocument, tmp_path / "run" / "validate")
    assert read(DataDocument, tmp_path / "run" / "validate").shorter_side == pytest.approx(6 / SIDE, rel=0.03)
    assert document.config.train.image_size == size
    assert document.config.weights.source == "yolo11n.yaml"
    if words is None:
        assert document.sizing == []
        return
    tier, boxes = document.sizing
    assert words in boxes
    assert "Half of train's boxes are 6.4 pixels or less at their shorter side in images of 640 pixels" in boxes
    if options[0] == "--gpu-tier":
        assert "Tier high chose image size 640, nominal batch 64" in tier
        assert "you chose model yolo11n.yaml" in tier
    else:
        assert "No GPU of a known memory was seen and no tier named" in tier


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--gpu-tier", "huge"],
            "got 'huge', expected one of auto, cpu, low, medium, high, workstation, server, large",
        ),
        (["--gpu-tier", "high", "--preset", "fast"], "gpu_tier: got high, but train.sizing is off"),
    ],
)
def test_a_wrong_tier_is_a_mistake_of_the_command(
    command: Callable, tmp_path: Path, options: list[str], words: str
) -> None:
    done = command("run", *options, "--data", ".", cwd=tmp_path)
    assert done.returncode == 2
    said = done.stderr + done.stdout
    assert words in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
