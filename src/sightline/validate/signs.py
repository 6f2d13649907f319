"""Counts how the boxes of an image fit each convention of coordinates. Runs once for every image: keep it lean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple

from sightline.validate.dataset import Edges, Parsed

Format = Literal["yolo", "coco", "voc"]
Quad = tuple[float, float, float, float]

CENTRE, TOPLEFT, CORNERS = range(3)
OWN = {"yolo": CENTRE, "coco": TOPLEFT, "voc": CORNERS}
SLACK = 0.01  # of the image: how far a box may stick out and still fit a convention
OUT = 0.05  # of a box's own side, and at least OUT_IMAGE of the image's: what counts as sticking out
OUT_IMAGE = 0.005
NO_FRACTION = 2.0  # from here on a number is no fraction, however far its box sticks out
SMALL_IMAGE = 16  # pixels: in a smaller image a fraction may be a real pixel
ROOMY = 200  # pixels: in a smaller image percents may be pixels
SAME_AREA = 0.01  # relative difference


class Signs(NamedTuple):
    """How the boxes of an image, or of a set, fit. All are counts of boxes."""

    boxes: int = 0
    out: int = 0  # of the format's own unit, not within the image as they are read
    centre: int = 0  # of the own unit, within the image when read as that
    topleft: int = 0
    corners: int = 0
    other: int = 0  # of another unit than the format's own
    other_centre: int = 0  # of these
    other_topleft: int = 0
    other_corners: int = 0
    percent: int = 0  # of these in YOLO, that may be percents of the image, and in which layout
    percent_centre: int = 0
    percent_topleft: int = 0
    percent_corners: int = 0
    left: int = 0  # of these, whose first or second number is below 30 or above 60
    upper: int = 0
    right: int = 0
    lower: int = 0
    areas: int = 0  # whose `area` tells corners from sizes
    areas_of_corners: int = 0


def of_image(format: Format, parsed: Parsed, where: str, width: int, height: int) -> str | None:
    """Count how the boxes of an image of `width` x `height` pixels fit, as a text for the index; None without boxes.

    `where` has a `{}` for a box's place.
    """
    own, pixels = OWN[format], format != "yolo"
    count = [0] * len(Signs._fields)
    example: tuple[int, int, Quad] | None = None  # how telling, place, numbers
    for place, edges, area in _boxes(parsed):
        quad = _quad(own, edges)
        telling = _count(count, own, pixels, quad, area, width, height)
        if telling and (example is None or telling > example[0]):
            example = telling, place, quad
    if not count[0]:
        return None
    shown = f"{where.replace('{}', str(example[1]))}: {_numbers(example[2])}" if example else ""
    return json.dumps([_home(where), shown, *count])


def _boxes(parsed: Parsed) -> Iterator[tuple[int, Edges, float | None]]:
    for box, area in zip_longest(parsed.boxes, parsed.areas):
        yield box.place, box.edges, area
    for place, edges in parsed.inverted:
        yield place, edges, None


def _count(
    count: list[int], own: int, pixels: bool, quad: Quad, area: float | None, width: int, height: int
) -> int:  # fmt: skip
    """Add a box to the counts; returns how telling an example it is, 0 for one that is as it should be."""
    a, b, c, d = quad
    count[0] += 1
    largest = max(abs(a), abs(b), abs(c), abs(d))
    if pixels:
        other = largest <= 1 + SLACK and min(width, height) >= SMALL_IMAGE
        scale = (width, height)
    else:
        other = largest > NO_FRACTION
        scale = (1, 1)
    if other:
        count[5] += 1
        _fit(count, 6, quad, (1, 1) if pixels else (width, height))
        if not pixels and largest <= 100 * (1 + SLACK) and min(width, height) >= ROOMY:
            _percent(count, quad)
        return 3
    _fit(count, 2, quad, scale)
    if own == TOPLEFT and area and _area(count, quad, area):
        return 2
    if _sticks_out(own, (a / scale[0], b / scale[1], c / scale[0], d / scale[1])):
        count[1] += 1
        return 1
    return 0


def _fit(count: list[int], start: int, quad: Quad, scale: tuple[float, float]) -> None:
    """Count in which layouts a box lies in the image; its numbers are up to `scale`."""
    low, high = -SLACK, 1 + SLACK
    a, b, c, d = quad[0] / scale[0], quad[1] / scale[1], quad[2] / scale[0], quad[3] / scale[1]
    if a < low or b < low:
        return
    if c > 0 and d > 0:
        if a + c <= high and b + d <= high:
            count[start + TOPLEFT] += 1
        if a - c / 2 >= low and b - d / 2 >= low and a + c / 2 <= high and b + d / 2 <= high:
            count[start + CENTRE] += 1
    if a < c <= high and b < d <= high:
        count[start + CORNERS] += 1


def _percent(count: list[int], quad: Quad) -> None:
    count[9] += 1
    _fit(count, 10, quad, (100, 100))
    count[13] += quad[0] < 30
    count[14] += quad[1] < 30
    count[15] += quad[0] > 60
    count[16] += quad[1] > 60


def _area(count: list[int], quad: Quad, area: float) -> bool:
    """Compare the area that is stated with that of both readings; tells whether it is that of corners."""
    a, b, c, d = quad
    sizes, corners = c * d, (c - a) * (d - b)
    if c <= a or d <= b or abs(sizes - corners) <= 2 * SAME_AREA * max(sizes, corners):
        count[17] += c <= a or d <= b
        return False
    with_ends = (c - a + 1) * (d - b + 1)  # of tools that count the last pixel
    count[17] += 1
    fits = any(abs(area - of) <= SAME_AREA * of for of in (corners, with_ends))
    count[18] += fits
    return fits


def _sticks_out(own: int, quad: Quad) -> bool:
    """Tell a box of which a good part lies outside, or that has its corners the wrong way round."""
    x0, y0, x1, y1 = edges(own, quad)
    w, h = x1 - x0, y1 - y0
    if w < 0 or h < 0:
        return True
    across, down = max(OUT_IMAGE, OUT * w), max(OUT_IMAGE, OUT * h)
    return x0 < -across or x1 > 1 + across or y0 < -down or y1 > 1 + down


def edges(layout: int, quad: Quad) -> Edges:
    """Return the edges that four numbers mean in a layout."""
    a, b, c, d = quad
    if layout == CENTRE:
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return (a, b, a + c, b + d) if layout == TOPLEFT else quad


def _quad(layout: int, of: Edges) -> Quad:
    """Return the numbers of a file whose layout this is; the reverse of `edges`."""
    x0, y0, x1, y1 = of
    if layout == CENTRE:
        return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    return (x0, y0, x1 - x0, y1 - y0) if layout == TOPLEFT else of


def _home(where: str) -> str:
    """Return the annotation file, or the folder of label files, of a place in labels."""
    path, _, rest = where.rpartition(":")
    return (path.rpartition("/")[0] or ".") if rest == "{}" else path


def _numbers(quad: Quad) -> str:
    return " ".join(f"{value:.6g}" for value in quad)
