"""The columns of the predictions file: a split's detections and labels, a row each, from which all scores follow."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import numpy as np

from sightline import scoring
from sightline.boxes import match_by_class
from sightline.detect import Detections
from sightline.predictions import Header, Offsets, Predictions
from sightline.snapshots import Labelled


def columns(header: Header, found: Sequence[Detections], samples: Sequence[Labelled]) -> Predictions:
    """Match each image's detections with its labels and concatenate the images, in the order of `samples`."""
    matches = [
        match_by_class(detections.boxes, detections.classes, sample.boxes, sample.classes, header.iou)
        for detections, sample in zip(found, samples, strict=True)
    ]
    return Predictions(
        header=header,
        image_sources=np.array([sample.source for sample in samples], np.str_),
        image_sha256s=np.array([sample.sha256 for sample in samples], np.str_),
        image_widths=np.array([sample.width for sample in samples], np.int32),
        image_heights=np.array([sample.height for sample in samples], np.int32),
        detection_offsets=_offsets(found),
        detection_boxes=np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in found)]),
        detection_scores=np.concatenate([np.zeros(0, np.float32), *(one.scores for one in found)]),
        detection_classes=np.concatenate([np.zeros(0, np.int64), *(one.classes for one in found)]).astype(np.int32),
        detection_matches=np.concatenate([np.zeros(0, np.int64), *matches]).astype(np.int32),
        label_offsets=_offsets([sample.classes for sample in samples]),
        label_boxes=np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)]),
        label_classes=np.concatenate([np.zeros(0, np.int64), *(one.classes for one in samples)]).astype(np.int32),
    )


def _offsets(rows: Sequence[Sized]) -> Offsets:
    return np.concatenate([[0], np.cumsum([len(one) for one in rows], dtype=np.int64)])


def tally(predictions: Predictions) -> scoring.Tally:
    """Return each detection's score, class and whether it is right, and the labelled objects of each class."""
    return scoring.Tally(
        scores=predictions.detection_scores.astype(np.float64),
        classes=predictions.detection_classes.astype(np.int64),
        right=predictions.detection_matches >= 0,
        labelled=np.bincount(predictions.label_classes, minlength=len(predictions.header.classes)),
    )
