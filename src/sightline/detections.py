"""From the network's output to detections in original pixels: thresholds, NMS, and the letterbox undone.

Part of the runtime that ships: needs numpy and OpenCV.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.contract import Contract
from sightline.preprocess import unletterbox

LEAST_SIDE = 0.1  # of a box inside its image, in original pixels
CANDIDATES = 30_000  # most boxes that enter NMS, the training engine's own limit

Selection = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]  # boxes, scores, classes


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first."""

    boxes: NDArray[np.float32]  # (n, 4) x1 y1 x2 y2 in original pixels, inside the image, each with an area
    scores: NDArray[np.float32]  # (n,) in 0..1
    classes: NDArray[np.int64]  # (n,) indices into `names`
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Return the detections with a score above `confidence`."""
        return self.take(np.nonzero(self.scores > confidence)[0])

    def take(self, rows: NDArray[np.int64]) -> Detections:
        """Return the detections at these positions."""
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows], self.names)

    def finding(self) -> str:
        """Say in words what was found: `3 red-cell, 1 platelet`, or `No findings`."""
        counts = Counter(self.names[index] for index in self.classes)
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "No findings"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return plain values for JSON."""
        return [
            {
                "class": self.names[index],
                "score": round(float(score), 6),
                "box": [round(float(value), 1) for value in box],
            }
            for box, score, index in zip(self.boxes, self.scores, self.classes, strict=True)
        ]


def decode(
    prediction: NDArray[np.float32], contract: Contract, confidence: float, iou: float, height: int, width: int
) -> Detections:
    """Turn the head's output for one image into detections in an original of (height, width) pixels.

    A box in the padding has no area inside the image: it is dropped before `max_det` counts. So is a box thinner than
    LEAST_SIDE, whose sides coincide when written with one decimal.
    """
    select = _select_nms_free if contract.head == "nms-free" else _select_anchors
    boxes, scores, classes = select(prediction, confidence, iou)
    boxes = unletterbox(boxes, contract.image_size, height, width)
    (keep,) = np.nonzero((boxes[:, 2:] - boxes[:, :2] > LEAST_SIDE).all(axis=1))
    keep = keep[: contract.max_det]
    return Detections(boxes[keep], scores[keep], classes[keep], contract.classes)


def _select_anchors(prediction: NDArray[np.float32], confidence: float, iou: float) -> Selection:
    """Choose from (4 + classes, anchors): the best class of each anchor, then NMS within each class."""
    scores = prediction[4:].max(axis=0)
    (candidates,) = np.nonzero(scores > confidence)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")[:CANDIDATES]]
    centre, extent = prediction[:2, candidates].T, prediction[2:4, candidates].T
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    classes = prediction[4:, candidates].argmax(axis=0)
    rectangles = np.concatenate([corners[:, :2], extent], axis=1)
    suppress: Any = cv2.dnn.NMSBoxesBatched  # its stub asks for lists, it takes arrays
    kept = suppress(rectangles, scores[candidates], classes, confidence, iou) if len(candidates) else ()
    keep = np.asarray(kept, np.int64).reshape(-1)
    return corners[keep], scores[candidates][keep], classes[keep]


def _select_nms_free(prediction: NDArray[np.float32], confidence: float, iou: float) -> Selection:
    """Choose from (n, 6) rows, which the network has already selected and sorted."""
    rows = prediction[prediction[:, 4] > confidence]
    return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
