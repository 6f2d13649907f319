"""Line charts as inline SVG, drawn by hand: they take the page's colours, so they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 460, 276  # SVG units; the page scales a chart to its column
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 12, 46


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

    With `powers` the values of y are powers of ten, and the axis is labelled with what they stand for.
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

    def svg(self) -> Markup:
        """Draw it. All text in it is ours or a number, so it needs no escaping."""
        parts = [*self._grid(), *(self._path(line) for line in self.lines), *self._mark()]
        # `Markup` is right here: nothing in the parts came from a user.
        return Markup(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{self.title}">{"".join(parts)}</svg>'
        )

    def _x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        low, high = self.y_range
        inside = min(max(value, low), high)
        return HEIGHT - BOTTOM - (inside - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def _grid(self) -> list[str]:
        parts = []
        for value in ticks(*self.y_range, 5, whole=self.powers):
            y = self._y(value)
            shown = f"{10**value:,.0f}" if self.powers else f"{value:.10g}"
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
        for value in ticks(*self.x_range, 6, whole=self.whole):
            x = self._x(value)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:.10g}</text>')
        centre = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{centre}" y="{HEIGHT - 4}" text-anchor="middle" class="axis">{self.x_label}</text>')
        return parts

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
        right = x > WIDTH * 0.6
        parts = [
            f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>',
            f'<text class="marked" x="{x + (-6 if right else 6):.1f}" y="{HEIGHT - BOTTOM - 8}" '
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
