"""Recognises coordinates of another convention: fractions for pixels, corners for centres, and the like.

An image counts how its boxes fit each convention; the sums of a whole set decide. A set is accused only by what boxes
that lie in their images cannot show: numbers of another unit, an `area` that is that of another box, boxes that
stick out of their images as they are read, while nearly all lie inside as something else, or many boxes that lie
outside however they are read. What this cannot tell: boxes in the middle of their images, which lie inside whichever
way they are read; percents in place of pixels, which are boxes in the upper left corner; and x from y in fractions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from operator import add
from typing import NamedTuple

from sightline.config import Format
from sightline.rules import Issue
from sightline.validate.checks.convention_counts import CENTRE, CORNERS, LAYOUTS, OWN, Y_FIRST, Signs
from sightline.validate.index import Index

WORDS = (
    "centre and size (cx cy w h)",
    "upper left corner and size (x y w h)",
    "corners (x1 y1 x2 y2)",
    "centre and size with y first (cy cx h w)",
    "upper left corner and size with y first (y x h w)",
    "corners with y first (y1 x1 y2 x2)",
)
EITHER_CORNERS = "corners (x1 y1 x2 y2, or with y first: y1 x1 y2 x2)"
NEARLY_ALL = 0.95
UNIT_SHARE, FEWEST_OF_UNIT = 0.1, 3  # boxes of another unit; with fewer, all of them must be so
FEWEST, FEWEST_AREAS, FEWEST_PERCENT = 6, 3, 20
SPREAD = 0.05
# Centres read as corners, or the reverse, move a box by half its side: of small boxes few then stick out. Corners read
# as sizes make boxes as large as their images.
FEWEST_MOVED, MOVED_SHARE, FIT_MOVED = 5, 0.03, 0.98
FEWEST_OUT, OUT_SHARE = 10, 0.2  # or half of the boxes
FEWEST_AWAY, AWAY_SHARE = 10, 0.4  # boxes outside in any layout; with fewer, FEWEST and nearly all must be so


class Set(NamedTuple):
    """The signs of a set, and the box that shows best what is wrong: its place and its numbers."""

    signs: Signs
    example: str


def judge(index: Index, format: Format, name: str) -> Iterator[Issue]:
    """Yield what the boxes of an index say of their convention: of all of them, else of a split, else of a folder.

    `name` is that of the set, for what is true of all of it.
    """
    sets: dict[tuple[str, str], Set] = {}  # by folder or file of labels, and split
    for split, text in index.images.convention_counts():
        home, example, *counts = json.loads(text)
        home = name if home == "." else home
        before = sets.get((home, split))
        if before is None:
            sets[home, split] = Set(Signs(*counts), example)
        else:
            sets[home, split] = Set(Signs(*map(add, before.signs, counts)), before.example or example)
    yield from _levels(sets, format, name)


def _levels(sets: dict[tuple[str, str], Set], format: Format, name: str) -> Iterator[Issue]:
    """Accuse all boxes, if nearly all are so, or some in every part; else splits, else folders."""
    whole = _sum(sets.values())
    message = accuse(format, whole)
    if message and (not _partly(whole) or _everywhere(whole, sets.values())):
        yield Issue("box-convention", name, message)
        return
    parts = [found for split in sorted({split for _, split in sets}) for found in _of_split(sets, split, format)]
    if message and not parts:
        parts = [Issue("box-convention", name, message)]
    yield from parts


def _of_split(sets: dict[tuple[str, str], Set], split: str, format: Format) -> Iterator[Issue]:
    homes = {home: part for (home, own), part in sorted(sets.items()) if own == split}
    whole = _sum(homes.values())
    message = accuse(format, whole) if split else None
    if message and not _partly(whole):
        yield Issue("box-convention", split, message)
        return
    for home, part in homes.items():
        if own := accuse(format, part):
            yield Issue("box-convention", home, own)


def _partly(of: Set) -> bool:
    """Tell whether boxes of another unit, or of other images, lie among right ones."""
    return UNIT_SHARE <= _share(of) < NEARLY_ALL


def _everywhere(whole: Set, parts: Iterable[Set]) -> bool:
    """Tell whether no part is free of what is wrong with the whole, apart from parts of a few boxes."""
    return all(_share(part) >= _share(whole) / 2 for part in parts if part.signs.boxes >= FEWEST)


def _share(of: Set) -> float:
    s = of.signs
    return max(s.other, s.away) / s.boxes if s.boxes else 0.0


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
    return _other_unit(format, own, of) or _elsewhere(own, of) or _by_area(own, of) or _other_layout(own, of)


def _other_unit(format: Format, own: int, of: Set) -> str | None:
    s = of.signs
    if s.other < 2 or s.other < UNIT_SHARE * s.boxes or (s.other < FEWEST_OF_UNIT and s.other < s.boxes):
        return None
    layouts, percents = s.other_fits, s.percent_fits
    if format == "yolo":
        if _spread(s, s.other) and max(percents) >= NEARLY_ALL * s.other:
            what = f"percents of the image{_as(own, percents, s.other)}"
        elif max(layouts) >= NEARLY_ALL * s.other:
            what = f"pixels{_as(own, layouts, s.other)}"
        elif s.other >= NEARLY_ALL * s.boxes:
            what = _of_other_images(own, s, s.other)
        else:
            return None
        return _sentence(of, s.other, "are not fractions", what, own)
    what = f"fractions of the image{_as(own, layouts, s.other)}"
    return _sentence(of, s.other, "lie within the first pixel", what, own)


def _elsewhere(own: int, of: Set) -> str | None:
    s = of.signs
    if s.away < FEWEST_AWAY and (s.away < FEWEST or s.away < NEARLY_ALL * s.boxes):
        return None
    if s.away < AWAY_SHARE * s.boxes:
        return None
    return _sentence(
        of, s.away, "lie outside their images however they are read", _of_other_images(own, s, s.away), own
    )


def _of_other_images(own: int, s: Signs, of: int) -> str:
    """Say which numbers these may be that fit no layout in their images."""
    fits = s.thousand_fits
    if max(fits) < NEARLY_ALL * of or s.thousand_far < SPREAD * of:
        return "pixels of images of another size"
    return f"numbers from 0 to 1000, or pixels of images of another size{_as(own, fits, of)}"


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
        "have an 'area' that fits corners only",
        _words(CORNERS, s.fits),
        own,
    )


def _other_layout(own: int, of: Set) -> str | None:
    s = of.signs
    likely = [layout for layout in LAYOUTS if layout != own and _moved(own, layout, s)]
    x_first = max((s.fits[layout] for layout in likely), default=0)
    if own != CENTRE and x_first < FIT_MOVED * max(s.fits[Y_FIRST:]):  # fractions fit alike with x and y first
        likely = [layout for layout in range(Y_FIRST, 2 * Y_FIRST) if _moved(own, layout, s)] or likely
    if s.boxes < FEWEST or not likely:
        return None
    most = max(s.fits[layout] for layout in likely)
    what = " or ".join(_words(layout, s.fits) for layout in likely if s.fits[layout] == most)
    wrong = "do not lie in their images, or have no size" if own == CORNERS else "stick out of their images"
    return _sentence(of, s.out, f"{wrong} as they are read, and {most} lie inside under another reading", what, own)


def _moved(own: int, layout: int, s: Signs) -> bool:
    """Tell whether enough boxes stick out that would lie in their images in another layout."""
    if layout >= Y_FIRST:
        least, fit = max(FEWEST_OUT, OUT_SHARE * s.boxes), FIT_MOVED
    elif CORNERS in (own, layout):
        least, fit = max(FEWEST_MOVED, min(FEWEST_OUT, s.boxes / 2), OUT_SHARE * s.boxes), NEARLY_ALL
    else:
        least, fit = max(FEWEST_MOVED, MOVED_SHARE * s.boxes), FIT_MOVED
    return s.fits[layout] >= fit * s.boxes and s.out >= least


def _as(own: int, fits: Sequence[int], of: int) -> str:
    """Name the layout where it is another than the format's own."""
    best = max(range(len(fits)), key=lambda layout: (fits[layout], layout == own, -layout))
    if best >= Y_FIRST and max(fits[:Y_FIRST]) >= FIT_MOVED * fits[best]:
        best = max(LAYOUTS, key=lambda layout: (fits[layout], layout == own))
    return "" if fits[own] == fits[best] or fits[best] < NEARLY_ALL * of else f", as {_words(best, fits)}"


def _words(layout: int, fits: Sequence[int]) -> str:
    """Name a layout; corners with both orders of x and y, where their images do not tell which it is."""
    few, many = sorted((fits[CORNERS], fits[CORNERS + Y_FIRST]))
    if layout % Y_FIRST == CORNERS:
        if few >= FIT_MOVED * many:
            return EITHER_CORNERS
        layout = CORNERS if fits[CORNERS] == many else CORNERS + Y_FIRST
    return WORDS[layout]


def _sentence(of: Set, count: int, wrong: str, likely: str, own: int) -> str:
    unit = "fractions" if own == CENTRE else "pixels"
    example = f" (such as {of.example})" if of.example else ""
    return f"{count} of {of.signs.boxes} boxes {wrong}{example}: likely {likely}; expected {unit}, {WORDS[own]}"
