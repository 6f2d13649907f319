"""Boxes between the forms that formats use."""

from __future__ import annotations


def from_edges(edges: tuple[float, ...], width: int, height: int) -> tuple[float, ...]:
    """What the gate makes of edges in pixels."""
    x0, y0, x1, y1 = edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height
    return tuple(round(value * 1_000_000) / 1_000_000 for value in ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0))
