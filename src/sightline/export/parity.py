"""The exported file against the checkpoint, on real images: raw outputs, and detections that a user would see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.artifacts import Parity
from sightline.detect import Detections, Detector, Image, preprocess
from sightline.errors import ExportError
from sightline.matching import iou_matrix
from sightline.scoring import FLOOR

SAME_BOX = 0.95  # IoU above which two boxes are the same detection
SAME_SCORE = 0.01
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """One image's output by the checkpoint and by the file, raw and decoded at the comparison's confidence."""

    raw: tuple[Array, Array]
    found: tuple[Detections, Detections]


def check(checkpoint: Any, detector: Detector, images: list[Image], tolerance: float) -> Parity:
    """Compare `checkpoint`, an engine model in evaluation mode on the CPU, with the file behind `detector`.

    Raises ExportError if the two differ by more than `tolerance`, or find nothing at all: then nothing was shown.
    """
    confidence = _confidence(detector, images)
    pairs = [_run(checkpoint, detector, image, confidence) for image in images]
    counts = [_compare(*pair.found, confidence) for pair in pairs]
    matched, unmatched = (sum(column) for column in zip(*counts, strict=True))
    compare = _difference_of_rows if detector.contract.head == "nms-free" else _difference
    largest = max(compare(*pair.raw) for pair in pairs)
    parity = Parity(
        images=len(images),
        max_abs_diff=largest,
        tolerance=tolerance,
        confidence=confidence,
        matched=matched,
        unmatched=unmatched,
        passed=matched > 0 and unmatched == 0 and largest <= tolerance,
    )
    if not matched and not unmatched:
        raise ExportError(
            f"The checkpoint finds nothing above confidence {FLOOR} on {len(images)} val images, so nothing shows that "
            "the exported file equals it. It has learned too little: train longer (train.epochs), or start from "
            "pretrained weights."
        )
    if not parity.passed:
        raise ExportError(
            f"The exported file does not compute what the checkpoint computes: raw outputs differ by up to "
            f"{largest:.3g} (allowed: {tolerance}), {unmatched} of {matched + unmatched} detections have no partner."
        )
    return parity


def _confidence(detector: Detector, images: list[Image]) -> float:
    """Return the operating confidence if anything is found above it, otherwise the floor."""
    operating = detector.contract.confidence
    return operating if any(len(found.above(operating)) for found in detector(images)) else FLOOR


def _run(checkpoint: Any, detector: Detector, image: Image, confidence: float) -> Pair:
    import torch

    blob = preprocess(image, detector.contract.image_size)[None]
    with torch.inference_mode():
        answer = checkpoint(torch.from_numpy(blob))
    theirs: Array = (answer[0] if isinstance(answer, (list, tuple)) else answer)[0].numpy()
    ours = detector.raw([image])[0]
    height, width = image.shape[:2]
    # One decoder for both: the question is whether the network computes the same.
    return Pair(
        raw=(theirs, ours), found=(detector.decode(theirs, height, width), detector.decode(ours, height, width))
    )


def _difference(theirs: Array, ours: Array) -> float:
    return float(np.abs(theirs - ours).max())


def _difference_of_rows(theirs: Array, ours: Array) -> float:
    """Compare rows of an nms-free head, which may swap places where scores are equal: each with its nearest."""
    rows = theirs[theirs[:, 4] > FLOOR]
    if not len(rows):
        return 0.0
    return float(np.abs(rows[:, None] - ours[None]).max(axis=2).min(axis=1).max())


def _compare(theirs: Detections, ours: Detections, confidence: float) -> tuple[int, int]:
    """Count matched and unmatched detections; one that only a rounding lifts over the threshold is neither."""
    matched = unmatched = 0
    for a, b in ((theirs, ours), (ours, theirs)):
        clear = a.above(confidence + SAME_SCORE if confidence > FLOOR else 2 * FLOOR)
        same = (
            (iou_matrix(clear.boxes, b.boxes) >= SAME_BOX)
            & (clear.classes[:, None] == b.classes[None])
            & (np.abs(clear.scores[:, None] - b.scores[None]) <= SAME_SCORE)
        )
        partnered = int(same.any(axis=1).sum())
        matched = partnered if a is theirs else matched
        unmatched += len(clear) - partnered
    return matched, unmatched
