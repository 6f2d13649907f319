"""Matches detections with labelled objects: the one rule behind precision, recall, confusions and the gallery."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IOU = 0.5  # overlap from which a detection claims a labelled object
Boxes = NDArray[np.floating]
Indices = NDArray[np.int64]


def iou_matrix(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Return the (len(a), len(b)) overlaps, intersection over union, of x1 y1 x2 y2 boxes."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - common
    overlaps: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def match(found: Boxes, labelled: Boxes, iou: float = IOU) -> Indices:
    """Give each found box, best score first, the free labelled box it overlaps most, if by at least `iou`.

    `found` must be sorted by falling score. Returns (len(found),) indices into `labelled`, -1 where nothing is left:
    the greedy rule of PASCAL VOC and COCO.
    """
    overlaps = iou_matrix(found, labelled)
    partner = np.full(len(found), -1, np.int64)
    for index in range(len(found) if len(labelled) else 0):
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= iou:
            partner[index] = best
            overlaps[:, best] = -1.0
    return partner


def match_by_class(
    found: Boxes, found_classes: Indices, labelled: Boxes, labelled_classes: Indices, iou: float = IOU
) -> Indices:
    """Like `match`, but a found box may only claim a labelled box of its own class."""
    partner = np.full(len(found), -1, np.int64)
    for index in np.unique(found_classes):
        (rows,), (columns,) = np.nonzero(found_classes == index), np.nonzero(labelled_classes == index)
        matched = match(found[rows], labelled[columns], iou)
        partner[rows[matched >= 0]] = columns[matched[matched >= 0]]
    return partner
