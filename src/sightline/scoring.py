"""Precision, recall and F1 of a detector over its confidence, on one labelled split.

Shared by export, which chooses the operating confidence on val, and evaluate, which reports it on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.boxes import IOU, match_by_class
from sightline.detect import Detections, Detector
from sightline.runtime.progress import Ticker
from sightline.snapshots import Labelled

FLOOR = 0.001  # detections below it are ignored; the engine's own floor when it measures AP
NEAR = 0.001  # a mean F1 this close to the best is as good: pages and messages show less of it
ROUNDING = 1e-6  # of a score in float32, with room: 16 times the distance between neighbours just below 1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """All detections of a split, each right or wrong, and how many objects were labelled."""

    scores: Floats  # (n,)
    classes: NDArray[np.int64]  # (n,)
    right: NDArray[np.bool_]  # (n,) claimed a labelled object of its class at IoU 0.5
    labelled: NDArray[np.int64]  # (classes,) objects in the split


def detect_all(detector: Detector, samples: Sequence[Labelled], stage: str) -> list[Detections]:
    """Run a detector over a split, with progress."""
    ticker = Ticker(stage, len(samples))
    found = []
    for detections in detector.stream(sample.image for sample in samples):
        found.append(detections)
        ticker.tick()
    return found


def tally(found: Sequence[Detections], labelled: Sequence[Labelled], classes: int) -> Tally:
    """Match every image's detections with its labels.

    Greedy by falling score, so a higher threshold only removes matches and one pass serves all confidences.
    """
    right = [
        match_by_class(detections.boxes, detections.classes, sample.boxes, sample.classes, IOU) >= 0
        for detections, sample in zip(found, labelled, strict=True)
    ]
    return Tally(
        scores=np.concatenate([np.zeros(0), *(detections.scores for detections in found)]).astype(np.float64),
        classes=np.concatenate([np.zeros(0, np.int64), *(detections.classes for detections in found)]),
        right=np.concatenate([np.zeros(0, np.bool_), *right]),
        labelled=np.bincount(
            np.concatenate([np.zeros(0, np.int64), *(s.classes for s in labelled)]), minlength=classes
        ),
    )


@dataclass(frozen=True)
class Point:
    """Precision, recall and F1 at one confidence; null where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None


def at(counts: Tally, confidence: float, index: int | None = None) -> Point:
    """Score the detections above `confidence`, of one class or of all together.

    Scores are float32, so the confidence is rounded to that first, as the detector does when it compares them.
    """
    mine = counts.scores > np.float32(confidence)
    labelled = int(counts.labelled.sum())
    if index is not None:
        mine &= counts.classes == index
        labelled = int(counts.labelled[index])
    found, right = int(mine.sum()), int(counts.right[mine].sum())
    return Point(
        precision=right / found if found else None,
        recall=right / labelled if labelled else None,
        f1=2 * right / (found + labelled) if labelled else None,
    )


def mean_f1(counts: Tally, confidences: Floats) -> Floats:
    """Return F1 at each of some confidences, averaged over the classes that the split contains; zeros without any."""
    scores, f1 = _steps(counts)
    above = len(scores) - np.searchsorted(scores[::-1], confidences.astype(np.float32), side="right")
    return f1[above]


def _steps(counts: Tally) -> tuple[Floats, Floats]:
    """Return the n scores, highest first, and the n + 1 mean F1 of the best 0, 1, … n detections.

    A detection changes the F1 of its own class alone, so the mean is a running sum of such changes.
    """
    order = np.argsort(-counts.scores, kind="stable")
    classes, right = counts.classes[order], counts.right[order]
    change = np.zeros(len(order))
    present = np.flatnonzero(counts.labelled)
    for index in present:
        own = np.flatnonzero(classes == index)
        f1 = 2 * np.cumsum(right[own]) / (np.arange(1, len(own) + 1) + counts.labelled[index])
        change[own] = np.diff(f1, prepend=0.0)
    return counts.scores[order], np.concatenate([[0.0], np.cumsum(change)]) / max(len(present), 1)


def pooled(counts: Tally, confidences: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Return (confidence, value) of precision, recall and F1 of all boxes together, as `at` gives them.

    Precision ends where nothing is found; recall and F1 are empty where nothing is labelled.
    """
    order = np.argsort(counts.scores)
    scores, right = counts.scores[order], counts.right[order]
    first = np.searchsorted(scores, confidences.astype(np.float32), side="right")  # from here on they lie above
    found, hits = len(scores) - first, np.concatenate([np.cumsum(right[::-1])[::-1], [0]])[first]
    total = counts.labelled.sum()
    some, all_of = found > 0, np.full(len(confidences), total > 0)
    return {
        "precision": (confidences[some], hits[some] / found[some]),
        "recall": (confidences[all_of], hits[all_of] / max(total, 1)),
        "f1": (confidences[all_of], 2 * hits[all_of] / np.maximum(found + total, 1)[all_of]),
    }


def curve_confidences(confidence: float) -> Floats:
    """Return the confidences of a curve around an operating point: steps of 0.01, finer where scores crowd below 1."""
    steps = np.linspace(0, 1, 101).round(2)
    near = 1 - (1 - confidence) * np.linspace(0, 4, 41) if confidence > 0.98 else np.zeros(0)
    return np.unique(np.concatenate([steps, near, [confidence]]))


def operating_point(counts: Tally) -> tuple[float, float]:
    """Return the confidence to detect above, and its mean F1.

    Of all gaps between neighbouring scores whose mean F1 is within NEAR of the best, it takes the widest and cuts it in
    the middle: scores computed on another machine differ by a rounding, which then moves no detection over the
    confidence. A network's rounding errors are those of its logits, so widths are compared there; scores that crowd
    below 1 lie far apart in logits, as far as float32 can tell them apart at all (ROUNDING).
    """
    scores, f1 = _steps(counts)
    high = np.concatenate([[1.0], scores])  # gap k lies below the best k detections and above all others
    low = np.concatenate([scores, [FLOOR]])
    width = np.maximum(_logit(high - ROUNDING) - _logit(low + ROUNDING), 0.0)
    usable = width > 0 if (width > 0).any() else np.ones_like(width, np.bool_)
    best = f1[usable].max()
    gap = int(np.argmax(np.where(usable & (f1 >= best - NEAR), width, -1.0)))
    return _cut(float(low[gap]), float(high[gap])), min(max(float(f1[gap]), 0.0), 1.0)


def _logit(score: Floats) -> Floats:
    inside = np.clip(score, ROUNDING, 1 - ROUNDING)
    return np.log(inside / (1 - inside))


def _cut(low: float, high: float) -> float:
    """Return the shortest decimal number in the middle half of a gap, the one next to its centre."""
    centre, room = (low + high) / 2, (high - low) / 4
    cuts = (round(centre, digits) for digits in range(1, 12))
    return next((cut for cut in cuts if abs(cut - centre) <= room), centre)
