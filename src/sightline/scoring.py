"""Precision, recall and F1 of a detector over its confidence, on one labelled split.

Shared by export, which chooses the operating confidence on val, and evaluate, which reports it on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.detect import Detections, Detector
from sightline.matching import match_by_class
from sightline.progress import Ticker
from sightline.validate.snapshot import Labelled

FLOOR = 0.001  # detections below it are never looked at; the engine's own floor when it measures AP
IOU = 0.5
GRID = np.linspace(0, 1, 1001)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """All detections of a split, each right or wrong, and how many objects there were."""

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
    """Score the detections above `confidence`, of one class or of all together."""
    mine = counts.scores > confidence
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


def _over_grid(counts: Tally, mine: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the detections of a choice above each confidence of GRID: all of them, and the right ones."""
    order = np.argsort(counts.scores[mine])
    scores, right = counts.scores[mine][order], counts.right[mine][order]
    first = np.searchsorted(scores, GRID, side="right")  # detections from here on lie above the confidence
    return len(scores) - first, np.concatenate([np.cumsum(right[::-1])[::-1], [0]])[first]


def mean_f1(counts: Tally) -> Floats:
    """Return F1 at every confidence of GRID, averaged over the classes that the split contains."""
    rows = []
    for index in np.flatnonzero(counts.labelled):
        found, hits = _over_grid(counts, counts.classes == index)
        rows.append(2 * hits / (found + counts.labelled[index]))
    return np.array(rows).mean(axis=0) if rows else np.zeros(len(GRID))


def pooled(counts: Tally) -> dict[str, tuple[Floats, Floats]]:
    """Return (confidence, value) of precision, recall and F1 of all boxes together, as `at` gives them.

    Precision ends where nothing is found any more; recall and F1 are empty where nothing is labelled.
    """
    found, hits = _over_grid(counts, np.ones(len(counts.scores), np.bool_))
    total = counts.labelled.sum()
    some, all_of = found > 0, np.full(len(GRID), total > 0)
    return {
        "precision": (GRID[some], hits[some] / found[some]),
        "recall": (GRID[all_of], hits[all_of] / max(total, 1)),
        "f1": (GRID[all_of], 2 * hits[all_of] / np.maximum(found + total, 1)[all_of]),
    }


def operating_point(counts: Tally) -> tuple[float, float]:
    """Return the confidence with the best mean F1, and that F1.

    Between equally good neighbours it takes the middle of the longest stretch, the choice least sensitive to a shift.
    """
    f1 = mean_f1(counts)
    (best,) = np.nonzero(f1 >= f1.max() - 1e-9)
    stretch = max(np.split(best, np.flatnonzero(np.diff(best) > 1) + 1), key=len)
    index = int(stretch[len(stretch) // 2])
    return round(float(GRID[index]), 3), float(f1[index])
