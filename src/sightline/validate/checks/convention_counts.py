"""Counts how the boxes of an image fit each convention of coordinates. Runs once for every image: keep it lean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from sightline.config import Format
from sightline.datasets.types import Edges, Parsed

Quad = tuple[float, float, float, float]

CENTRE, TOPLEFT, CORNERS = LAYOUTS = range(3)
Y_FIRST = len(LAYOUTS)  # added to a layout: the same, with y before x and height before width
OWN = {"yolo": CENTRE, "coco": TOPLEFT, "voc": CORNERS}
SLACK = 0.01  # of the image: how far a box may stick out and still fit a convention
OUT = 0.05  # of a box's own side, and at least OUT_IMAGE of the image's: what counts as sticking out
OUT_IMAGE = 0.005
NO_FRACTION = 2.0  # from here on a number is no fraction, however far its box sticks out
SMALL_IMAGE = 16  # pixels: in a smaller image a fraction may be a real pixel
ROOMY = 200  # pixels: in a smaller image percents may be pixels
SAME_AREA = 0.01  # relative difference
HALF = 0.5  # of a box: if less of it is visible, it lies elsewhere
THOUSAND = 1000  # the scale that language models and some services give boxes in
FAR = 750  # of a thousand: numbers of that scale reach beyond, those of somewhat larger images need not


class Signs(NamedTuple):
    """How the boxes of an image, or of a set, fit. All are counts of boxes."""

    boxes: int = 0
    out: int = 0  # of the format's own unit, not within the image as they are read
    away: int = 0  # of these, not within the image in any layout, and mostly outside as they are read
    centre: int = 0  # of the own unit, within the image when read as that
    topleft: int = 0
    corners: int = 0
    centre_yx: int = 0  # the same with y first
    topleft_yx: int = 0
    corners_yx: int = 0
    other: int = 0  # of another unit than the format's own
    other_centre: int = 0  # of these
    other_topleft: int = 0
    other_corners: int = 0
    other_centre_yx: int = 0
    other_topleft_yx: int = 0
    other_corners_yx: int = 0
    percent: int = 0  # of these in YOLO, that may be percents of the image, and in which layout
    percent_centre: int = 0
    percent_topleft: int = 0
    percent_corners: int = 0
    left: int = 0  # of these, whose first or second number is below 30 or above 60
    upper: int = 0
    right: int = 0
    lower: int = 0
    thousand_centre: int = 0  # away, or in YOLO of another unit: within 0 to 1000, in which layout
    thousand_topleft: int = 0
    thousand_corners: int = 0
    thousand_far: int = 0  # of these, with a number above FAR
    areas: int = 0  # whose `area` tells corners from sizes
    areas_of_corners: int = 0

    @property
    def fits(self) -> tuple[int, ...]:
        """Return the boxes of the own unit that lie in their images, by layout, then by layout with y first."""
        return self[_OWN : _OWN + 2 * Y_FIRST]

    @property
    def other_fits(self) -> tuple[int, ...]:
        """Return the same for boxes of another unit."""
        return self[_OTHER + 1 : _OTHER + 1 + 2 * Y_FIRST]

    @property
    def percent_fits(self) -> tuple[int, ...]:
        """Return the same for percents, which look alike whether x or y comes first."""
        return (self.percent_centre, self.percent_topleft, self.percent_corners) * 2

    @property
    def thousand_fits(self) -> tuple[int, ...]:
        """Return the same for numbers from 0 to 1000."""
        return (self.thousand_centre, self.thousand_topleft, self.thousand_corners) * 2


_PLACE = {name: place for place, name in enumerate(Signs._fields)}
_OUT, _AWAY, _OWN, _OTHER = (_PLACE[name] for name in ("out", "away", "centre", "other"))
_PERCENT, _LEFT, _THOUSAND = (_PLACE[name] for name in ("percent", "left", "thousand_centre"))
_FAR, _AREAS = _PLACE["thousand_far"], _PLACE["areas"]


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
        count[_OTHER] += 1
        _fit_both(count, _OTHER + 1, quad, (1, 1) if pixels else (width, height))
        if not pixels:
            _thousand(count, quad, largest)
        if not pixels and largest <= 100 * (1 + SLACK) and min(width, height) >= ROOMY:
            _percent(count, quad)
        return 3
    fits = _fit_both(count, _OWN, quad, scale)
    read = edges(own, (a / scale[0], b / scale[1], c / scale[0], d / scale[1]))
    out = _sticks_out(read)
    if out and pixels and not any(fits) and _elsewhere(read):
        count[_AWAY] += 1
        _thousand(count, quad, largest)
    if own == TOPLEFT and area and _area(count, quad, area):
        return 2
    if out:
        count[_OUT] += 1
        return 1
    return 0


def _fit_both(count: list[int], start: int, quad: Quad, scale: tuple[float, float]) -> list[bool]:
    """Count, and return, in which layouts a box lies in the image, with x first and with y first."""
    a, b, c, d = quad
    fits = [*_fits(quad, scale), *_fits((b, a, d, c), scale)]
    for layout, fit in enumerate(fits):
        count[start + layout] += fit
    return fits


def _fits(quad: Quad, scale: tuple[float, float]) -> tuple[bool, bool, bool]:
    """Tell in which layouts a box lies in the image; its numbers are up to `scale`."""
    low, high = -SLACK, 1 + SLACK
    a, b, c, d = quad[0] / scale[0], quad[1] / scale[1], quad[2] / scale[0], quad[3] / scale[1]
    if a < low or b < low:
        return False, False, False
    sized = c > 0 and d > 0
    centre = sized and a - c / 2 >= low and b - d / 2 >= low and a + c / 2 <= high and b + d / 2 <= high
    return centre, sized and a + c <= high and b + d <= high, a < c <= high and b < d <= high


def _thousand(count: list[int], quad: Quad, largest: float) -> None:
    for layout, fit in enumerate(_fits(quad, (THOUSAND, THOUSAND))):
        count[_THOUSAND + layout] += fit
    count[_FAR] += FAR < largest <= THOUSAND * (1 + SLACK)


def _percent(count: list[int], quad: Quad) -> None:
    count[_PERCENT] += 1
    for layout, fit in enumerate(_fits(quad, (100, 100))):
        count[_PERCENT + 1 + layout] += fit
    count[_LEFT] += quad[0] < 30
    count[_LEFT + 1] += quad[1] < 30
    count[_LEFT + 2] += quad[0] > 60
    count[_LEFT + 3] += quad[1] > 60


def _area(count: list[int], quad: Quad, area: float) -> bool:
    """Compare the area that is stated with that of both readings; tells whether it is that of corners."""
    a, b, c, d = quad
    sizes, corners = c * d, (c - a) * (d - b)
    if c <= a or d <= b or abs(sizes - corners) <= 2 * SAME_AREA * max(sizes, corners):
        count[_AREAS] += c <= a or d <= b
        return False
    with_ends = (c - a + 1) * (d - b + 1)  # of tools that count the last pixel
    count[_AREAS] += 1
    fits = any(abs(area - of) <= SAME_AREA * of for of in (corners, with_ends))
    count[_AREAS + 1] += fits
    return fits


def _sticks_out(read: Edges) -> bool:
    """Tell whether a good part of a box lies outside, or its corners are the wrong way round."""
    x0, y0, x1, y1 = read
    w, h = x1 - x0, y1 - y0
    if w < 0 or h < 0:
        return True
    across, down = max(OUT_IMAGE, OUT * w), max(OUT_IMAGE, OUT * h)
    return x0 < -across or x1 > 1 + across or y0 < -down or y1 > 1 + down


def _elsewhere(read: Edges) -> bool:
    """Tell whether a box begins to the right of its image or below it, or lies there for the most part."""
    x0, y0, x1, y1 = read
    if x0 > 1 or y0 > 1:
        return True
    visible = (min(x1, 1) - max(x0, 0)) * (min(y1, 1) - max(y0, 0))
    return x0 >= 0 and y0 >= 0 and x1 > x0 and y1 > y0 and visible < HALF * (x1 - x0) * (y1 - y0)


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
