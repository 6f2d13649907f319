"""Boxes in pixels, for the formats that count in them."""

from __future__ import annotations

from sightline.datasets.types import Edges, Label

MICRO = 1_000_000  # canonical fractions have six decimals
DECIMALS = (2, 4)  # what is tried between whole pixels and the seven decimals that are always enough
SAME = 4.9e-7  # fractions: nearer than this, rounding to six decimals gives the same again, whatever floats do


def edges(label: Label, width: int, height: int) -> Edges:
    """Return x0, y0, x1, y1 of a box in an image of width x height pixels, counted from its upper left corner.

    Read back as fractions and rounded to six decimals, they are the label again: nothing is lost. Of the numbers that
    do so, those with few decimals are taken, so boxes that were drawn on whole pixels have whole pixels again.
    """
    _, cx, cy, w, h = label
    (x0, x1), (y0, y1) = _span(cx, w, width), _span(cy, h, height)
    return x0, y0, x1, y1


def _span(center: float, extent: float, size: int) -> tuple[float, float]:
    """Return where a side of a box starts and ends, in pixels of an image side of `size`."""
    low, high = (center - extent / 2) * size, (center + extent / 2) * size
    start, end = round(low), round(high)
    a, b = start / size, end / size  # below is what the gate computes: a side of 640 often ends on half a millionth
    if round((a + b) / 2 * MICRO) == round(center * MICRO) and round((b - a) * MICRO) == round(extent * MICRO):
        return start, end
    for decimals in DECIMALS:
        x0, x1 = round(low, decimals), round(high, decimals)
        if abs((x0 + x1) / 2 / size - center) < SAME and abs((x1 - x0) / size - extent) < SAME:
            return x0, x1
    return round(low, 7), round(high, 7)  # exact: half a millionth, times whole pixels, has seven decimals
