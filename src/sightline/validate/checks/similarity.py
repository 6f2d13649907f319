"""Decides whether two pictures are copies of each other, such as re-encoded or resized ones.

Thumbnails select the pairs for a close look at 64 x 64 places. There, copies of some 300 real and 700 generated
pictures (JPEG of quality 30 to 90, a third to twice the size) differed by at most 21 grey levels. No fixed limit
separates copies of plain pictures from other plain pictures, so two more tests compare the pictures with their own
noise and contrast:

- Nothing has moved: averaged over 3 x 3 places, the difference stays within the noise of encoding plus what edges at
  the same place explain. Copies reached 3.4 times that (more only at quality 30 on a background without any grain),
  objects of 15 levels on a clean background at least 5.3 times.
- The detail agrees: what remains after subtracting a local mean correlates. Copies with visible grain or objects
  reached 0.5 or more, pictures of different backgrounds less than 0.25. Strong grain must also agree after it is scaled
  to the same strength everywhere, because the rim of a microscope's field would outweigh it.

A picture without any visible detail, as of a closed shutter, is a copy of nothing: no test could tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLOSER = 64  # side of a close look, in places
SMALLEST = 16  # least side that a close look is reduced to
OVERSAMPLED = 1.5  # pixels per place that a picture needs for a comparison
CLOSER_LEVELS = 2.0  # times near_levels, which makes 24
MOVED = 4.0  # times the noise plus EDGES of the local range; a larger difference means that something moved
EDGES = 0.25  # share of the local range that resizing may change
CODING = 0.6  # grey levels by which encoding changes any place
AGREES = 0.35  # least correlation of the detail of copies
VISIBLE = 2.0  # grey levels by which visible detail differs from its surroundings
GRAIN = 1.0  # grey levels: weaker grain counts less
GRAINY = 0.08  # mean square of normalised detail (1: strong grain everywhere) from which it must agree too
DEVIATION = 1.4826  # from a median absolute difference to a standard deviation, for a normal distribution


def same_scene(a: Floats, b: Floats) -> bool:
    """Tell whether two close looks (n, n) show the same detail: objects, background or grain."""
    details = _detail(a), _detail(b)
    normalised = _normalised(details[0]), _normalised(details[1])
    if min(np.mean(grain * grain) for grain in normalised) >= GRAINY:
        return min(_correlation(*details), _correlation(*normalised)) >= AGREES
    return min(np.abs(detail).max() for detail in details) >= VISIBLE and _correlation(*details) >= AGREES


def same_picture(a: Floats, b: Floats, levels: float) -> bool:
    """Tell whether two close looks (n, n) show the same picture; `levels` is `near_levels` of the policy."""
    difference = a - b
    if np.abs(difference).max() > CLOSER_LEVELS * levels:
        return False
    difference -= np.median(difference)
    noise = DEVIATION * float(np.median(np.abs(difference))) + CODING
    moved = np.abs(_local_mean(difference, 3))
    if np.any(moved > MOVED * (noise + EDGES * np.minimum(_local_range(a), _local_range(b)))):
        return False
    return same_scene(a, b)


def reduced(look: Floats, pixels: int) -> Floats:
    """Return a close look, averaged down to a resolution that a picture of `pixels` on its shorter side still has."""
    while len(look) > SMALLEST and OVERSAMPLED * len(look) > pixels:
        look = look.reshape(len(look) // 2, 2, -1, 2).mean(axis=(1, 3))
    return look


def _detail(look: Floats) -> Floats:
    """Return the difference of each place from its surroundings, a high-pass filter."""
    return look - _local_mean(look, 5)


def _normalised(detail: Floats) -> Floats:
    return np.asarray(detail / np.sqrt(_local_mean(detail * detail, 7) + GRAIN**2), np.float32)


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def _local_mean(look: Floats, side: int) -> Floats:
    """Return the mean of side x side places around each; edges are extended by their own values."""
    padded, count = np.pad(look, side // 2, "edge"), len(look)
    rows = np.sum([padded[step : step + count] for step in range(side)], axis=0)
    return np.asarray(np.sum([rows[:, step : step + count] for step in range(side)], axis=0) / side**2, np.float32)


def _local_range(look: Floats) -> Floats:
    """Return the difference of the brightest and the darkest of the 3 x 3 places around each."""
    padded = np.pad(look, 1, "edge")
    return _extreme(padded, np.maximum) - _extreme(padded, np.minimum)


def _extreme(padded: Floats, extreme: np.ufunc) -> Floats:
    rows = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]), np.float32)
