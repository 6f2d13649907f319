"""COCO average precision, computed by faster-coco-eval, which gives the numbers of pycocotools in C++."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.detect import Detections
from sightline.documents import Curve, SizeScores
from sightline.snapshots import Labelled

IOU50, IOU75 = 0, 5  # positions in COCO's thresholds 0.50, 0.55, … 0.95
ALL, SMALL, MEDIUM, LARGE = range(4)  # positions in COCO's area ranges
LIMITS = (1, 10, 100)  # most detections per image, for each AR; AP uses the last


@dataclass(frozen=True)
class CocoScores:
    """Scores over a split; null where it holds no object of the kind."""

    map50_95: float | None
    map50: float | None
    map75: float | None
    by_size: SizeScores
    recall_at: dict[str, float | None]  # AR by the limit on detections per image
    per_class: list[tuple[float | None, float | None, float | None]]  # AP 0.50:0.95, 0.50, 0.75, in category order
    precision_recall: Curve  # at IoU 0.50, mean over classes


def coco_scores(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> CocoScores:
    """Score COCO detections (`image_id`, `category_id`, `bbox` x y w h, `score`) against a COCO ground truth.

    Classes are the ground truth's categories by rising id. Boxes are compared in pixels, at IoU 0.50 to 0.95, with at
    most 100 detections per image (https://cocodataset.org/#detection-eval).
    """
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        ground = COCO(dict(truth))
        evaluation = COCOeval_faster(ground, ground.loadRes([dict(result) for result in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: (IoU, recall, class, area, limit); recall: (IoU, class, area, limit); -1 where there is no object
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    last = len(LIMITS) - 1
    everything = precision[:, :, :, ALL, last]
    return CocoScores(
        map50_95=_mean(everything),
        map50=_mean(everything[IOU50]),
        map75=_mean(everything[IOU75]),
        by_size=SizeScores(
            small=_mean(precision[:, :, :, SMALL, last]),
            medium=_mean(precision[:, :, :, MEDIUM, last]),
            large=_mean(precision[:, :, :, LARGE, last]),
        ),
        recall_at={str(limit): _mean(recall[:, :, ALL, index]) for index, limit in enumerate(LIMITS)},
        per_class=[
            (_mean(everything[:, :, k]), _mean(everything[IOU50, :, k]), _mean(everything[IOU75, :, k]))
            for k in range(everything.shape[2])
        ],
        precision_recall=_precision_recall(everything[IOU50]),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """Average the entries that exist; COCO writes -1 where a class or size has no object."""
    there = values[values > -1]
    return float(there.mean()) if there.size else None


def _precision_recall(precision: NDArray[np.float64]) -> Curve:
    """Average the classes' interpolated precision at recall 0, 0.01, … 1; `precision` is (101, classes)."""
    there = precision[:, (precision > -1).any(axis=0)]
    if not there.size:
        return Curve(x=[], y=[])
    return Curve(
        x=[round(float(x), 2) for x in np.linspace(0, 1, 101)], y=[round(float(y), 4) for y in there.mean(axis=1)]
    )


def coco_truth(samples: Sequence[Labelled], classes: Sequence[str]) -> dict[str, Any]:
    """Return a split as a COCO ground truth; image ids are positions in `samples`, category ids class indices."""
    annotations: list[dict[str, Any]] = []
    for image_id, sample in enumerate(samples):
        for (x1, y1, x2, y2), index in zip(sample.boxes.tolist(), sample.classes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": index,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {},
        "images": [{"id": i, "width": s.width, "height": s.height} for i, s in enumerate(samples)],
        "annotations": annotations,
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
    }


def coco_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return detections as COCO results; image ids are positions in `found`."""
    return [
        {"image_id": image_id, "category_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for image_id, detections in enumerate(found)
        for (x1, y1, x2, y2), index, score in zip(
            detections.boxes.tolist(), detections.classes.tolist(), detections.scores.tolist(), strict=True
        )
    ]
