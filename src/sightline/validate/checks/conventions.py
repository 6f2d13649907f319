"""Recognises boxes in another convention than their format's: fractions for pixels, corners for centres, and so on.

`convention_counts` counts for each image how its boxes fit each convention; the totals of a set decide. An issue needs
evidence that boxes inside their images cannot give: numbers in another unit, an `area` that belongs to another reading,
boxes that stick out of their images while nearly all fit in another layout, or many boxes that lie outside in every
layout. Not recognised: boxes in the middle of their images, which fit in every layout; percentages instead of pixels,
which look like boxes in the upper left corner; and swapped x and y in fractions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from operator import add
from typing import NamedTuple

from sightline.config import Format
from sightline.rules import Issue
from sightline.validate.checks.convention_counts import CENTRE, CORNERS, LAYOUTS, OWN, Y_FIRST, ConventionCounts
from sightline.validate.index import Index

LAYOUT_NAMES = (
    "centre and size (cx cy w h)",
    "upper left corner and size (x y w h)",
    "corners (x1 y1 x2 y2)",
    "centre and size with y first (cy cx h w)",
    "upper left corner and size with y first (y x h w)",
    "corners with y first (y1 x1 y2 x2)",
)
EITHER_CORNERS = "corners (x1 y1 x2 y2, or with y first: y1 x1 y2 x2)"
NEARLY_ALL = 0.95
UNIT_SHARE, FEWEST_OF_UNIT = 0.1, 3  # boxes in another unit; with fewer, all boxes must be in it
FEWEST, FEWEST_AREAS, FEWEST_PERCENT = 6, 3, 20
SPREAD = 0.05
# Centres read as corners, or the reverse, shift a box by half its side, so few small boxes extend beyond their images.
# Corners read as sizes make boxes as large as their images.
FEWEST_MOVED, MOVED_SHARE, FIT_MOVED = 5, 0.03, 0.98
FEWEST_OUT, OUT_SHARE = 10, 0.2  # or half of the boxes
FEWEST_AWAY, AWAY_SHARE = 10, 0.4  # boxes outside in any layout; with fewer, FEWEST and nearly all must be so


class BoxSet(NamedTuple):
    """The counts of a set of boxes, and the place and numbers of the box that shows best what is wrong."""

    counts: ConventionCounts
    example: str


def find(index: Index, format: Format, name: str) -> Iterator[Issue]:
    """Yield an issue for each part of the set in another convention: the whole set, otherwise splits or folders.

    `name` is the name of the set, for an issue about all of it.
    """
    sets: dict[tuple[str, str], BoxSet] = {}  # by folder or file of labels, and split
    for split, text in index.images.convention_counts():
        home, example, *counts = json.loads(text)
        home = name if home == "." else home
        before = sets.get((home, split))
        if before is None:
            sets[home, split] = BoxSet(ConventionCounts(*counts), example)
        else:
            sets[home, split] = BoxSet(ConventionCounts(*map(add, before.counts, counts)), before.example or example)
    yield from _issues(sets, format, name)


def _issues(sets: dict[tuple[str, str], BoxSet], format: Format, name: str) -> Iterator[Issue]:
    """Yield one issue about the set if all of it is affected, otherwise issues about splits or folders."""
    whole = _total(sets.values())
    message = diagnose(format, whole)
    if message and (not _mixed(whole) or _everywhere(whole, sets.values())):
        yield Issue("box-convention", name, message)
        return
    parts = [found for split in sorted({split for _, split in sets}) for found in _split_issues(sets, split, format)]
    if message and not parts:
        parts = [Issue("box-convention", name, message)]
    yield from parts


def _split_issues(sets: dict[tuple[str, str], BoxSet], split: str, format: Format) -> Iterator[Issue]:
    homes = {home: part for (home, own), part in sorted(sets.items()) if own == split}
    whole = _total(homes.values())
    message = diagnose(format, whole) if split else None
    if message and not _mixed(whole):
        yield Issue("box-convention", split, message)
        return
    for home, part in homes.items():
        if own := diagnose(format, part):
            yield Issue("box-convention", home, own)


def _mixed(boxes: BoxSet) -> bool:
    """Tell whether only a part of the boxes are in another unit or belong to other images."""
    return UNIT_SHARE <= _share(boxes) < NEARLY_ALL


def _everywhere(whole: BoxSet, parts: Iterable[BoxSet]) -> bool:
    """Tell whether every part with enough boxes shares the problem of the whole."""
    return all(_share(part) >= _share(whole) / 2 for part in parts if part.counts.boxes >= FEWEST)


def _share(boxes: BoxSet) -> float:
    counts = boxes.counts
    return max(counts.other, counts.away) / counts.boxes if counts.boxes else 0.0


def _total(sets: Iterable[BoxSet]) -> BoxSet:
    total, example = [0] * len(ConventionCounts._fields), ""
    for part in sets:
        total = list(map(add, total, part.counts))
        example = example or part.example
    return BoxSet(ConventionCounts(*total), example)


def diagnose(format: Format, boxes: BoxSet) -> str | None:
    """Return a message that names the convention of the boxes; None where they fit that of the format."""
    if not boxes.counts.boxes:
        return None
    own = OWN[format]
    return (
        _other_unit(format, own, boxes)
        or _other_images(own, boxes)
        or _by_area(own, boxes)
        or _other_layout(own, boxes)
    )


def _other_unit(format: Format, own: int, boxes: BoxSet) -> str | None:
    counts = boxes.counts
    if counts.other < 2 or counts.other < UNIT_SHARE * counts.boxes:
        return None
    if counts.other < FEWEST_OF_UNIT and counts.other < counts.boxes:
        return None
    layouts, percents = counts.other_fits, counts.percent_fits
    if format == "yolo":
        if _spread_out(counts, counts.other) and max(percents) >= NEARLY_ALL * counts.other:
            what = f"percentages of the image{_as_layout(own, percents, counts.other)}"
        elif max(layouts) >= NEARLY_ALL * counts.other:
            what = f"pixels{_as_layout(own, layouts, counts.other)}"
        elif counts.other >= NEARLY_ALL * counts.boxes:
            what = _other_image_size(own, counts, counts.other)
        else:
            return None
        return _message(boxes, counts.other, "are not fractions", what, own)
    what = f"fractions of the image{_as_layout(own, layouts, counts.other)}"
    return _message(boxes, counts.other, "lie within the first pixel", what, own)


def _other_images(own: int, boxes: BoxSet) -> str | None:
    counts = boxes.counts
    if counts.away < FEWEST_AWAY and (counts.away < FEWEST or counts.away < NEARLY_ALL * counts.boxes):
        return None
    if counts.away < AWAY_SHARE * counts.boxes:
        return None
    return _message(
        boxes,
        counts.away,
        "lie outside their images however they are read",
        _other_image_size(own, counts, counts.away),
        own,
    )


def _other_image_size(own: int, counts: ConventionCounts, total: int) -> str:
    """Return what numbers may be that fit no layout of their images."""
    fits = counts.thousand_fits
    if max(fits) < NEARLY_ALL * total or counts.thousand_far < SPREAD * total:
        return "pixels of images of another size"
    return f"numbers from 0 to 1000, or pixels of images of another size{_as_layout(own, fits, total)}"


def _spread_out(counts: ConventionCounts, total: int) -> bool:
    """Tell whether boxes are spread over 0 to 100, as percentages are, and not gathered in one corner."""
    return total >= FEWEST_PERCENT and min(counts.left, counts.upper, counts.right, counts.lower) >= SPREAD * total


def _by_area(own: int, boxes: BoxSet) -> str | None:
    counts = boxes.counts
    if counts.areas < FEWEST_AREAS or 2 * counts.areas < counts.boxes:
        return None
    if counts.areas_of_corners < NEARLY_ALL * counts.areas:
        return None
    return _message(
        boxes,
        counts.areas_of_corners,
        "have an 'area' that fits corners only",
        _layout_name(CORNERS, counts.fits),
        own,
    )


def _other_layout(own: int, boxes: BoxSet) -> str | None:
    counts = boxes.counts
    likely = [layout for layout in LAYOUTS if layout != own and _explains_overhang(own, layout, counts)]
    x_first = max((counts.fits[layout] for layout in likely), default=0)
    if own != CENTRE and x_first < FIT_MOVED * max(counts.fits[Y_FIRST:]):  # fractions fit alike with x and y first
        likely = [layout for layout in range(Y_FIRST, 2 * Y_FIRST) if _explains_overhang(own, layout, counts)] or likely
    if counts.boxes < FEWEST or not likely:
        return None
    most = max(counts.fits[layout] for layout in likely)
    what = " or ".join(_layout_name(layout, counts.fits) for layout in likely if counts.fits[layout] == most)
    wrong = "do not lie in their images, or have no size" if own == CORNERS else "stick out of their images"
    return _message(
        boxes, counts.out, f"{wrong} as they are read, and {most} lie inside under another reading", what, own
    )


def _explains_overhang(own: int, layout: int, counts: ConventionCounts) -> bool:
    """Tell whether another layout explains that boxes extend beyond their images: there nearly all lie inside."""
    if layout >= Y_FIRST:
        least, fit = max(FEWEST_OUT, OUT_SHARE * counts.boxes), FIT_MOVED
    elif CORNERS in (own, layout):
        least, fit = max(FEWEST_MOVED, min(FEWEST_OUT, counts.boxes / 2), OUT_SHARE * counts.boxes), NEARLY_ALL
    else:
        least, fit = max(FEWEST_MOVED, MOVED_SHARE * counts.boxes), FIT_MOVED
    return counts.fits[layout] >= fit * counts.boxes and counts.out >= least


def _as_layout(own: int, fits: Sequence[int], total: int) -> str:
    """Return `, as …` with the layout that fits best; empty if it is the format's own."""
    best = max(range(len(fits)), key=lambda layout: (fits[layout], layout == own, -layout))
    if best >= Y_FIRST and max(fits[:Y_FIRST]) >= FIT_MOVED * fits[best]:
        best = max(LAYOUTS, key=lambda layout: (fits[layout], layout == own))
    return "" if fits[own] == fits[best] or fits[best] < NEARLY_ALL * total else f", as {_layout_name(best, fits)}"


def _layout_name(layout: int, fits: Sequence[int]) -> str:
    """Return the name of a layout; for corners both orders of x and y where both fit."""
    few, many = sorted((fits[CORNERS], fits[CORNERS + Y_FIRST]))
    if layout % Y_FIRST == CORNERS:
        if few >= FIT_MOVED * many:
            return EITHER_CORNERS
        layout = CORNERS if fits[CORNERS] == many else CORNERS + Y_FIRST
    return LAYOUT_NAMES[layout]


def _message(boxes: BoxSet, count: int, wrong: str, likely: str, own: int) -> str:
    unit = "fractions" if own == CENTRE else "pixels"
    example = f" (such as {boxes.example})" if boxes.example else ""
    return (
        f"{count} of {boxes.counts.boxes} boxes {wrong}{example}: likely {likely}; expected {unit}, {LAYOUT_NAMES[own]}"
    )
