"""What the canonical layout calls things: class numbers and file names, worked out in the index."""

from __future__ import annotations

import numpy as np

from sightline.datasets.types import Reading
from sightline.rules import Issue
from sightline.validate.index import LIVE, Index

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
    rows = index.rows("SELECT labels, width, height FROM item WHERE labels IS NOT NULL")
    while block := rows.fetchmany(1000):
        for labels, width, height in block:
            values = np.frombuffer(labels, "<i4").reshape(-1, 5)
            used.update(values[:, 0].tolist())
            corner = (values[:, 1:3] - values[:, 3:] / 2) * (np.array([width, height]) / 1e6)
            boxes += len(values)
            first_pixels += int((np.abs(corner - 1) < 0.01).any(axis=1).sum())
            zero_pixels += int((corner < 0.5).any(axis=1).sum())
    if reading.format == "voc" and not origin and boxes >= SUSPECT_BOXES and first_pixels and not zero_pixels:
        message = f"{first_pixels} of {boxes} boxes begin at pixel 1, and none at 0"
        index.add(None, [Issue("pixel-origin", name, message)])
    names = sorted(name for number, name in index.rows("SELECT id, name FROM class") if number in used)
    numbers = dict(index.rows("SELECT name, id FROM class"))
    return names, {numbers[name]: place for place, name in enumerate(names)}


def name_images(index: Index) -> None:
    """Give every image its name: its own where that is plain and unique in its split, else with digits of its content.

    Unique means without its suffix, and whatever the case: two images must not share a label file.
    """
    with index.together():
        index.rows("CREATE TEMP TABLE IF NOT EXISTS doubled (final TEXT, low TEXT, PRIMARY KEY (final, low))")
        index.rows("DELETE FROM doubled")
        index.rows(f"INSERT INTO doubled SELECT final, low FROM item WHERE {LIVE} GROUP BY 1, 2 HAVING COUNT(*) > 1")
        doubled = "(NOT fits OR (final, low) IN (SELECT final, low FROM doubled))"
        name = f"CASE WHEN {doubled} THEN alternative ELSE own END"
        index.rows(f"UPDATE item SET name = {name} WHERE {LIVE} AND name IS NOT {name}")
