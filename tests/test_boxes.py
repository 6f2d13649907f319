"""Matching and counting, on boxes small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline import scoring
from sightline.boxes import iou_matrix, match, match_by_class
from sightline.detect import Detections
from sightline.evaluate import backgrounds, confusion
from sightline.snapshots import Labelled

A, B = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
HALF = [0.0, 0.0, 10.0, 5.0]  # IoU 0.5 with A
NAMES = ("cell", "speck")


def boxes(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def found(rows: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(boxes(*rows).astype(np.float32), np.array(scores, np.float32), np.array(classes, np.int64), NAMES)


def labelled(rows: list[list[float]], classes: list[int]) -> Labelled:
    return Labelled(Path("x.png"), "x.png", "0" * 64, 100, 100, np.array(classes, np.int64), boxes(*rows))


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


def scored(scores: list[float], right: list[int], classes: list[int], labelled: list[int]) -> scoring.Tally:
    """Detections of a split by score, as float32 gives them."""
    kept = np.array(scores, np.float32).astype(np.float64)
    return scoring.Tally(kept, np.array(classes, np.int64), np.array(right, np.bool_), np.array(labelled))


@pytest.mark.parametrize(
    ("scores", "right", "classes", "labelled", "expected", "f1"),
    [
        ([0.9, 0.6, 0.2], [1, 1, 0], [0, 0, 0], [2], 0.4, 1.0),
        ([0.9, 0.9, 0.9, 0.3, 0.3], [1, 1, 1, 0, 0], [0] * 5, [3], 0.6, 1.0),
        ([0.9999] * 5 + [0.9998] * 5, [1] * 5 + [0] * 5, [0] * 10, [5], 0.99985, 1.0),
        ([0.9999996] + [0.9999] * 3, [1, 1, 0, 0], [0] * 4, [2], 0.5, 2 / 3),
        ([1.0, 1.0, 1.0], [1, 1, 0], [0] * 3, [2], 0.5, 0.8),
        ([0.9], [1], [0], [1], 0.5, 1.0),
        ([0.9], [0], [0], [1], 0.95, 0.0),
        ([0.9, 0.8, 0.5], [1, 0, 1], [0, 1, 0], [2, 0], 0.3, 1.0),
        ([], [], [], [0], 0.5, 0.0),
        ([0.7], [0], [0], [0], 0.8, 0.0),
    ],
    ids=[
        *("middle of the gap", "equal scores", "crowded below 1", "nothing between the best", "all are 1"),
        *("one detection", "only a wrong one", "a class that val lacks", "nothing at all", "nothing labelled"),
    ],
)
def test_operating_point_lies_in_the_widest_gap_of_best_mean_f1(
    scores: list[float], right: list[int], classes: list[int], labelled: list[int], expected: float, f1: float
) -> None:
    assert scoring.operating_point(scored(scores, right, classes, labelled)) == pytest.approx((expected, f1), abs=1e-9)


@pytest.mark.parametrize("base", [0.0, 7.0, 11.0], ids=["spread", "crowded", "crowded within 0.0001 of 1"])
def test_roundings_of_another_machine_move_no_detection_over_the_operating_point(base: float) -> None:
    """Logits of 600 detections, and the same with errors of 0.0005: more than two CPUs differ by."""
    rng = np.random.default_rng(3)
    logits = base + np.concatenate([rng.normal(2, 1, 200), rng.normal(-2, 1, 400)])
    right = (np.arange(600) < 200).tolist()
    counts = scored((1 / (1 + np.exp(-logits))).tolist(), right, [0] * 600, [200])
    confidence, f1 = scoring.operating_point(counts)
    every = np.unique(np.concatenate([counts.scores, counts.scores - 1e-9]))
    assert f1 >= scoring.mean_f1(counts, every).max() - 0.006  # 0.001, and what float32 cannot tell apart
    for _ in range(20):
        elsewhere = (1 / (1 + np.exp(-logits - rng.uniform(-5e-4, 5e-4, 600)))).astype(np.float32)
        assert np.array_equal(elsewhere > np.float32(confidence), counts.scores > confidence)


def test_curves_agree_with_points() -> None:
    rng = np.random.default_rng(0)
    count = 200
    counts = scoring.Tally(
        scores=(rng.uniform(size=count).round(2) + 0.005).astype(np.float32).astype(np.float64),
        classes=rng.integers(0, 2, count),
        right=rng.uniform(size=count) < 0.6,
        labelled=np.array([90, 110]),
    )
    confidences = np.array([0.0, 0.25, 0.335, 0.5, 0.99])
    mean, pooled = scoring.mean_f1(counts, confidences), scoring.pooled(counts, confidences)
    for index, confidence in enumerate(confidences.tolist()):
        assert mean[index] == pytest.approx(np.mean([scoring.at(counts, confidence, k).f1 for k in (0, 1)]))
        whole = scoring.at(counts, confidence)
        assert pooled["recall"][1][index] == pytest.approx(whole.recall)
        assert pooled["f1"][1][index] == pytest.approx(whole.f1)
        if whole.precision is not None:
            assert pooled["precision"][1][index] == pytest.approx(whole.precision)


def test_score_of_exactly_the_confidence_is_judged_as_the_detector_judges_it() -> None:
    """0.1 has no float32; what the detector leaves out may not be counted."""
    counts = scored([0.1], [1], [0], [1])
    assert len(found([A], [0.1], [0]).above(0.1)) == 0
    assert scoring.at(counts, 0.1).recall == scoring.mean_f1(counts, np.array([0.1]))[0] == 0.0


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
