"""Matching and counting, on boxes small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline import scoring
from sightline.detect import Detections
from sightline.evaluate import backgrounds, confusion
from sightline.matching import iou_matrix, match, match_by_class
from sightline.validate.snapshot import Labelled

A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
HALF = [0.0, 0.0, 10.0, 5.0]  # IoU 0.5 with A
NAMES = ("cell", "speck")


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def found(rows: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(boxes(*rows).astype(np.float32), np.array(scores, np.float32), np.array(classes, np.int64), NAMES)


def labelled(rows: list[list[float]], classes: list[int]) -> Labelled:
    return Labelled(Path("x.png"), "x.png", 100, 100, np.array(classes, np.int64), boxes(*rows))


def test_iou_of_known_boxes() -> None:
    assert iou_matrix(boxes(A, HALF), boxes(A, B)).tolist() == [[1.0, 0.0], [0.5, 0.0]]


def test_box_without_area_overlaps_nothing() -> None:
    assert iou_matrix(boxes([5, 5, 5, 5]), boxes([5, 5, 5, 5], A)).tolist() == [[0.0, 0.0]]


def test_labelled_box_is_claimed_once_by_the_best() -> None:
    assert match(boxes(A, A, B), boxes(A, B)).tolist() == [0, -1, 1]


def test_overlap_of_exactly_the_threshold_counts() -> None:
    assert match(boxes(HALF), boxes(A)).tolist() == [0]
    assert match(boxes(HALF), boxes(A), iou=0.51).tolist() == [-1]


def test_nothing_found_and_nothing_labelled() -> None:
    assert match(boxes(), boxes(A)).tolist() == []
    assert match(boxes(A), boxes()).tolist() == [-1]


def test_class_must_agree() -> None:
    partner = match_by_class(boxes(A, B), np.array([1, 0]), boxes(A, B), np.array([0, 0]))
    assert partner.tolist() == [-1, 1]


def test_points_at_a_confidence() -> None:
    counts = scoring.tally(
        [found([A, B], [0.9, 0.4], [0, 0]), found([A], [0.8], [1])],
        [labelled([A, B, [50, 50, 60, 60]], [0, 0, 0]), labelled([], [])],
        classes=2,
    )
    both, sure = scoring.at(counts, 0.3), scoring.at(counts, 0.85)
    assert (both.precision, both.recall, both.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (sure.precision, sure.recall, sure.f1) == pytest.approx((1.0, 1 / 3, 0.5))
    speck = scoring.at(counts, 0.3, 1)
    assert (speck.precision, speck.recall, speck.f1) == (0.0, None, None)
    nothing = scoring.at(counts, 0.95)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, 0.0, 0.0)


def test_operating_point_is_the_middle_of_the_best_stretch() -> None:
    counts = scoring.tally(
        [found([A, B, [70, 70, 80, 80]], [0.9, 0.6, 0.2], [0, 0, 0])], [labelled([A, B], [0, 0])], classes=1
    )
    confidence, f1 = scoring.operating_point(counts)
    assert f1 == 1.0
    assert confidence == pytest.approx(0.4, abs=0.002)


def test_curves_agree_with_points() -> None:
    rng = np.random.default_rng(0)
    count = 200
    counts = scoring.Tally(
        scores=rng.uniform(size=count).round(2) + 0.005,
        classes=rng.integers(0, 2, count),
        right=rng.uniform(size=count) < 0.6,
        labelled=np.array([90, 110]),
    )
    mean, pooled = scoring.mean_f1(counts), scoring.pooled(counts)
    for index in (0, 250, 500, 990):
        confidence = float(scoring.GRID[index])
        assert mean[index] == pytest.approx(np.mean([scoring.at(counts, confidence, k).f1 for k in (0, 1)]))
        whole = scoring.at(counts, confidence)
        assert pooled["recall"][1][index] == pytest.approx(whole.recall)
        assert pooled["f1"][1][index] == pytest.approx(whole.f1)
        if whole.precision is not None:
            assert pooled["precision"][1][index] == pytest.approx(whole.precision)


def test_confusion_counts_every_object_and_every_detection() -> None:
    matrix = confusion(
        [found([A, B, [50, 50, 60, 60]], [0.9, 0.8, 0.1], [1, 1, 0])],
        [labelled([A, B, [50, 50, 60, 60]], [0, 1, 0])],
        NAMES,
        confidence=0.5,
    )
    assert matrix.labels == ["cell", "speck", "background"]
    assert matrix.counts == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]


def test_false_positives_on_empty_images() -> None:
    empty, full = labelled([], []), labelled([A], [0])
    result = backgrounds([found([A, B], [0.9, 0.3], [0, 0]), found([A], [0.9], [0])], [empty, full], confidence=0.5)
    assert (result.images, result.false_positives, result.false_positives_per_image) == (1, 1, 1.0)
    none = backgrounds([found([A], [0.9], [0])], [full], confidence=0.5)
    assert none.false_positives_per_image is None
