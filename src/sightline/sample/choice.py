"""Chooses the test images that the gallery shows, and says why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.datasets.pictures import spread
from sightline.documents import Chosen
from sightline.predictions import Errors, Predictions
from sightline.snapshots import Labelled

Choice = tuple[int, Chosen]  # position of the image in its split, and why it is shown
ORDER: tuple[Chosen, ...] = ("miss", "false alarm", "typical", "empty")


def by_predictions(predictions: Predictions, confidence: float, count: int) -> list[Choice]:
    """Choose up to `count` images by their detections above the operating confidence.

    Four kinds take turns, each adding its first image that is not chosen yet:

        miss          the most objects missed
        false alarm   the most detections without a labelled object
        typical       objects are labelled, and F1 is nearest to the median of such images
        empty         nothing is labelled; the fewest detections first

    Ties go to the lower sha256, so that neither names nor their order matter. Returns the misses first, then the other
    kinds in this order.
    """
    candidates = _candidates(predictions.errors(confidence), predictions.image_sha256s)
    taken: dict[int, Chosen] = {}
    queues = {kind: iter(images.tolist()) for kind, images in candidates.items()}
    while queues and len(taken) < count:
        for kind, queue in list(queues.items()):
            image = next((image for image in queue if image not in taken), None)
            if image is None:
                del queues[kind]
            elif len(taken) < count:
                taken[image] = kind
    return sorted(taken.items(), key=lambda item: ORDER.index(item[1]))


def _candidates(errors: Errors, sha256s: NDArray[np.str_]) -> dict[Chosen, NDArray[np.int64]]:
    """Return the images of each kind, in the order in which they are chosen."""
    labelled = errors.labelled > 0
    f1 = 2 * errors.right / np.maximum(errors.found + errors.labelled, 1)
    unusual = np.abs(f1 - np.median(f1[labelled])) if labelled.any() else f1

    def ordered(images: NDArray[np.bool_], least_first: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
        order = np.lexsort((sha256s, least_first))
        return order[images[order]]

    return {
        "miss": ordered(errors.missed > 0, -errors.missed),
        "false alarm": ordered(errors.false > 0, -errors.false),
        "typical": ordered(labelled, unusual),
        "empty": ordered(~labelled, errors.found),
    }


def evenly(samples: Sequence[Labelled], count: int) -> list[Choice]:
    """Choose images evenly over the split, in the order of their names, whatever their scores.

    Images without labels get their share: at least one where there are any and `count` is above 1.
    """
    empty = [index for index, sample in enumerate(samples) if not len(sample.classes)]
    full = [index for index, sample in enumerate(samples) if len(sample.classes)]
    share = min(len(empty), max(1, round(count * len(empty) / len(samples)))) if empty and count > 1 else 0
    return [(index, "even") for index in (*spread(full, count - share), *spread(empty, share))]
