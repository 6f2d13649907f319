"""Checkpoint and exported file are compared both ways, and a tie of rounding is no difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sightline.detect import Detections
from sightline.export import parity


def found(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.zeros(len(scores), np.int64),
        ("a",),
    )


LINE, SLIVER = [496.7, 480.0, 615.5, 480.0], [496.7, 479.97, 615.5, 480.0]


A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]


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
    assert parity._compare(theirs, ours, confidence=0.3) == counts


OVER = [0.0, 0.0, 10.0, 8.0]  # IoU 0.8 with A: the better one suppresses the other


def computed(boxes: list[list[float]], scores: list[list[float]], cut: float = 0.0) -> Callable[[], parity.Computed]:
    rows = parity.Computed(np.array(boxes, np.float32), np.array(scores, np.float32), cut)
    return lambda: rows


def test_a_tie_that_a_rounding_decides_is_no_difference() -> None:
    """Two boxes of which either suppresses the other; two classes of one box; a place at the limit."""
    rows = computed([A, OVER], [[0.99999, 0.99999]] * 2)
    assert parity._compare(found([A], [0.99999]), found([OVER], [0.99998]), 0.3, (rows, rows)) == (1, 0)
    other_class = replace(found([A], [0.99999]), classes=np.array([1]), names=("a", "b"))
    assert parity._compare(found([A], [0.99999]), other_class, 0.3, (rows, rows)) == (1, 0)
    full = [computed([A, box], [[0.9999], [0.9999]], cut=0.9999) for box in (OVER, B)]
    theirs, ours = found([A, OVER], [0.9999, 0.9999]), found([A, B], [0.9999, 0.9999])
    assert parity._compare(theirs, ours, 0.3, (full[0], full[1])) == (1, 0)


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
    matched, unmatched = parity._compare(
        theirs, ours, 0.3, (computed(theirs.boxes.tolist(), [[0.9999, 0]] * 3, cut), ours_computed)
    )
    assert unmatched >= 2
    assert matched <= 1


def test_raw_outputs_are_compared_by_their_largest_difference() -> None:
    a, b = np.zeros((6, 4), np.float32), np.zeros((6, 4), np.float32)
    b[3, 2] = 0.25
    assert parity._difference(a, b) == 0.25
    rows = np.array([[0, 0, 9, 9, 0.9, 1], [5, 5, 8, 8, 0.9, 0]], np.float32)
    assert parity._difference_of_rows(rows, rows[::-1]) == 0.0
    assert parity._difference_of_rows(rows, rows + np.float32(0.5)) == 0.5
    many = np.stack([[x, 0, x + 9, 9, 0.9999, 0] for x in range(0, 90, 10)]).astype(np.float32)
    assert parity._difference_of_rows(many[:8], many[1:]) == 0.0  # the first lost its place to its equal
    assert parity._difference_of_rows(many[:8], many[6:]) >= 10
    higher = many[:8] * np.array([1, 1, 1, 1, 0.8, 1], np.float32)
    higher[:7, 4] = 0.95
    assert parity._difference_of_rows(many[:1], higher) > 0.04  # better than the last one, and not there
