"""Tells coordinates of another convention: fractions for pixels, corners for centres, and the like.

An image counts how its boxes fit each convention; the sums of a whole set decide. A set is accused only by what boxes
that lie in their images cannot show: numbers of another unit, an `area` that is that of another box, or boxes that
stick out of their images as they are read, while nearly all lie inside as something else. What this cannot tell:
boxes in the middle of their images, which lie inside whichever way they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from operator import add
from typing import Literal, NamedTuple

from sightline.validate.dataset import Edges, Found, Parsed
from sightline.validate.index import Index

Format = Literal["yolo", "coco", "voc"]
Quad = tuple[float, float, float, float]

CENTRE, TOPLEFT, CORNERS = range(3)
WORDS = ("centre and size (cx cy w h)", "upper left corner and size (x y w h)", "corners (x1 y1 x2 y2)")
OWN = {"yolo": CENTRE, "coco": TOPLEFT, "voc": CORNERS}
SLACK = 0.01  # of the image: how far a box may stick out and still fit a convention
OUT = 0.05  # of a box's own side, and at least OUT_IMAGE of the image's: what counts as sticking out
OUT_IMAGE = 0.005
NO_FRACTION = 2.0  # from here on a number is no fraction, however far its box sticks out
SMALL_IMAGE = 16  # pixels: in a smaller image a fraction may be a real pixel
ROOMY = 300  # pixels: in a smaller image percents may be pixels
SAME_AREA = 0.01  # relative difference

NEARLY_ALL = 0.98
UNIT_SHARE, FEWEST_OF_UNIT = 0.1, 3  # boxes of another unit; with fewer, all of them must be so
FEWEST, FEWEST_OUT, FEWEST_AREAS, FEWEST_PERCENT = 6, 5, 3, 20
SPREAD = 0.05
# Centre read as corner, or the reverse, moves a box by half its side: of small boxes few then stick out. Corners read as
# sizes make boxes as large as the image.
OUT_SHARE_MOVED, OUT_SHARE = 0.03, 0.2


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
    percent: int = 0  # that may be percents of the image, and in which layout
    percent_centre: int = 0
    percent_topleft: int = 0
    percent_corners: int = 0
    left: int = 0  # of these, whose first or second number is below 30 or above 60
    upper: int = 0
    right: int = 0
    lower: int = 0
    areas: int = 0  # whose `area` tells corners from sizes
    areas_of_corners: int = 0


class Set(NamedTuple):
    """The signs of a set, and the box that shows best what is wrong: its place and its numbers."""

    signs: Signs
    example: str


def signs(format: Format, parsed: Parsed, where: str, width: int, height: int) -> str | None:
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
    else:
        _fit(count, 2, quad, scale)
    if NO_FRACTION < largest <= 100 * (1 + SLACK) and min(width, height) >= ROOMY:
        _percent(count, quad)
    if other:
        return 3
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


def judge(index: Index, format: Format) -> Iterator[Found]:
    """Yield what the boxes of an index say of their convention: of all of them, else of a split, else of a folder."""
    sets: dict[tuple[str, str], Set] = {}  # by folder or file of labels, and split
    for split, text in index.rows("SELECT split, signs FROM item WHERE signs IS NOT NULL ORDER BY id"):
        home, example, *counts = json.loads(text)
        before = sets.get((home, split))
        if before is None:
            sets[home, split] = Set(Signs(*counts), example)
        else:
            sets[home, split] = Set(Signs(*map(add, before.signs, counts)), before.example or example)
    yield from _levels(sets, format)


def _levels(sets: dict[tuple[str, str], Set], format: Format) -> Iterator[Found]:
    if message := accuse(format, _sum(sets.values())):
        yield Found("box-convention", ".", message)
        return
    for split in sorted({split for _, split in sets}):
        parts = {home: part for (home, own), part in sets.items() if own == split}
        if split and (message := accuse(format, _sum(parts.values()))):
            yield Found("box-convention", split, message)
            continue
        for home, part in sorted(parts.items()):
            if message := accuse(format, part):
                yield Found("box-convention", home, message)


def _sum(sets: Iterable[Set]) -> Set:
    total, example = [0] * len(Signs._fields), ""
    for part in sets:
        total = list(map(add, total, part.signs))
        example = example or part.example
    return Set(Signs(*total), example)


def accuse(format: Format, of: Set) -> str | None:
    """Say which other convention a set has; None where its boxes may be what they should be."""
    n = of.signs.boxes
    if not n:
        return None
    own = OWN[format]
    return _other_unit(format, own, of) or _percents(format, own, of) or _by_area(own, of) or _other_layout(own, of)


def _other_unit(format: Format, own: int, of: Set) -> str | None:
    s = of.signs
    if s.other < 2 or s.other < UNIT_SHARE * s.boxes or (s.other < FEWEST_OF_UNIT and s.other < s.boxes):
        return None
    layouts = [s.other_centre, s.other_topleft, s.other_corners]
    if format == "yolo":
        percents = [s.percent_centre, s.percent_topleft, s.percent_corners]
        if _spread(s, s.other) and max(percents) >= NEARLY_ALL * s.other:
            what = f"percents of the image{_as(own, percents, s.other)}"
        elif max(layouts) >= NEARLY_ALL * s.other:
            what = f"pixels{_as(own, layouts, s.other)}"
        elif s.other >= NEARLY_ALL * s.boxes:
            what = "pixels, of images of another size"
        else:
            return None
        return _sentence(of, s.other, "are no fractions", what, own)
    what = f"fractions of the image{_as(own, layouts, s.other)}"
    return _sentence(of, s.other, "lie within the first pixel", what, own)


def _percents(format: Format, own: int, of: Set) -> str | None:
    """Of pixels in larger images some lie beyond 100, if they are spread over what lies before."""
    s = of.signs
    layouts = [s.percent_centre, s.percent_topleft, s.percent_corners]
    if format == "yolo" or max(layouts) < NEARLY_ALL * s.boxes or not _spread(s, s.boxes):
        return None
    what = f"percents of the image{_as(own, layouts, s.boxes)}"
    return _sentence(of, max(layouts), "are spread over 0 to 100, and none lies beyond in larger images", what, own)


def _spread(s: Signs, of: int) -> bool:
    """Tell boxes that are here and there between 0 and 100 from those of one corner of their images."""
    return of >= FEWEST_PERCENT and min(s.left, s.upper, s.right, s.lower) >= SPREAD * of


def _by_area(own: int, of: Set) -> str | None:
    s = of.signs
    if s.areas < FEWEST_AREAS or s.areas_of_corners < NEARLY_ALL * s.areas or 2 * s.areas < s.boxes:
        return None
    return _sentence(
        of,
        s.areas_of_corners,
        "state an 'area' that is not width times height, but that of corners",
        WORDS[CORNERS],
        own,
    )


def _other_layout(own: int, of: Set) -> str | None:
    s = of.signs
    fits = [s.centre, s.topleft, s.corners]
    likely = []
    for layout in (CENTRE, TOPLEFT, CORNERS):
        share = OUT_SHARE if CORNERS in (own, layout) else OUT_SHARE_MOVED
        if layout != own and fits[layout] >= NEARLY_ALL * s.boxes and s.out >= max(FEWEST_OUT, share * s.boxes):
            likely.append(layout)
    if s.boxes < FEWEST or not likely:
        return None
    most = max(fits[layout] for layout in likely)
    what = " or ".join(WORDS[layout] for layout in likely if fits[layout] == most)
    wrong = "do not lie in their images, or have no size" if own == CORNERS else "stick out of their images"
    return _sentence(of, s.out, f"{wrong} as they are read, and {most} lie inside as something else", what, own)


def _as(own: int, fits: Sequence[int], of: int) -> str:
    """Name the layout where it is another than the format's own."""
    best = max(range(3), key=lambda layout: (fits[layout], layout == own))
    return "" if fits[own] == fits[best] or fits[best] < NEARLY_ALL * of else f", as {WORDS[best]}"


def _sentence(of: Set, count: int, wrong: str, likely: str, own: int) -> str:
    unit = "fractions" if own == CENTRE else "pixels"
    example = f" (such as {of.example})" if of.example else ""
    return f"{count} of {of.signs.boxes} boxes {wrong}{example}: likely {likely}; expected {unit}, {WORDS[own]}"


def _home(where: str) -> str:
    """Return the annotation file, or the folder of label files, of a place in labels."""
    path, _, rest = where.rpartition(":")
    return (path.rpartition("/")[0] or ".") if rest == "{}" else path


def _numbers(quad: Quad) -> str:
    return " ".join(f"{value:.6g}" for value in quad)
