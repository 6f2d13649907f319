"""Numbers the classes for the canonical layout in which snapshots are stored."""

from __future__ import annotations

import numpy as np

from sightline.datasets.types import Reading
from sightline.rules import Issue
from sightline.validate.index import Index
from sightline.validate.index.rows import as_array

SUSPECT_BOXES = 50  # with fewer boxes, their smallest coordinates do not tell whether pixels start at 0 or 1


def number_classes(index: Index, reading: Reading, origin: int, name: str) -> tuple[list[str], dict[int, int]]:
    """Return the class names, and for each class number of labels in the index its position among the names.

    Where only the labels name classes (VOC), adds the issue `pixel-origin` if no box touches pixel 0; `origin` is the
    configured first pixel, 0 or 1, and `name` the name of the set in the issue.
    """
    if reading.classes is not None:
        return reading.classes, {number: number for number in range(len(reading.classes))}
    used: set[int] = set()
    first_pixels = boxes = 0
    zero_pixels = 0
    for image in index.images.labelled():
        values = as_array(image.labels)
        used.update(values[:, 0].tolist())
        corner = (values[:, 1:3] - values[:, 3:] / 2) * (np.array([image.width, image.height]) / 1e6)
        boxes += len(values)
        first_pixels += int((np.abs(corner - 1) < 0.01).any(axis=1).sum())
        zero_pixels += int((corner < 0.5).any(axis=1).sum())
    if reading.format == "voc" and not origin and boxes >= SUSPECT_BOXES and first_pixels and not zero_pixels:
        message = f"{first_pixels} of {boxes} boxes begin at pixel 1, and none at 0"
        index.issues.add(None, [Issue("pixel-origin", name, message)])
    numbers = index.images.class_ids()
    names = sorted(name for name, number in numbers.items() if number in used)
    return names, {numbers[name]: place for place, name in enumerate(names)}
