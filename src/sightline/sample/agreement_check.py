"""Compares what the shipped runtime finds in some images with the predictions that evaluate stored for them.

First the predictions must be of this file and this data: what is compared above another confidence, or was made from
other images, proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from sightline.agreement import Comparison, Computed, compare, computed, reported
from sightline.boxes import iou_matrix
from sightline.contract import Contract
from sightline.detect import Detections, Detector
from sightline.errors import SampleError, StageInputError
from sightline.predictions import Predictions
from sightline.preprocess import read_image
from sightline.scoring import FLOOR
from sightline.snapshots import Labelled

SHOWN = 5  # images named one by one


def same_inputs(
    predictions: Predictions, contract: Contract, classes: Sequence[str], samples: Sequence[Labelled]
) -> None:
    """Compare what the predictions were made from with the exported file's contract and the snapshot's split.

    Raises StageInputError, naming all that differs.
    """
    header = predictions.header
    problems = [
        f"{name}: got {got}, expected {wanted} ({where})"
        for name, got, wanted, where in (
            ("confidence", header.confidence, contract.confidence, "the exported file"),
            ("floor", header.floor, FLOOR, "what evaluate and sample use"),
            ("classes", list(header.classes), list(contract.classes), "the exported file"),
            ("classes", list(header.classes), list(classes), "the snapshot"),
            ("images", len(predictions), len(samples), "the snapshot"),
        )
        if got != wanted
    ]
    if not problems:
        different = [
            (sample.source, what) for i, sample in enumerate(samples) if (what := _other(predictions, i, sample))
        ]
        problems = [f"{source}: other {what} than in the snapshot" for source, what in different[:SHOWN]]
        problems += [f"and {len(different) - SHOWN} more images"] if len(different) > SHOWN else []
    if problems:
        raise StageInputError(
            "The evaluation's predictions are not of the exported file and the snapshot. Evaluate again:", problems
        )


def _other(predictions: Predictions, image: int, sample: Labelled) -> str:
    """Say what of an image differs from the snapshot's; empty if nothing does."""
    labels = predictions.labels(image)
    same = {
        "name": predictions.image_sources[image] == sample.source,
        "sha256": predictions.image_sha256s[image] == sample.sha256,
        "width": predictions.image_widths[image] == sample.width,
        "height": predictions.image_heights[image] == sample.height,
        "labelled classes": np.array_equal(predictions.label_classes[labels], sample.classes),
        "labelled boxes": np.array_equal(predictions.label_boxes[labels], sample.boxes),
    }
    return ", ".join(what for what, is_same in same.items() if not is_same)


def check(
    detector: Detector,
    images: Sequence[int],
    samples: Sequence[Labelled],
    found: Sequence[Detections],
    predictions: Predictions,
    provider: str,
) -> int:
    """Compare the detections `found` in `samples` with the stored predictions of the same images.

    `images` are their positions in the split, `provider` is what ran the file in evaluate. Both hold everything above
    the scoring floor and are compared above the operating confidence, as export compares the file with its checkpoint
    (`sightline.agreement`). Returns how many detections both have. Raises SampleError, naming every image in which they
    differ.
    """
    confidence = detector.contract.confidence
    matched = 0
    problems = []
    for image, sample, here in zip(images, samples, found, strict=True):
        recorded = stored(predictions, image)
        comparison = _compare(detector, sample, recorded, here, confidence)
        matched += comparison.matched
        if comparison.unmatched:
            problems.append(f"{sample.source}: {_difference(comparison, recorded, here)}")
    if problems:
        raise SampleError(
            f"The exported file, run here by {detector.provider}, does not find what evaluate, by {provider}, stored: "
            f"{len(problems)} of {len(images)} images differ above confidence {confidence:.10g}. So the published "
            "score may not hold for the file that ships. Evaluate again on this machine; if the two still differ, "
            "ONNX Runtime gives different results each time and cannot be relied on here:",
            problems,
        )
    return matched


def stored(predictions: Predictions, image: int) -> Detections:
    """Return the stored detections of an image."""
    rows = predictions.detections(image)
    return Detections(
        predictions.detection_boxes[rows],
        predictions.detection_scores[rows],
        predictions.detection_classes[rows].astype(np.int64),
        predictions.header.classes,
    )


def _compare(
    detector: Detector, sample: Labelled, recorded: Detections, here: Detections, confidence: float
) -> Comparison:
    @cache
    def ours() -> Computed:
        image = read_image(sample.image)
        return computed(detector, detector.raw([image])[0], image)

    def theirs() -> Computed:
        # Without NMS no detection suppresses another: no overlap exceeds 1.
        overlap = 1.0 if detector.contract.head == "nms-free" else detector.iou
        return reported(recorded, ours(), overlap, detector.contract.max_det)

    return compare(recorded, here, confidence, (theirs, ours))


def _difference(comparison: Comparison, recorded: Detections, here: Detections) -> str:
    """Say how many boxes differ, and which is furthest from all boxes of its class in the other."""
    furthest = max(
        _furthest(comparison.theirs, here, "evaluate", "here"),
        _furthest(comparison.ours, recorded, "here", "evaluate"),
        key=lambda item: item[0],
    )
    return (
        f"boxes of evaluate not found here: {len(comparison.theirs)}, boxes found here and not by evaluate: "
        f"{len(comparison.ours)}. {furthest[1]}"
    )


def _furthest(alone: Detections, others: Detections, side: str, other_side: str) -> tuple[float, str]:
    """Return the largest distance, 1 - IoU, of a box in `alone` from the `others` of its class, and that in words."""
    worst = (-1.0, "")
    for index in range(len(alone)):
        of_class = others.take(np.nonzero(others.classes == alone.classes[index])[0])
        box = alone.take(np.array([index]))
        words = f"The furthest apart is {_words(box)} ({side})"
        overlaps = iou_matrix(box.boxes, of_class.boxes)[0]
        nearest = of_class.take(np.array([int(overlaps.argmax())])) if overlaps.any() else None
        if nearest is None:
            distance, words = 1.0, f"{words}: nothing of its class overlaps it ({other_side})."
        else:
            pixels = float(np.abs(nearest.boxes - box.boxes).max())
            distance = 1 - float(overlaps.max())
            words = (
                f"{words}: nearest to it is {_words(nearest)} ({other_side}), IoU {overlaps.max():.2f}, up to "
                f"{pixels:.1f} pixels off, score off by {abs(float(nearest.scores[0] - box.scores[0])):.3g}."
            )
        worst = max(worst, (distance, words))
    return worst


def _words(one: Detections) -> str:
    corners = ", ".join(f"{value:.1f}" for value in one.boxes[0])
    return f"{one.names[one.classes[0]]} {one.scores[0]:.3f} at ({corners})"
