"""Two computations of one network agree where only roundings differ, and differ where anything else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline import agreement
from sightline.detect import Detections


def found(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.zeros(len(scores), np.int64),
        ("a",),
    )


def compared(theirs: Detections, ours: Detections, rows: Any = None) -> tuple[int, int]:
    """Pairs above 0.3, and detections of either that the other does not compute."""
    result = agreement.compare(theirs, ours, 0.3, rows)
    return result.matched, result.unmatched


LINE, SLIVER = [496.7, 480.0, 615.5, 480.0], [496.7, 479.97, 615.5, 480.0]
A, B, FAR = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [80.0, 0.0, 90.0, 10.0]


@pytest.mark.parametrize(
    ("theirs", "ours", "counts"),
    [
        (found([A, B], [0.9, 0.8]), found([A, B], [0.9, 0.8]), (2, 0)),
        (found([A, B], [0.9, 0.8]), found([A], [0.9]), (1, 1)),
        (found([A], [0.9]), found([A, B], [0.9, 0.8]), (1, 1)),
        (found([A], [0.9]), found([[0, 0, 10, 9]], [0.9]), (0, 2)),
        (found([A], [0.9]), found([A], [0.8]), (0, 2)),
        (found([A], [0.3001]), found([A], [0.2999]), (1, 0)),  # rounding decides which side it falls on
        (found([A, B], [0.9999, 0.9996]), found([B, A], [0.9999, 0.9996]), (2, 0)),
        (found([A, LINE], [0.9, 0.5]), found([A, LINE], [0.9, 0.5]), (2, 0)),
        (found([SLIVER], [0.9]), found([LINE], [0.9]), (1, 0)),
    ],
    ids=["same", "lost", "extra", "moved", "other score", "on the threshold", "crowded", "a line", "nearly a line"],
)
def test_detections_are_compared_both_ways(theirs: Detections, ours: Detections, counts: tuple[int, int]) -> None:
    assert compared(theirs, ours) == counts


OVER = [0.0, 0.0, 10.0, 8.0]  # IoU 0.8 with A: the better one suppresses the other


def computed(boxes: list[list[float]], scores: list[list[float]], cut: float = 0.0) -> Callable[[], agreement.Computed]:
    rows = agreement.Computed(np.array(boxes, np.float32), np.array(scores, np.float32), cut)
    return lambda: rows


def test_a_tie_that_a_rounding_decides_is_no_difference() -> None:
    """Two boxes of which either suppresses the other; two classes of one box; a place at the limit."""
    rows = computed([A, OVER], [[0.99999, 0.99999]] * 2)
    assert compared(found([A], [0.99999]), found([OVER], [0.99998]), (rows, rows)) == (1, 0)
    other_class = replace(found([A], [0.99999]), classes=np.array([1]), names=("a", "b"))
    assert compared(found([A], [0.99999]), other_class, (rows, rows)) == (1, 0)
    full = [computed([A, box], [[0.9999], [0.9999]], cut=0.9999) for box in (OVER, B)]
    theirs, ours = found([A, OVER], [0.9999, 0.9999]), found([A, B], [0.9999, 0.9999])
    assert compared(theirs, ours, (full[0], full[1])) == (1, 0)


@pytest.mark.parametrize(
    ("boxes", "scores", "cut"),
    [
        ([A, [5.0, 0.0, 15.0, 8.0]], [[0.9999, 0.1]] * 2, 0.0),
        ([A, OVER], [[0.1, 0.9999]] * 2, 0.0),
        ([A, OVER], [[0.95, 0.1]] * 2, 0.0),
        ([B, OVER], [[0.9999, 0.1]] * 2, 0.9999),
    ],
    ids=["box shifted", "classes swapped", "score changed", "most of a full table differs"],
)
def test_a_file_that_computes_something_else_is_not_taken_for_a_tie(
    boxes: list[list[float]], scores: list[list[float]], cut: float
) -> None:
    theirs = found([A, [50.0, 0.0, 60.0, 8.0], [80.0, 0.0, 90.0, 9.0]], [0.9999] * 3)
    ours = Detections(
        *(np.array(boxes, np.float32), np.array(scores, np.float32).max(axis=1), np.array(scores).argmax(axis=1)),
        ("a", "b"),
    )
    ours_computed = computed(boxes, scores, cut)
    matched, unmatched = compared(
        theirs, ours, (computed(theirs.boxes.tolist(), [[0.9999, 0]] * 3, cut), ours_computed)
    )
    assert unmatched >= 2
    assert matched <= 1


def reported(
    theirs: Detections, ours: Callable[[], agreement.Computed], kept: list[int], most: int = 300
) -> tuple[int, int]:
    """Compare a network of which only the detections are known with one that kept some of what it computed."""
    rows = (lambda: agreement.reported(theirs, ours(), 0.7, most), ours)
    scores = ours().scores[kept]
    return compared(theirs, Detections(ours().boxes[kept], scores.max(axis=1), scores.argmax(axis=1), ("a", "b")), rows)


def test_a_tie_is_recognised_where_only_the_detections_were_kept() -> None:
    """Evaluate's file holds detections alone: what they suppressed is looked for in what is computed here."""
    assert reported(found([A], [0.9999]), computed([A, OVER], [[0.9999, 0.1]] * 2), [1]) == (1, 0)
    flipped = computed([A], [[0.99989, 0.9999]])  # another class of the same box
    assert reported(found([A], [0.9999]), flipped, [0]) == (1, 0)
    full = computed([A, B, FAR], [[0.9999, 0.1]] * 3)  # an image's limit took in two of three
    assert reported(found([A, B], [0.9999] * 2), full, [0, 2], most=2) == (2, 0)
    assert reported(found([A, B], [0.9999] * 2), full, [0, 2]) == (2, 1)


def test_other_detections_are_no_tie_where_only_they_were_kept() -> None:
    higher = [0.0, 0.0, 10.0, 8.5]
    assert reported(found([A], [0.9]), computed([FAR], [[0.9, 0.1]]), [0]) == (0, 2)
    assert reported(found([A], [0.9]), computed([A, FAR], [[0.9, 0.1]] * 2), [0, 1]) == (1, 1)
    # It suppresses A, not A it.
    assert reported(found([A], [0.8]), computed([A, higher], [[0.8, 0.1], [0.9, 0.1]]), [1]) == (1, 1)
    # A is computed nowhere here.
    assert reported(found([A], [0.9]), computed([OVER], [[0.9, 0.1]]), [0]) == (0, 1)
