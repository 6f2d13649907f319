"""Draws sets of many near-alike images with copies of some of them in other splits, and knows which are copies.

Half of the scenes are rich (rectangles, slopes), half are plain: grain on one grey, on a slope, on a microscope's round
field. Each image of a scene has objects of its own in other places. Names are random; a copy is another encoding of the
image: another quality, size or kind of file.
"""

from __future__ import annotations

import io
import os
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = (320, 240)
SCENES = 8
SPLITS = {"train": 4, "val": 1, "test": 1}  # and their shares
COPIES = 20  # one image in so many has a copy in another split
ENCODINGS = (
    (".jpg", "JPEG", 1.0, {"quality": 50}),
    (".jpg", "JPEG", 0.5, {"quality": 80}),
    (".png", "PNG", 1.0, {}),
    (".jpg", "JPEG", 2.0, {"quality": 85, "progressive": True}),
    (".webp", "WEBP", 0.7, {"quality": 70}),
)


class File(NamedTuple):
    """One file: which picture it shows, in which split, and how it is encoded (None: as the camera does)."""

    name: str
    picture: int
    split: str
    encoding: int | None


def ground(scene: int, side: tuple[int, int]) -> NDArray[np.float32]:
    """Return what all images of a scene have in common, in grey levels."""
    rng = np.random.default_rng(scene)
    width, height = side
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    if scene % 2:
        kind = scene // 2 % 3
        plain = 110 + 8 * (scene // 6) + np.zeros((height, width))
        plain += (0 * down, 25 * down, np.where(across**2 + down**2 < 1.2, 60 - 20 * (across**2 + down**2), -80))[kind]
        return plain.astype(np.float32)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8)).resize(side, Image.Resampling.BICUBIC)
    rich = np.asarray(coarse, np.float32).copy()
    for _ in range(12):
        x, y = rng.integers(0, width - 8), rng.integers(0, height - 8)
        rich[y : y + rng.integers(8, height // 3), x : x + rng.integers(8, width // 3)] = rng.integers(0, 255)
    return rich


def picture(number: int, side: tuple[int, int] = SIDE, scenes: int = SCENES, objects: int = 4) -> Image.Image:
    """Return one image of a scene, with objects, grain and noise of its own."""
    rng = np.random.default_rng(10**6 + number)
    width, height = side
    pixels = np.repeat(ground(number % scenes, side)[..., None], 3, axis=2)
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    for _ in range(objects):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.02, 0.05) * width
        pixels[(across - x) ** 2 + (down - y) ** 2 < radius**2] += rng.choice([-1, 1]) * rng.uniform(25, 70, 3)
    grain = Image.fromarray(rng.normal(0, 4, (height // 3 + 1, width // 3 + 1)).astype(np.float32))
    pixels += np.asarray(grain.resize(side, Image.Resampling.BICUBIC))[..., None]
    pixels += rng.normal(0, 2, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, encoding: int | None) -> bytes:
    """Return the bytes of a file."""
    _, kind, scale, options = ENCODINGS[encoding] if encoding is not None else (".jpg", "JPEG", 1.0, {"quality": 90})
    if scale != 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def listed(count: int, seed: int = 0) -> list[File]:
    """List the files of a set of `count` pictures and their copies; names say nothing, not even of the order."""
    rng = random.Random(seed)
    splits = rng.choices(list(SPLITS), list(SPLITS.values()), k=count)
    images = [File(f"{rng.randrange(2**48):012x}.jpg", n, split, None) for n, split in enumerate(splits)]
    for n in range(0, count, COPIES):
        encoding = n // COPIES % len(ENCODINGS)
        name = f"{rng.randrange(2**48):012x}{ENCODINGS[encoding][0]}"
        split = "train" if images[n].split != "train" else ("val", "test")[n // COPIES % 2]
        images.append(File(name, n, split, encoding))
    return images


def draw(root: Path, count: int, side: tuple[int, int] = SIDE, scenes: int = SCENES) -> list[File]:
    """Draw a set in YOLO; returns its files."""
    images = listed(count)
    for split in SPLITS:
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    step = 200
    jobs = [(root, images[first : first + step], side, scenes) for first in range(0, len(images), step)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_write, jobs))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [object]\n")
    os.sync()
    return images


def _write(job: tuple[Path, list[File], tuple[int, int], int]) -> None:
    root, images, side, scenes = job
    for name, number, split, encoding in images:
        (root / "images" / split / name).write_bytes(encoded(picture(number, side, scenes), encoding))
        (root / "labels" / split / name).with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n")
