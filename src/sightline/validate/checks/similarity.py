"""Decides whether two pictures are copies of one another: encoded again, resized, or the same for other reasons.

Thumbnails say which pairs are worth a closer look, at 64 x 64 places. There, copies of some 300 real and 700 generated
pictures (JPEG of quality 30 to 90, a third to twice the size) differed by at most 21 grey levels. No fixed number of
levels tells copies of plain pictures from other plain pictures, so what is left is judged by the pictures themselves:

- Nothing has moved: averaged over 3 x 3 places, the difference stays within what encoding leaves everywhere, and within
  what edges explain that lie there in both. Copies reached 3.4 times that (more only at quality 30 on ground without
  any grain), objects of 15 levels on a clean ground at least 5.3.
- What is shown agrees: what is left after subtracting a local mean correlates. Copies with visible grain or objects
  reached 0.5 or more, pictures of different ground less than 0.25. Where there is much grain it has to agree as well
  after it is scaled to the same strength everywhere: the rim of a microscope's field would outweigh it.

A picture without anything that stands out, as of a closed shutter, is a copy of nothing: no rule could tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLOSER = 64  # side of what is looked at closely
SMALLEST = 16  # side that a look is reduced to at most
OVERSAMPLED = 1.5  # pixels a place that a copy needs to be compared
CLOSER_LEVELS = 2.0  # times near_levels, which makes 24
MOVED = 4.0  # times the noise and a part of the edges
EDGES = 0.25  # of the grey levels around a place, which resizing may shift
CODING = 0.6  # grey levels that encoding changes anyway
AGREES = 0.35  # least correlation of what is shown
VISIBLE = 2.0  # grey levels by which something stands out from its surroundings
GRAIN = 1.0  # grey levels: weaker grain counts less
GRAINY = 0.08  # mean square of scaled grain, 1 where it is strong everywhere, from which it has to agree
DEVIATION = 1.4826  # from a median absolute difference to a standard deviation, for a normal distribution


def same_ground(a: Floats, b: Floats) -> bool:
    """Tell whether two close looks, of equal side, show the same things or the same grain."""
    highs = _high(a), _high(b)
    grains = _scaled(highs[0]), _scaled(highs[1])
    if min(np.mean(grain * grain) for grain in grains) >= GRAINY:
        return min(_correlation(*highs), _correlation(*grains)) >= AGREES
    return min(np.abs(high).max() for high in highs) >= VISIBLE and _correlation(*highs) >= AGREES


def same_picture(a: Floats, b: Floats, levels: float) -> bool:
    """Tell whether two close looks, of equal side, show the same picture; `levels` is near_levels."""
    difference = a - b
    if np.abs(difference).max() > CLOSER_LEVELS * levels:
        return False
    difference -= np.median(difference)
    noise = DEVIATION * float(np.median(np.abs(difference))) + CODING
    moved = np.abs(_around(difference, 3))
    if np.any(moved > MOVED * (noise + EDGES * np.minimum(_range(a), _range(b)))):
        return False
    return same_ground(a, b)


def reduced(look: Floats, pixels: int) -> Floats:
    """Return a close look at the resolution that a copy of so many pixels, on its shorter side, can have."""
    while len(look) > SMALLEST and OVERSAMPLED * len(look) > pixels:
        look = look.reshape(len(look) // 2, 2, -1, 2).mean(axis=(1, 3))
    return look


def _high(look: Floats) -> Floats:
    """Return what differs from its surroundings."""
    return look - _around(look, 5)


def _scaled(high: Floats) -> Floats:
    return np.asarray(high / np.sqrt(_around(high * high, 7) + GRAIN**2), np.float32)


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def _around(look: Floats, side: int) -> Floats:
    """Return the mean of side x side places around each; beyond the edge lie its own."""
    padded, count = np.pad(look, side // 2, "edge"), len(look)
    rows = np.sum([padded[step : step + count] for step in range(side)], axis=0)
    return np.asarray(np.sum([rows[:, step : step + count] for step in range(side)], axis=0) / side**2, np.float32)


def _range(look: Floats) -> Floats:
    """Return the difference between the brightest and the darkest of the 3 x 3 places around each."""
    padded = np.pad(look, 1, "edge")
    return _extreme(padded, np.maximum) - _extreme(padded, np.minimum)


def _extreme(padded: Floats, of: np.ufunc) -> Floats:
    rows = of(of(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(of(of(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]), np.float32)
