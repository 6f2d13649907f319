"""COCO metrics against published numbers (the fixtures of review_object_detection_metrics, made with the COCO API)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sightline.boxes import match
from sightline.config import GateConfig
from sightline.detect import Detections
from sightline.documents import ClassScores
from sightline.evaluate.gate import judge
from sightline.evaluate.metrics import coco_results, coco_scores, coco_truth
from sightline.snapshots import Labelled

PUBLISHED = {
    "map50_95": 0.503647,
    "map50": 0.696973,
    "map75": 0.571667,
    "small": 0.593252,
    "medium": 0.557991,
    "large": 0.489363,
    "1": 0.386813,
    "10": 0.593680,
    "100": 0.595353,
}


def test_equals_the_published_coco_numbers(shared: Path) -> None:
    folder = shared / "data" / "voc100-multiformat" / "eval_fixtures" / "test_coco_eval"
    truth = json.loads((folder / "gts" / "sampled_gts_bbox_area.json").read_text())
    results = json.loads((folder / "dets" / "sampled_bbox_results.json").read_text())["annotations"]
    scores = coco_scores(truth, results)
    measured = {
        "map50_95": scores.map50_95,
        "map50": scores.map50,
        "map75": scores.map75,
        **scores.by_size.model_dump(),
        **scores.recall_at,
    }
    assert measured == pytest.approx(PUBLISHED, abs=5e-7)


def test_greedy_matching_gives_the_published_voc_precision(shared: Path) -> None:
    """Every-point AP of the VOC fixture, by our own matching: 0.3371980676 at IoU 0.1, 0.2456866804 at 0.3."""
    folder = shared / "data" / "voc100-multiformat" / "eval_fixtures" / "test_case_1"

    def read(kind: str) -> dict[str, np.ndarray]:
        return {
            path.name: np.array([line.split()[1:] for line in path.read_text().splitlines()], float)
            for path in sorted((folder / kind).glob("*.txt"))
        }

    truth, detections = read("gts"), read("dets")
    for iou, expected in ((0.1, 0.3371980676), (0.3, 0.2456866804), (0.5, 0.0222222222), (0.75, 0.0)):
        scores, right = [], []
        for name, rows in detections.items():
            rows = rows[np.argsort(-rows[:, 0], kind="stable")]
            # x y w h of pixels that count both ends, as the VOC devkit does
            found = np.concatenate([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:] + 1], axis=1)
            boxes = truth[name]
            labelled = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + 1], axis=1)
            scores += rows[:, 0].tolist()
            right += (match(found, labelled, iou) >= 0).tolist()
        hits = np.cumsum(np.array(right)[np.argsort(-np.array(scores), kind="stable")])
        precision = hits / np.arange(1, len(hits) + 1)
        recall = hits / sum(len(boxes) for boxes in truth.values())
        best = np.maximum.accumulate(precision[::-1])[::-1]
        assert float((np.diff(recall, prepend=0) * best).sum()) == pytest.approx(expected, abs=1e-9)


def labelled(boxes: list[list[float]], classes: list[int]) -> Labelled:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Labelled(Path("x"), "x", "0" * 64, 200, 200, np.array(classes, np.int64), array)


def detections(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.array(scores, np.float32), np.array(classes, np.int64), ("a", "b"))


def test_class_without_samples_is_null_and_left_out_of_the_mean() -> None:
    samples = [labelled([[0, 0, 50, 50]], [0])]
    found = [detections([[0, 0, 50, 50], [100, 100, 150, 150]], [0.9, 0.8], [0, 1])]
    scores = coco_scores(coco_truth(samples, ["a", "b"]), coco_results(found))
    assert scores.per_class == [(pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0)), (None, None, None)]
    assert scores.map50 == pytest.approx(1.0)
    assert scores.by_size.small is None
    assert scores.by_size.large is None


def test_no_detection_at_all_scores_zero() -> None:
    scores = coco_scores(coco_truth([labelled([[0, 0, 50, 50]], [0])], ["a"]), coco_results([detections([], [], [])]))
    assert (scores.map50, scores.map50_95, scores.recall_at["100"]) == (0.0, 0.0, 0.0)


def test_nothing_labelled_has_no_score() -> None:
    scores = coco_scores(coco_truth([labelled([], [])], ["a"]), coco_results([detections([[0, 0, 9, 9]], [0.5], [0])]))
    assert scores.map50 is None
    assert scores.precision_recall.x == []


WEAK = ClassScores(name="platelet", boxes=5, map50_95=0.2, map50=0.4, map75=0.1, precision=None, recall=0.0, f1=0.0)


@pytest.mark.parametrize(
    ("gate", "verdict", "words"),
    [
        (GateConfig(), "accepted", "no minimum was configured"),
        (GateConfig(min_map50=0.7), "accepted", "mAP50 0.700 reaches the minimum 0.700"),
        (GateConfig(min_map50=0.71), "rejected", "mAP50 0.700 is below the minimum 0.710"),
        (GateConfig(min_precision=0.1), "rejected", "precision no value is below"),
        (GateConfig(min_class_ap50=0.5), "rejected", "weakest class (platelet) 0.400 is below"),
    ],
)
def test_gate(gate: GateConfig, verdict: str, words: str) -> None:
    result, reasons = judge(gate, map50=0.7, map50_95=0.5, precision=None, recall=0.8, per_class=[WEAK])
    assert result == verdict
    assert words in reasons[0]


def test_no_score_is_never_accepted() -> None:
    verdict, reasons = judge(GateConfig(), map50=None, map50_95=None, precision=None, recall=None, per_class=[])
    assert verdict == "rejected"
    assert "there is no score" in reasons[0]


def test_failed_minimums_come_first() -> None:
    gate = GateConfig(min_map50=0.1, min_recall=0.9)
    _, reasons = judge(gate, map50=0.7, map50_95=0.5, precision=1.0, recall=0.8, per_class=[WEAK])
    assert [reason.split()[0] for reason in reasons] == ["recall", "mAP50"]
