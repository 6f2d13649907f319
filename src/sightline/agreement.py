"""Whether two computations of one network agree on an image: every detection of either has a partner in the other.

Two computations of one network differ by roundings. Where scores tie, as they do when they crowd below 1, a rounding
decides which of two boxes suppresses the other, and which one the limit of an image still takes in. So a detection
counts as the same if the other one *computes* it (box, class and score), even where it then reports its equal.

Export compares the file with the checkpoint by this, sample the file here with the file as evaluate ran it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.boxes import Indices, iou_matrix
from sightline.detect import Detections, Detector
from sightline.preprocess import Image, unletterbox
from sightline.scoring import ROUNDING

SAME_BOX = 0.95  # IoU above which two boxes are the same detection
SAME_PIXELS = 0.1  # or as near as this, in original pixels: a sliver at the edge moves little and overlaps badly
SAME_SCORE = 0.01  # share of a score by which two differ that are the same
Array = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Computed:
    """A network's whole output for an image, before any selection: a row per box, with its score for each class."""

    boxes: Array  # (n, 4) x1 y1 x2 y2 in original pixels, clipped
    scores: Array  # (n, classes)
    cut: float  # the network dropped rows of lower scores; 0 where it keeps all


class Comparison(NamedTuple):
    """How the detections above a confidence compare: pairs, and those of either that the other does not compute."""

    matched: int
    theirs: Detections
    ours: Detections

    @property
    def unmatched(self) -> int:
        """Detections of either that the other does not compute."""
        return len(self.theirs) + len(self.ours)


def computed(detector: Detector, raw: Array, image: Image) -> Computed:
    """Return what `raw`, one row of `Detector.raw` or a checkpoint's own, says of `image` before any selection."""
    height, width = image.shape[:2]
    size, classes = detector.contract.image_size, len(detector.contract.classes)
    if detector.contract.head == "nms-free":
        boxes, scores, cut = raw[:, :4], np.zeros((len(raw), classes), np.float32), float(raw[:, 4].min())
        scores[np.arange(len(raw)), raw[:, 5].astype(np.int64)] = raw[:, 4]
    else:
        centre, extent = raw[:2].T, raw[2:4].T
        boxes, scores, cut = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1), raw[4:].T, 0.0
    return Computed(unletterbox(boxes, size, height, width), scores, cut)


def reported(found: Detections, other: Computed, iou: float, most: int) -> Computed:
    """Return what a network must have computed that kept only the detections `found`, if it computed what `other` did.

    Besides its detections, that is what these suppress in the other: boxes of their class that overlap one of them by
    more than `iou` and score no higher; and of a box that is one of them, the scores for all classes. `most` is the
    limit per image: where it is reached, lower scores were dropped.
    """
    rows = np.zeros((len(found), other.scores.shape[1]), np.float32)
    rows[np.arange(len(found)), found.classes] = found.scores
    implied = np.zeros_like(other.scores)
    overlapping = iou_matrix(other.boxes, found.boxes) > iou
    for index in np.unique(found.classes):
        highest = np.where(overlapping & (found.classes == index), found.scores, 0.0).max(axis=1)
        scores = other.scores[:, index]
        implied[:, index] = np.where(scores <= highest * (1 + SAME_SCORE), scores, 0.0)
    whole = _same(found.boxes, found.scores, other.boxes, other.scores[:, found.classes].T).any(axis=0)
    implied[whole] = other.scores[whole]
    cut = float(found.scores.min()) if len(found) >= most else 0.0
    return Computed(np.concatenate([found.boxes, other.boxes]), np.concatenate([rows, implied]), cut)


def compare(
    theirs: Detections,
    ours: Detections,
    confidence: float,
    computed: tuple[Callable[[], Computed], Callable[[], Computed]] | None = None,
) -> Comparison:
    """Find the detections above `confidence` that both have, and those that only one of the two computes.

    `theirs` and `ours` hold everything above the scoring floor, so a rounding lifts none of them over `confidence`
    unseen. Those without a partner among the other's are looked for in all that the other has `computed`.
    """
    matched = 0
    alone = []
    for index, (a, b) in enumerate(((theirs, ours), (ours, theirs))):
        clear = a.above(confidence)
        of_class = np.where(clear.classes[:, None] == b.classes[None], b.scores[None], np.float32(-1))
        same = np.asarray(_same(clear.boxes, clear.scores, b.boxes, of_class).any(axis=1))
        excused = np.zeros_like(same)
        (lone,) = np.nonzero(~same)
        if len(lone) and computed:
            there, tied = _search(clear, lone, computed[1 - index]())
            same[lone[there]] = True
            # Most must be compared: a file that computes something else may tie as well.
            if tied.sum() <= same.sum():
                excused[lone[tied]] = True
        matched = int(same.sum()) if a is theirs else matched
        alone.append(clear.take(np.nonzero(~same & ~excused)[0]))
    return Comparison(matched, *alone)


def _search(clear: Detections, alone: Indices, other: Computed) -> tuple[Flags, Flags]:
    """Say of each detection `alone` whether the other computed it, and whether it ties with what the other left out."""
    found = []
    for index in alone:
        scores = other.scores[:, clear.classes[index]]
        box, score = clear.boxes[index : index + 1], clear.scores[index : index + 1]
        (near,) = np.nonzero(np.abs(scores - score) <= SAME_SCORE * score)
        found.append(bool(_same(box, score, other.boxes[near], scores[None, near]).any()))
    there: Flags = np.array(found)
    return there, ~there & (clear.scores[alone] <= other.cut + ROUNDING)


def _same(boxes: Array, scores: Array, others: Array, their_scores: Array) -> Flags:
    """Compare n boxes and scores with m others, whose (n, m) scores are those for the class of each of the n."""
    near = np.abs(boxes[:, None] - others[None]).max(axis=2, initial=0.0) <= SAME_PIXELS
    overlapping = iou_matrix(boxes, others) >= SAME_BOX
    same: Flags = (near | overlapping) & (np.abs(their_scores - scores[:, None]) <= SAME_SCORE * scores[:, None])
    return same
