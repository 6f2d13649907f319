"""The class numbers of the canonical layout."""

from __future__ import annotations

import numpy as np

from sightline.datasets.types import Reading
from sightline.rules import Issue
from sightline.validate.index import Index
from sightline.validate.index.rows import as_array

SUSPECT_BOXES = 50  # boxes from which on their pixels say something about where counting began


def number_classes(index: Index, reading: Reading, origin: int, name: str) -> tuple[list[str], dict[int, int]]:
    """Return the class names, and the index among them of each number that labels in the index hold.

    `name` is that of the set, for what is found about all of it.
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
