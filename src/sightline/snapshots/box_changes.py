"""Which box of an image became which, when its labels were changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.boxes import iou_matrix

LEAST = 0.5  # overlap from which two boxes are taken for the same object
Named = tuple[str, float, float, float, float]  # class name, cx, cy, w, h


class BoxChange(NamedTuple):
    """A box that is new (no `before`), gone (no `after`), or changed; `iou` is the overlap of the two."""

    before: Named | None
    after: Named | None
    iou: float = 0.0


def changes(before: Iterable[Named], after: Iterable[Named]) -> list[BoxChange]:
    """Compare the boxes of one image: equal ones are left out, the others pair up, those that overlap most first."""
    left, right = Counter(before), Counter(after)
    old, new = sorted((left - right).elements()), sorted((right - left).elements())
    overlaps = iou_matrix(_corners(old), _corners(new))
    candidates = [(float(overlaps[i, j]), int(i), int(j)) for i, j in np.argwhere(overlaps >= LEAST)]
    # Where overlaps are equal, a box of the same class is the likelier one.
    candidates.sort(key=lambda c: (-round(c[0], 6), old[c[1]][0] != new[c[2]][0], c[1], c[2]))
    found: list[BoxChange] = []
    free_old, free_new = set(range(len(old))), set(range(len(new)))
    for iou, i, j in candidates:
        if i in free_old and j in free_new:
            free_old.remove(i)
            free_new.remove(j)
            found.append(BoxChange(old[i], new[j], iou))
    found += [BoxChange(old[i], None) for i in sorted(free_old)]
    found += [BoxChange(None, new[j]) for j in sorted(free_new)]
    return found


def _corners(boxes: Sequence[Named]) -> NDArray[np.float64]:
    rows: NDArray[Any] = np.array([box[1:] for box in boxes], np.float64).reshape(-1, 4)
    return np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], axis=1)
