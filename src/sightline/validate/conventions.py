"""Tells coordinates of another convention: fractions for pixels, corners for centres, and the like.

An image counts how its boxes fit each convention; the sums of a whole set decide. A set is accused only by what boxes
that lie in their images cannot show: numbers of another unit, an `area` that is that of another box, or boxes that
stick out of their images as they are read, while nearly all lie inside as something else. What this cannot tell:
boxes in the middle of their images, which lie inside whichever way they are read; and percents in place of pixels,
which are boxes in the upper left corner.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from operator import add
from typing import NamedTuple

from sightline.validate.dataset import Found
from sightline.validate.index import Index
from sightline.validate.signs import CENTRE, CORNERS, OWN, TOPLEFT, Format, Signs

WORDS = ("centre and size (cx cy w h)", "upper left corner and size (x y w h)", "corners (x1 y1 x2 y2)")
NEARLY_ALL = 0.95
UNIT_SHARE, FEWEST_OF_UNIT = 0.1, 3  # boxes of another unit; with fewer, all of them must be so
FEWEST, FEWEST_AREAS, FEWEST_PERCENT = 6, 3, 20
SPREAD = 0.05
# Centres read as corners, or the reverse, move a box by half its side: of small boxes few then stick out. Corners read
# as sizes make boxes as large as their images.
FEWEST_MOVED, MOVED_SHARE, FIT_MOVED = 5, 0.03, 0.98
FEWEST_OUT, OUT_SHARE = 10, 0.2  # or half of the boxes


class Set(NamedTuple):
    """The signs of a set, and the box that shows best what is wrong: its place and its numbers."""

    signs: Signs
    example: str


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
    """Accuse all boxes, if nearly all are so; else splits, else folders; and all again if it is in no single place."""
    whole = _sum(sets.values())
    message = accuse(format, whole)
    if message and not _partly(whole):
        yield Found("box-convention", ".", message)
        return
    parts = [found for split in sorted({split for _, split in sets}) for found in _of_split(sets, split, format)]
    if message and not parts:
        parts = [Found("box-convention", ".", message)]
    yield from parts


def _of_split(sets: dict[tuple[str, str], Set], split: str, format: Format) -> Iterator[Found]:
    homes = {home: part for (home, own), part in sorted(sets.items()) if own == split}
    whole = _sum(homes.values())
    message = accuse(format, whole) if split else None
    if message and not _partly(whole):
        yield Found("box-convention", split, message)
        return
    for home, part in homes.items():
        if own := accuse(format, part):
            yield Found("box-convention", home, own)


def _partly(of: Set) -> bool:
    """Tell a set in which boxes of another unit lie among those of the right one."""
    return 0 < of.signs.other < NEARLY_ALL * of.signs.boxes


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
    return _other_unit(format, own, of) or _by_area(own, of) or _other_layout(own, of)


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
        "state an 'area' that fits corners alone",
        WORDS[CORNERS],
        own,
    )


def _other_layout(own: int, of: Set) -> str | None:
    s = of.signs
    fits = [s.centre, s.topleft, s.corners]
    likely = []
    for layout in (CENTRE, TOPLEFT, CORNERS):
        if CORNERS in (own, layout):
            least, fit = max(FEWEST_MOVED, min(FEWEST_OUT, s.boxes / 2), OUT_SHARE * s.boxes), NEARLY_ALL
        else:
            least, fit = max(FEWEST_MOVED, MOVED_SHARE * s.boxes), FIT_MOVED
        if layout != own and fits[layout] >= fit * s.boxes and s.out >= least:
            likely.append(layout)
    if s.boxes < FEWEST or not likely:
        return None
    most = max(fits[layout] for layout in likely)
    what = " or ".join(WORDS[layout] for layout in likely if fits[layout] == most)
    wrong = "do not lie in their images, or have no size" if own == CORNERS else "stick out of their images"
    return _sentence(of, s.out, f"{wrong} as they are read, and {most} lie inside under another reading", what, own)


def _as(own: int, fits: Sequence[int], of: int) -> str:
    """Name the layout where it is another than the format's own."""
    best = max(range(3), key=lambda layout: (fits[layout], layout == own))
    return "" if fits[own] == fits[best] or fits[best] < NEARLY_ALL * of else f", as {WORDS[best]}"


def _sentence(of: Set, count: int, wrong: str, likely: str, own: int) -> str:
    unit = "fractions" if own == CENTRE else "pixels"
    example = f" (such as {of.example})" if of.example else ""
    return f"{count} of {of.signs.boxes} boxes {wrong}{example}: likely {likely}; expected {unit}, {WORDS[own]}"
