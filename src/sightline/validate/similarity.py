"""Decides whether two pictures are copies of one another: encoded again, resized, or the same for other reasons.

Thumbnails say which pairs are worth a closer look, at 64 x 64 places. There, copies of some 300 real and 700 generated
pictures (JPEG of quality 30 to 90, a third to twice the size) differed by at most 21 grey levels. No fixed number of
levels tells copies of plain pictures from other plain pictures, so what is left is judged by the pictures themselves:

- Nothing has moved: averaged over 3 x 3 places, the difference stays within what encoding leaves everywhere, and within
  what edges explain that lie there in both. Copies reached 3.4 times that (5.0 at quality 30 on plain ground), objects
  of 15 levels on a clean ground at least 5.3.
- The grain agrees: what is left after subtracting a local mean, scaled to the same strength everywhere, correlates.
  Copies with visible grain reached 0.4 or more but at quality 30, pictures of different ground at most 0.3.
- Where there is no grain to compare, as in a black picture, two are the same if nothing differs by more than a level.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLOSER = 64  # side of what is looked at closely
MEAN_LEVELS = 3.0  # most mean difference of grey levels between two thumbnails of the same picture
CLOSER_LEVELS = 2.0  # times near_levels, which makes 24
MOVED = 5.0  # times the noise and a part of the edges
EDGES = 0.25  # of the grey levels around a place, which resizing may shift
CODING = 0.6  # grey levels that encoding changes anyway
TEXTURE = 0.35  # correlation of the grain
GRAIN = 1.0  # grey levels: weaker grain counts less
SHOWN = 0.03  # share of places with grain below which there is nothing to compare
SAME = 1.0  # most difference in grey levels of pictures that show nothing
DEVIATION = 1.4826  # from a median absolute difference to a standard deviation, for a normal distribution


def alike(a: Floats, b: Floats, levels: float) -> bool:
    """Tell whether two thumbnails may show the same picture: no place differs by more than `levels`, few by much."""
    difference = np.abs(a - b)
    return bool(difference.max() <= levels and difference.mean() <= MEAN_LEVELS)


def same_ground(a: Floats, b: Floats) -> bool:
    """Tell whether two close looks, of equal side, have the same grain; True where neither has any."""
    first, second = _grain(a), _grain(b)
    strengths = float(np.mean(first * first)), float(np.mean(second * second))
    if min(strengths) < SHOWN:
        return bool(np.abs(a - b).max() <= SAME)
    return float(np.mean(first * second)) >= TEXTURE * float(np.sqrt(strengths[0] * strengths[1]))


def same_picture(a: Floats, b: Floats, levels: float) -> bool:
    """Tell whether two close looks, of equal side, show the same picture; `levels` is near_levels."""
    difference = a - b
    if np.abs(difference).max() > CLOSER_LEVELS * levels:
        return False
    difference -= np.median(difference)
    noise = DEVIATION * float(np.median(np.abs(difference))) + CODING
    moved = np.abs(cv2.blur(difference, (3, 3), borderType=cv2.BORDER_REPLICATE))
    if np.any(moved > MOVED * (noise + EDGES * np.minimum(_range(a), _range(b)))):
        return False
    return same_ground(a, b)


def reduced(look: Floats, side: int) -> Floats:
    """Return a close look at a lower resolution: no more is in a picture that is smaller than the look."""
    while len(look) // 2 >= 16 and len(look) > side:
        look = look.reshape(len(look) // 2, 2, -1, 2).mean(axis=(1, 3))
    return look


def _grain(look: Floats) -> Floats:
    high = look - cv2.blur(look, (5, 5), borderType=cv2.BORDER_REPLICATE)
    strength = cv2.blur(high * high, (7, 7), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(high / np.sqrt(strength + GRAIN**2), np.float32)


def _range(look: Floats) -> Floats:
    """Return the difference between the brightest and the darkest of the 3 x 3 places around each."""
    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(look, around) - cv2.erode(look, around), np.float32)
