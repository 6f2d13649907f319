"""Draws detections and labels on images, and images on sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.detect import Detections
from sightline.preprocess import Image

# Okabe and Ito's palette (BGR), which the colour-blind distinguish too: https://jfly.uni-koeln.de/color/
PALETTE = ((178, 114, 0), (0, 159, 230), (115, 158, 0), (167, 121, 204), (233, 180, 86), (0, 94, 213), (66, 228, 240))
MISSED = (40, 40, 220)
LEAST_SIDE = 480  # smaller images are enlarged, so that lines and letters do not cover the objects
TILE_SIDE = 320  # pixels of an image on a sheet
GAP, HEAD = 6, 26  # pixels between the tiles of a sheet, and of the line above them
CROWD = 15  # boxes on a tile from which on their colour alone tells the class: words would cover the image
GROUND, INK = (255, 255, 255), (60, 60, 60)


def annotate(image: Image, found: Detections, missed: NDArray[np.float64] | None = None) -> Image:
    """Return a copy, enlarged where small, with a box, name and score for each detection.

    `missed`, (n, 4) x1 y1 x2 y2 in pixels of `image`, are labelled objects that were not found; they get dashes.
    """
    scale = max(1, round(LEAST_SIDE / max(image.shape[:2])))
    canvas = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8).copy()
    if not len(found):
        _tag(canvas, "No findings", (8, 8), (90, 90, 90))
    for box in () if missed is None else missed:
        x1, y1, x2, y2 = (int(value) for value in np.rint(box * scale))
        for a, b in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
            _dashes(canvas, a, b)
        _tag(canvas, "missed", (x1, y2), MISSED)
    for box, score, index in zip(found.boxes, found.scores, found.classes, strict=True):
        colour = PALETTE[int(index) % len(PALETTE)]
        x1, y1, x2, y2 = (int(value) for value in np.rint(box * scale))
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
        _tag(canvas, f"{found.names[index]} {score:.2f}", (x1, y1 - 16), colour)
    return canvas


def tile(image: Image, boxes: NDArray[np.float64], classes: Sequence[int], words: Sequence[str]) -> Image:
    """Return a square picture of `TILE_SIDE` pixels that an image fits into, with its boxes and a word for each.

    `image` is (h, w, 3), BGR; `boxes` are (n, 4), x1 y1 x2 y2 in its pixels; `classes` choose the colours.
    """
    height, width = image.shape[:2]
    scale = TILE_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    left, top = (TILE_SIDE - size[0]) // 2, (TILE_SIDE - size[1]) // 2
    canvas = np.full((TILE_SIDE, TILE_SIDE, 3), 235, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=way)
    for box, index, word in zip(boxes, classes, words, strict=True):
        colour = PALETTE[int(index) % len(PALETTE)]
        x1, y1, x2, y2 = (int(value) for value in np.rint(np.asarray(box) * scale + (left, top, left, top)))
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1 if len(boxes) > CROWD else 2, cv2.LINE_AA)
        if len(boxes) <= CROWD:
            _tag(canvas, word, (x1, y1 - 16), colour)
    return canvas


def sheet(tiles: Sequence[Image], columns: int, heads: Sequence[str]) -> Image:
    """Return tiles in rows of `columns`, below `heads`, of which each stands over as many columns as the others."""
    rows = math.ceil(len(tiles) / columns)
    step = TILE_SIDE + GAP
    canvas = np.full((HEAD + rows * step, GAP + columns * step, 3), GROUND, np.uint8)
    for place, head in enumerate(heads):
        at = (GAP + place * (columns // len(heads)) * step, HEAD - 8)
        cv2.putText(canvas, head, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    for place, picture in enumerate(tiles):
        y, x = HEAD + place // columns * step, GAP + place % columns * step
        canvas[y : y + TILE_SIDE, x : x + TILE_SIDE] = picture
    return canvas


def jpeg(image: Image) -> bytes:
    """Return a JPEG of a picture."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def _dashes(canvas: Image, start: tuple[int, int], end: tuple[int, int], length: int = 6) -> None:
    count = max(1, int(np.hypot(end[0] - start[0], end[1] - start[1])) // length)
    points = np.linspace(start, end, count + 1).astype(int)
    for index in range(0, count, 2):
        cv2.line(canvas, tuple(points[index].tolist()), tuple(points[index + 1].tolist()), MISSED, 2, cv2.LINE_AA)


def _tag(canvas: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write white on colour, kept inside the image."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    x = max(0, min(corner[0], canvas.shape[1] - width - 6))
    y = max(0, min(corner[1], canvas.shape[0] - height - 8))
    cv2.rectangle(canvas, (x, y), (x + width + 6, y + height + 6), colour, -1)
    cv2.putText(canvas, text, (x + 3, y + height + 3), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
