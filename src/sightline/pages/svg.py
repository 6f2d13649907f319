"""Line charts, histograms and heat maps as inline SVG in the page's colours: they follow light, dark and print.

All text in them is ours or a number, never a user's, so `Markup` is safe here without escaping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from sightline.datasets.split_comparison import Floats, percent
from sightline.documents import Histogram, Split

TONES: dict[Split, int] = {"train": 1, "val": 2, "test": 3}  # colours of the page
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # ends of the axis of a histogram
LABELS = 8  # at most, under a histogram
RARE = 0.002  # share of a split at either end drawn in the outer bin, so that one odd box does not stretch the axis


class Figure(NamedTuple):
    """A drawing with its words; `splits` are those in it."""

    title: str
    note: str
    svg: Markup
    splits: list[Split]


class Plot(NamedTuple):
    """The area inside a drawing where values lie, in SVG units; the page scales a drawing to its column."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, share: float) -> float:
        """Return the place of a share of the horizontal axis, 0 at its start and 1 at its end."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """Return the place of a share of the vertical axis, 0 at its foot and 1 at its top."""
        return self.bottom - share * (self.bottom - self.top)

    def level(self, y: float, label: str) -> list[str]:
        """Draw a line of the grid, and its label to the left."""
        return [
            f'<path class="grid" d="M{self.left} {y:.1f}H{self.right}"/>',
            f'<text x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>',
        ]

    def label(self, x: float, text: str) -> str:
        """Write below the horizontal axis."""
        return f'<text x="{x:.1f}" y="{self.bottom + 18}" text-anchor="middle">{text}</text>'

    def axis(self, name: str) -> str:
        """Name the horizontal axis."""
        return f'<text x="{self.x(0.5)}" y="{self.height - 4}" text-anchor="middle">{name}</text>'

    def svg(self, title: str, parts: Sequence[str]) -> Markup:
        """Put a drawing together."""
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return Markup(f'<svg {box} role="img" aria-label="{title}">{"".join(parts)}</svg>')


CHART = Plot(width=460, height=290, left=42, right=448, top=26, bottom=244)  # above it a mark is named
HISTOGRAM = Plot(width=460, height=220, left=48, right=448, top=10, bottom=178)


@dataclass(frozen=True)
class Line:
    """One line of a chart; `tone` is 1, 2 or 3 and picks the page's colour."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: int = 1
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart: its lines, the words at its axes, and where the operating point is, if it has one.

    With `powers` the values of y are powers of ten, and the axis is labelled with what they stand for. `breaks` are
    values of x at which something was interrupted.
    """

    title: str
    note: str
    lines: Sequence[Line]
    x_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    mark: float | None = None
    mark_label: str = ""
    whole: bool = False
    powers: bool = False
    breaks: Sequence[float] = ()

    def svg(self) -> Markup:
        """Draw it."""
        return CHART.svg(self.title, [*self._grid(), *(self._path(line) for line in self.lines), *self._mark()])

    def _x(self, value: float) -> float:
        low, high = self.x_range
        return CHART.x((value - low) / (high - low))

    def _y(self, value: float) -> float:
        low, high = self.y_range
        return CHART.y((min(max(value, low), high) - low) / (high - low))

    def _grid(self) -> list[str]:
        levels = [
            part
            for value in ticks(*self.y_range, 5, whole=self.powers)
            for part in CHART.level(self._y(value), f"{10**value:,.0f}" if self.powers else f"{value:.10g}")
        ]
        values = ticks(*self.x_range, 6, whole=self.whole)
        breaks = [f'<path class="break" d="M{self._x(x):.1f} {CHART.top}V{CHART.bottom}"/>' for x in self.breaks]
        return [
            *levels,
            *breaks,
            *(CHART.label(self._x(value), f"{value:.10g}") for value in values),
            CHART.axis(self.x_label),
        ]

    def _path(self, line: Line) -> str:
        points = [f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in zip(line.x, line.y, strict=True)]
        if len(points) == 1:
            x, y = points[0].split()
            return f'<circle class="dot tone{line.tone}" cx="{x}" cy="{y}" r="3.5"/>'
        dashed = " dashed" if line.dashed else ""
        return f'<path class="line tone{line.tone}{dashed}" d="M{"L".join(points)}"/>' if points else ""

    def _mark(self) -> list[str]:
        if self.mark is None:
            return []
        x = self._x(self.mark)
        right = x > CHART.width * 0.6
        parts = [
            f'<path class="mark" d="M{x:.1f} {CHART.top - 14}V{CHART.bottom}"/>',
            f'<text class="marked" x="{x + (-6 if right else 6):.1f}" y="{CHART.top - 8}" '
            f'text-anchor="{"end" if right else "start"}">{self.mark_label}</text>',
        ]
        for line in (line for line in self.lines if line.x):
            y = self._y(float(np.interp(self.mark, line.x, line.y)))
            parts.append(f'<circle class="dot tone{line.tone}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
        return parts


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Return about `count` round numbers from `low` to `high`, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def round_up(value: float) -> float:
    """Return the next round number at or above `value`, for the end of an axis; 1 for nothing."""
    if value <= 0:
        return 1.0
    step: float = 10.0 ** math.floor(math.log10(value)) / 2
    return math.ceil(value / step) * step


def histogram(
    title: str, note: str, axis: str, data: Histogram, label: Callable[[float], str], *, whole: bool = False
) -> Figure:
    """Draw shares by split over bins of the same width; `whole` bins hold whole numbers and are labelled as such."""
    known = {split: np.array(counts) / sum(counts) for split, counts in data.counts.items()}
    first, last = _bins_in_use(list(known.values()))
    edges = data.edges[first : last + 2]
    bins = last - first + 1
    shares = {split: _folded(values, first, last) for split, values in known.items()}
    peak = max(max(values) for values in shares.values())
    top = next(end for end in SHARES if end >= peak - 1e-9)
    parts = [
        part for share in (0.0, 0.5, 1.0) for part in HISTOGRAM.level(HISTOGRAM.y(share), f"{100 * share * top:.10g} %")
    ]
    parts += [_outline(values, top, split) for split, values in shares.items()]
    every = -(-bins // LABELS)
    for number in range(0, bins, every) if whole else range(0, bins + 1, every):
        text = _whole_bin(edges[number], edges[number + 1]) if whole else label(edges[number])
        parts.append(HISTOGRAM.label(HISTOGRAM.x((number + (0.5 if whole else 0)) / bins), text))
    return Figure(title, note, HISTOGRAM.svg(title, [*parts, HISTOGRAM.axis(axis)]), list(shares))


def _bins_in_use(shares: Sequence[Floats]) -> tuple[int, int]:
    """Return the first and last bin to draw: those in use but for rare ends, and one more on either side."""
    used = [np.flatnonzero((np.cumsum(values) > RARE) & (np.cumsum(values[::-1])[::-1] > RARE)) for values in shares]
    first, last = min(int(bins[0]) for bins in used), max(int(bins[-1]) for bins in used)
    return max(0, first - 1), min(len(shares[0]) - 1, last + 1)


def _folded(shares: Floats, first: int, last: int) -> list[float]:
    """Cut a split to the bins that are drawn; the outer ones include what lies beyond."""
    return [*np.add.reduceat(shares, [0, *range(first + 1, last + 1)]).tolist()]


def _whole_bin(low: float, high: float) -> str:
    """Name a bin of whole numbers: `5`, `6–7`."""
    return f"{low:.0f}" if high - low == 1 else f"{low:.0f}–{high - 1:.0f}"


def _outline(shares: Sequence[float], top: float, split: Split) -> str:
    """Draw one split as an outline; train, the largest, is also filled."""
    path = [f"M{HISTOGRAM.left} {HISTOGRAM.bottom}"]
    for number, share in enumerate(shares, start=1):
        path.append(f"V{HISTOGRAM.y(share / top):.1f}H{HISTOGRAM.x(number / len(shares)):.1f}")
    path.append(f"V{HISTOGRAM.bottom}")
    filled = " filled" if split == "train" else ""
    return f'<path class="line tone{TONES[split]}{filled}" d="{"".join(path)}"/>'


def heat_map(split: Split, cells: Sequence[Sequence[int]]) -> Figure:
    """Draw where the centres of a split's boxes lie, from counts on a square grid, rows from the top."""
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
    boxes = "1 box" if total == 1 else f"{total:,} boxes"
    return Figure(split, f"{boxes}; fullest cell {percent(most / total)}", svg, [split])
