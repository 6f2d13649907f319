"""How both pages write numbers, and the words they begin with."""

from __future__ import annotations

from typing import NamedTuple


class Headline(NamedTuple):
    """The first thing on a page: the verdict in a word, a sentence and reasons; `tone` is its colour."""

    word: str
    sentence: str
    tone: str
    reasons: list[str]


def score(value: float | None) -> str:
    """Three decimals; a dash for what has no value."""
    return "–" if value is None else f"{value:.3f}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """Put a number before its noun: `1 image`, `1,200 images`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Say a duration in its two largest units."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def whole_seconds(value: float) -> str:
    """Say a duration of which no part of a second is known, as Argo and Kubernetes keep them."""
    return f"{value:.0f} s" if value < 60 else duration(value)


def hours(value: float) -> str:
    """Say a number of hours with two decimals, small ones with two digits that count."""
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"


def size(value: float) -> str:
    """Say a number of bytes in the unit it is read in."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
