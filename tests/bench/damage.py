"""Counts how much damage inside JPEGs is seen: drawn photographs in five encodings, each damaged in many ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from sightline.image_files import jpeg
from tests.bench import datasets

PICTURES = 40
SIDE = (640, 480)
ENCODINGS: dict[str, list[int]] = {
    "baseline": [],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}
SIZES = (16, 64, 512, 4096)  # bytes
QUALITY = 90


def seen() -> dict[str, Any]:
    """Return for each kind of damage how often it was there, and how often the gate saw it; false alarms first."""
    counts: dict[str, list[int]] = {"none": [0, 0]}
    for number in range(PICTURES):
        rng = np.random.default_rng(number)
        pixels = cv2.imdecode(np.frombuffer(datasets.picture(number, SIDE, 95), np.uint8), cv2.IMREAD_COLOR)
        for options in ENCODINGS.values():
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *options])[1].tobytes()
            for kind, bad in [("none", data), *_damaged(data, rng)]:
                count = counts.setdefault(kind, [0, 0])
                count[0] += 1
                count[1] += _alarm(bad)
    return {kind: {"files": files, "seen": found} for kind, (files, found) in counts.items()}


def _alarm(data: bytes) -> bool:
    try:
        return jpeg.decoded(data, 48)[1] is not None
    except ValueError:
        return True


def _damaged(data: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield a kind of damage, and the picture with it somewhere in its data."""
    scan = data.index(b"\xff\xda")
    start, end = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4]), len(data) - 2
    for size in SIZES:
        place = int(rng.integers(start, end - size))
        before, part, after = data[:place], data[place : place + size], data[place + size :]
        yield f"{size} zeros", before + bytes(size) + after
        yield f"{size} other bytes", before + rng.bytes(size) + after
        yield f"{size} bytes lost", before + after
        yield f"{size} bytes twice", before + part + part + after
    place = int(rng.integers(start, end))
    yield "a turned bit", data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    place = int(rng.integers(start, end - 2))
    yield "cut, with an end marker", data[:place] + data[end:]
    yield "zeros to the end", data[:place] + bytes(end - place) + data[end:]
    table = data.index(b"\xff\xdb") + 20
    yield "another quantisation table", data[:table] + bytes([data[table] ^ 0x55]) + data[table + 1 :]
