"""Histograms and heat maps as inline SVG in the page's own colours, so that they follow light, dark and print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from sightline.datasets.split_comparison import Floats, percent, short
from sightline.documents import Distributions, Histogram, Split

WIDTH, HEIGHT = 460, 220  # SVG units; the page scales a figure to its column
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 42
TOPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # ends of the axis of shares
LABELS = 8  # at most, under an axis
RARE = 0.002  # share of a split at either end that is drawn in the outer bin, lest one odd box stretch the axis
TONES: dict[Split, int] = {"train": 1, "val": 2, "test": 3}  # colours of the page


class Figure(NamedTuple):
    """A drawing with its words; `splits` are those in it."""

    title: str
    note: str
    svg: Markup
    splits: list[Split]


def histograms(distributions: Distributions) -> list[Figure]:
    """Draw the four properties that have an order; those that nothing is known of are left out."""
    return [
        _histogram(title, note, axis, data, label, whole)
        for title, note, axis, data, label, whole in (
            (
                "Box size",
                "Share of boxes.",
                "side of the box in % of the image’s",
                distributions.sizes,
                _hundredth,
                False,
            ),
            ("Box shape", "Share of boxes.", "width over height", distributions.aspects, short, False),
            ("Boxes per image", "Share of images.", "boxes", distributions.boxes_per_image, _whole, True),
            (
                "Image size",
                "Share of images.",
                "square root of the area, pixels",
                distributions.image_sizes,
                _whole,
                False,
            ),
        )
        if data.counts
    ]


def heat_maps(distributions: Distributions) -> list[Figure]:
    """Draw where the centres of boxes lie, one map a split."""
    return [_heat_map(split, cells) for split, cells in distributions.positions.items()]


def _hundredth(value: float) -> str:
    return short(100 * value)


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _histogram(title: str, note: str, axis: str, data: Histogram, label: Callable[[float], str], whole: bool) -> Figure:
    """Draw shares by split over bins of the same width; `whole` bins hold whole numbers and are labelled as such."""
    known = {split: np.array(counts) / sum(counts) for split, counts in data.counts.items()}
    first, last = _range(list(known.values()))
    edges = data.edges[first : last + 2]
    bins = last - first + 1
    shares = {split: _folded(values, first, last) for split, values in known.items()}
    peak = max(max(values) for values in shares.values())
    top = next(end for end in TOPS if end >= peak - 1e-9)
    step = (WIDTH - LEFT - RIGHT) / bins
    parts = [*_shares_axis(top), *(_steps(values, step, top, split) for split, values in shares.items())]
    every = -(-bins // LABELS)
    y = HEIGHT - BOTTOM + 18
    for number in range(0, bins, every) if whole else range(0, bins + 1, every):
        text = _between(edges[number], edges[number + 1]) if whole else label(edges[number])
        x = LEFT + step * (number + (0.5 if whole else 0))
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>')
    centre = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{centre}" y="{HEIGHT - 4}" text-anchor="middle">{axis}</text>')
    # `Markup` is right here: all text in the parts is ours or a number.
    svg = Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>')
    return Figure(title, note, svg, list(shares))


def _range(shares: Sequence[Floats]) -> tuple[int, int]:
    """Return the first and last bin to draw: those in use but for rare ends, and one on either side for the shape."""
    used = [np.flatnonzero((np.cumsum(values) > RARE) & (np.cumsum(values[::-1])[::-1] > RARE)) for values in shares]
    return max(0, min(int(bins[0]) for bins in used) - 1), min(
        len(shares[0]) - 1, max(int(bins[-1]) for bins in used) + 1
    )


def _folded(shares: Floats, first: int, last: int) -> list[float]:
    """Cut a split to the bins that are drawn; the outer ones take what lies out."""
    return [*np.add.reduceat(shares, [0, *range(first + 1, last + 1)]).tolist()]


def _between(low: float, high: float) -> str:
    """Name a bin of whole numbers: `5`, `6–7`."""
    return f"{low:.0f}" if high - low == 1 else f"{low:.0f}–{high - 1:.0f}"


def _shares_axis(top: float) -> list[str]:
    parts = []
    for share in (0.0, top / 2, top):
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / top)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.10g} %</text>')
    return parts


def _steps(shares: Sequence[float], step: float, top: float, split: Split) -> str:
    """Draw one split as an outline; train, the largest, is also filled."""
    floor = HEIGHT - BOTTOM
    path = [f"M{LEFT} {floor}"]
    for number, share in enumerate(shares):
        y = floor - (floor - TOP) * share / top
        path.append(f"V{y:.1f}H{LEFT + step * (number + 1):.1f}")
    path.append(f"V{floor}")
    filled = " filled" if split == "train" else ""
    return f'<path class="line tone{TONES[split]}{filled}" d="{"".join(path)}"/>'


def _heat_map(split: Split, cells: Sequence[Sequence[int]]) -> Figure:
    total, most = sum(map(sum, cells)), max(map(max, cells))
    parts = [
        f'<rect x="{column}" y="{row}" width="1" height="1" fill-opacity="{count / most:.2f}"/>'
        for row, counts in enumerate(cells)
        for column, count in enumerate(counts)
        if count
    ]
    size = len(cells)
    svg = Markup(
        f'<svg viewBox="0 0 {size} {size}" class="map tone{TONES[split]}" role="img" aria-label="positions, {split}">'
        f'<rect class="ground" width="{size}" height="{size}"/>{"".join(parts)}</svg>'
    )
    return Figure(
        split,
        f"{total:,} box{'es' if total > 1 else ''}; fullest cell {percent(most / total)}",
        svg,
        [split],
    )
