"""Parity: compares the exported file with the checkpoint on real images, by raw outputs and by detections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.agreement import Array, Computed, compare, computed
from sightline.config import ExportConfig
from sightline.detect import Detections, Detector
from sightline.documents import Parity
from sightline.errors import ExportError
from sightline.preprocess import Image, preprocess
from sightline.scoring import FLOOR, ROUNDING

UNTRAINED = 1e-8  # below every score that the engine's initial biases give, even with a thousand classes (8e-7)


@dataclass(frozen=True)
class Answer:
    """One network's output for an image: raw, and decoded into detections above FLOOR."""

    raw: Array
    found: Detections
    computed: Callable[[], Computed]


def check(checkpoint: Any, detector: Detector, images: list[Image], tolerance: float) -> Parity:
    """Compare `checkpoint`, an engine model in evaluation mode on the CPU, with the file behind `detector`.

    `detector` must report everything above FLOOR. The detections above the file's operating confidence are compared, or
    all above FLOOR if there are none on these images. `tolerance` is the largest difference of raw outputs allowed, in
    pixels and scores. Raises ExportError if raw outputs differ by more, if a detection has no partner, if an output is
    not finite, or if both find nothing, which would prove nothing.
    """
    pairs = [(_theirs(checkpoint, detector, image), _ours(detector, image)) for image in images]
    _finite(pairs)
    operating = detector.contract.confidence
    seen = any(len(answer.found.above(operating)) for pair in pairs for answer in pair)
    confidence = operating if seen else FLOOR
    compared = [
        compare(theirs.found, ours.found, confidence, (theirs.computed, ours.computed)) for theirs, ours in pairs
    ]
    matched, unmatched = sum(item.matched for item in compared), sum(item.unmatched for item in compared)
    difference = _difference_of_rows if detector.contract.head == "nms-free" else _difference
    largest = max(difference(theirs.raw, ours.raw) for theirs, ours in pairs)
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
    """Say why the parity check failed."""
    if not parity.matched and not parity.unmatched:
        advice = "It has learned too little: train longer (train.epochs), or start from pretrained weights."
        if highest < UNTRAINED:
            advice = "Even an untrained network scores higher: training diverged. Lower train.lr0 or train.momentum."
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
        f"Every detection agrees, and rounding alone can differ as much: raise export.tolerance (default: {usual})."
        if rounded
        else "Try another export.opset."
    )
    return f"The exported file does not compute what the checkpoint computes: {'; '.join(reasons)}. {advice}"


def _finite(pairs: list[tuple[Answer, Answer]]) -> None:
    """Raise ExportError if an output is NaN or infinite."""
    for index, who in enumerate(("checkpoint", "exported file")):
        bad = sum(not np.isfinite(pair[index].raw).all() for pair in pairs)
        if bad:
            advice = "Its training diverged: lower train.lr0." if index == 0 else "Try another export.opset."
            raise ExportError(
                f"The {who} gives outputs that are not numbers (NaN or infinite) on {bad} of {len(pairs)} val images, "
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
    """Decode both outputs with the same decoder: the question is whether the networks compute the same."""
    height, width = image.shape[:2]
    return Answer(raw, detector.decode(raw, height, width), lambda: computed(detector, raw, image))


def _difference(theirs: Array, ours: Array) -> float:
    return float(np.abs(theirs - ours).max())


def _difference_of_rows(theirs: Array, ours: Array) -> float:
    """Compare each (n, 6) row of an nms-free head with its nearest: rows of equal score may swap places.

    Of the rows that tie with the last one, each network may have kept others; only the better half must be in both.
    """
    rows = theirs[theirs[:, 4] > FLOOR]
    if not len(rows):
        return 0.0
    nearest = np.abs(rows[:, None] - ours[None]).max(axis=2).min(axis=1)
    tied = rows[:, 4] <= ours[:, 4].min() + ROUNDING
    there = np.sort(nearest[tied])[: (tied.sum() + 1) // 2]
    return float(max(nearest[~tied].max(initial=0.0), there.max(initial=0.0)))
