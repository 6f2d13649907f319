"""The exported file against the checkpoint, on real images: raw outputs, and detections that a user would see.

Two computations of one network differ by roundings. Where scores tie, as they do when they crowd below 1, a rounding
decides which of two boxes suppresses the other, and which one the limit of an image still takes in. So a detection
counts as the same if the other network *computes* it (box, class and score), even where it then reports its equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.boxes import iou_matrix
from sightline.config import ExportConfig
from sightline.detect import Detections, Detector
from sightline.documents import Parity
from sightline.errors import ExportError
from sightline.preprocess import Image, preprocess, unletterbox
from sightline.scoring import FLOOR, ROUNDING

SAME_BOX = 0.95  # IoU above which two boxes are the same detection
SAME_PIXELS = 0.1  # or as near as this, in original pixels: a sliver at the edge moves little and overlaps badly
SAME_SCORE = 0.01  # share of a score by which two differ that are the same
UNTRAINED = 1e-8  # a score below what the engine's first biases give, even with a thousand classes (8e-7)
Array = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Computed:
    """All that a network says about an image before anything is chosen: a row a box, with its score for each class."""

    boxes: Array  # (n, 4) x1 y1 x2 y2 in original pixels, clipped
    scores: Array  # (n, classes)
    cut: float  # rows of lower scores are not there, as the network keeps its best; 0 where it keeps all


@dataclass(frozen=True)
class Answer:
    """One network's output for an image: raw, and what is found in it above FLOOR."""

    raw: Array
    found: Detections
    computed: Callable[[], Computed]


def check(checkpoint: Any, detector: Detector, images: list[Image], tolerance: float) -> Parity:
    """Compare `checkpoint`, an engine model in evaluation mode on the CPU, with the file behind `detector`.

    `detector` must find everything above FLOOR. Compared is what the file reports at its own operating confidence; if
    that is nothing on these images, everything above FLOOR. Raises ExportError if the two differ by more than
    `tolerance` or in a detection, if one gives what is no number, or if both find nothing: then nothing was shown.
    """
    pairs = [(_theirs(checkpoint, detector, image), _ours(detector, image)) for image in images]
    _finite(pairs)
    operating = detector.contract.confidence
    seen = any(len(answer.found.above(operating)) for pair in pairs for answer in pair)
    confidence = operating if seen else FLOOR
    counts = [
        _compare(theirs.found, ours.found, confidence, (theirs.computed, ours.computed)) for theirs, ours in pairs
    ]
    matched, unmatched = (sum(column) for column in zip(*counts, strict=True))
    compare = _difference_of_rows if detector.contract.head == "nms-free" else _difference
    largest = max(compare(theirs.raw, ours.raw) for theirs, ours in pairs)
    parity = Parity(
        images=len(images),
        max_abs_diff=largest,
        tolerance=tolerance,
        confidence=confidence,
        matched=matched,
        unmatched=unmatched,
        passed=matched > 0 and unmatched == 0 and largest <= tolerance,
    )
    if not parity.passed:
        highest = max(float(theirs.computed().scores.max()) for theirs, _ in pairs)
        raise ExportError(_reason(parity, highest))
    return parity


def _reason(parity: Parity, highest: float) -> str:
    """Say why parity was not shown."""
    if not parity.matched and not parity.unmatched:
        advice = "It has learned too little: train longer (train.epochs), or start from pretrained weights."
        if highest < UNTRAINED:
            advice = "An untrained network gives more: its training diverged. Lower train.lr0 or train.momentum."
        return (
            f"The checkpoint finds nothing above confidence {FLOOR} on {parity.images} val images (its highest score "
            f"there: {highest:.2g}), so nothing shows that the exported file equals it. {advice}"
        )
    reasons = []
    if parity.max_abs_diff > parity.tolerance:
        reasons.append(f"raw outputs differ by up to {parity.max_abs_diff:.3g} (export.tolerance: {parity.tolerance})")
    if parity.unmatched:
        reasons.append(
            f"{parity.unmatched} of {parity.matched + parity.unmatched} detections above confidence "
            f"{parity.confidence:.10g} have no partner of the same box, class and score"
        )
    usual = ExportConfig().tolerance
    rounded = not parity.unmatched and parity.max_abs_diff <= usual
    advice = (
        f"Every detection agrees, and roundings alone differ as much: raise export.tolerance (default: {usual})."
        if rounded
        else "Another export.opset may compute it."
    )
    return f"The exported file does not compute what the checkpoint computes: {'; '.join(reasons)}. {advice}"


def _finite(pairs: list[tuple[Answer, Answer]]) -> None:
    """Raise ExportError if a network's output is not a number somewhere."""
    for index, who in enumerate(("checkpoint", "exported file")):
        bad = sum(not np.isfinite(pair[index].raw).all() for pair in pairs)
        if bad:
            advice = "Its training diverged: lower train.lr0." if index == 0 else "Try another export.opset."
            raise ExportError(
                f"The {who} gives outputs that are no numbers (NaN or infinite) on {bad} of {len(pairs)} val images, "
                f"so it cannot be used. {advice}"
            )


def _theirs(checkpoint: Any, detector: Detector, image: Image) -> Answer:
    import torch

    blob = preprocess(image, detector.contract.image_size)[None]
    with torch.inference_mode():
        answer = checkpoint(torch.from_numpy(blob))
    raw: Array = (answer[0] if isinstance(answer, (list, tuple)) else answer)[0].numpy()
    return _answer(detector, raw, image)


def _ours(detector: Detector, image: Image) -> Answer:
    return _answer(detector, detector.raw([image])[0], image)


def _answer(detector: Detector, raw: Array, image: Image) -> Answer:
    """Decode with one decoder for both: the question is whether the network computes the same."""
    height, width = image.shape[:2]

    def computed() -> Computed:
        size, classes = detector.contract.image_size, len(detector.contract.classes)
        if detector.contract.head == "nms-free":
            boxes, scores, cut = raw[:, :4], np.zeros((len(raw), classes), np.float32), float(raw[:, 4].min())
            scores[np.arange(len(raw)), raw[:, 5].astype(np.int64)] = raw[:, 4]
        else:
            centre, extent = raw[:2].T, raw[2:4].T
            boxes, scores, cut = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1), raw[4:].T, 0.0
        return Computed(unletterbox(boxes, size, height, width), scores, cut)

    return Answer(raw, detector.decode(raw, height, width), computed)


def _difference(theirs: Array, ours: Array) -> float:
    return float(np.abs(theirs - ours).max())


def _difference_of_rows(theirs: Array, ours: Array) -> float:
    """Compare rows of an nms-free head, which may swap places where scores are equal: each with its nearest.

    Rows that tie with the last one may have lost their place to one another; the better half of them must be there.
    """
    rows = theirs[theirs[:, 4] > FLOOR]
    if not len(rows):
        return 0.0
    nearest = np.abs(rows[:, None] - ours[None]).max(axis=2).min(axis=1)
    tied = rows[:, 4] <= ours[:, 4].min() + ROUNDING
    there = np.sort(nearest[tied])[: (tied.sum() + 1) // 2]
    return float(max(nearest[~tied].max(initial=0.0), there.max(initial=0.0)))


def _compare(
    theirs: Detections,
    ours: Detections,
    confidence: float,
    computed: tuple[Callable[[], Computed], Callable[[], Computed]] | None = None,
) -> tuple[int, int]:
    """Count detections of the checkpoint above `confidence` that the file has too, and those that only one has.

    `theirs` and `ours` hold everything above FLOOR, so a rounding lifts none of them over `confidence` unseen. Those
    without a partner among the other's are looked for in all that the other has `computed`.
    """
    matched = unmatched = 0
    for index, (a, b) in enumerate(((theirs, ours), (ours, theirs))):
        clear = a.above(confidence)
        of_class = np.where(clear.classes[:, None] == b.classes[None], b.scores[None], np.float32(-1))
        same = np.asarray(_same(clear.boxes, clear.scores, b.boxes, of_class).any(axis=1))
        (alone,) = np.nonzero(~same)
        if len(alone) and computed:
            there, tied = _search(clear, alone, computed[1 - index]())
            same[alone[there]] = True
            # Most must be compared: a file that computes something else may tie as well.
            excused = int(tied.sum()) if tied.sum() <= same.sum() else 0
        else:
            excused = 0
        partnered = int(same.sum())
        matched = partnered if a is theirs else matched
        unmatched += len(clear) - partnered - excused
    return matched, unmatched


def _search(clear: Detections, alone: NDArray[np.int64], other: Computed) -> tuple[Flags, Flags]:
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
