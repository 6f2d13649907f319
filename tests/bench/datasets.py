"""Draws data sets of any size for the data benchmarks: photographs in their statistics, labelled, in YOLO."""

from __future__ import annotations

import io
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = [f"class {number}" for number in range(10)]
QUALITY = 75
SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))


def picture(number: int, side: tuple[int, int], quality: int = QUALITY) -> bytes:
    """Return a JPEG with slopes, edges and grain, so that it compresses like a photograph."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize(side, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse, np.int16) + rng.integers(-6, 7, (side[1], side[0], 1), np.int16)
    for _ in range(4):
        x, y = rng.integers(0, side[0] - 8), rng.integers(0, side[1] - 8)
        w, h = rng.integers(8, side[0] // 3 + 9), rng.integers(8, side[1] // 3 + 9)
        pixels[y : y + h, x : x + w] = rng.integers(0, 255, 3)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def labels(number: int) -> str:
    """Return 1 to 9 boxes inside the image."""
    rng = np.random.default_rng(number + 10**9)
    lines = []
    for _ in range(int(rng.integers(1, 10))):
        w, h = rng.uniform(0.05, 0.3, 2)
        cx, cy = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
        lines.append(f"{rng.integers(len(CLASSES))} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n")
    return "".join(lines)


def _write(job: tuple[str, int, int, tuple[int, int], int]) -> None:
    folder, first, last, side, quality = job
    root = Path(folder)
    for number in range(first, last):
        split = _split(number)
        (root / f"images/{split}/{number:07}.jpg").write_bytes(picture(number, side, quality))
        (root / f"labels/{split}/{number:07}.txt").write_text(labels(number))


def _split(number: int) -> str:
    place = number % 10
    return "val" if place == 8 else "test" if place == 9 else "train"


def draw(root: Path, count: int, side: tuple[int, int], quality: int = QUALITY) -> Path:
    """Draw `count` images of `side` pixels into a YOLO data set."""
    for split, _ in SPLITS:
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    step = 500
    jobs = [(str(root), first, min(first + step, count), side, quality) for first in range(0, count, step)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_write, jobs))
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(
        f"path: {root}\ntrain: images/train\nval: images/val\ntest: images/test\nnames:\n{names}"
    )
    os.sync()  # or the disk is busy with it while something is measured
    return root


def change(root: Path, count: int, side: tuple[int, int]) -> dict[str, int]:
    """Edit 1 % of the files, spread over the splits: in each hundred one image is replaced, one box redrawn.

    Returns how many images and how many label files were changed.
    """
    firsts = range(0, count - 99, 100)
    for first in firsts:
        step = first // 100 % 50
        image, other = first + step, first + step + 50
        new = 5 * 10**8 + first
        (root / f"images/{_split(image)}/{image:07}.jpg").write_bytes(picture(new, side))
        file = root / f"labels/{_split(other)}/{other:07}.txt"
        boxes = file.read_text().splitlines(keepends=True)
        file.write_text("".join([labels(new).splitlines(keepends=True)[0], *boxes[1:]]))
    os.sync()
    return {"changed_images": len(firsts), "changed_labels": len(firsts)}
