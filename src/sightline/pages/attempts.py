"""The attempts of a training along wall time: what each kept, lost and changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sightline.documents import Attempt, TrainDocument


class Bar(NamedTuple):
    """An attempt: its place along the whole training, and that of the work that it lost at its end, in percent."""

    attempt: Attempt
    ending: str
    left: float
    width: float
    lost: float
    elsewhere: bool  # than the attempt before it


class Timeline(NamedTuple):
    """The bars of a training; `began` is its first moment (ISO 8601, UTC) where that is known."""

    bars: list[Bar]
    began: str | None
    seconds: float
    lost: float


def timeline(document: TrainDocument) -> Timeline | None:
    """Lay out the attempts of a training; None for one that finished at its first attempt."""
    attempts = document.attempts
    if len(attempts) < 2:
        return None
    starts = _starts(attempts)
    whole = max(start + attempt.seconds for start, attempt in zip(starts, attempts, strict=True)) or 1.0
    machines = [attempt.machine for attempt in attempts]
    bars = [
        Bar(
            attempt,
            ending(attempt),
            100 * start / whole,
            100 * attempt.seconds / whole,
            100 * min(attempt.seconds_lost, attempt.seconds) / whole,
            machine is not None and machine != before,
        )
        for attempt, start, machine, before in zip(
            attempts, starts, machines, [machines[0], *machines[:-1]], strict=True
        )
    ]
    return Timeline(bars, attempts[0].started_at, whole, sum(attempt.seconds_lost for attempt in attempts))


def began(document: TrainDocument) -> list[int]:
    """Return after which epochs attempts resumed the training."""
    return sorted({attempt.resumed_from for attempt in document.attempts if attempt.resumed_from})


def ending(attempt: Attempt) -> str:
    """Say in a word or two how an attempt ended; a document of before endings were named has exit codes alone."""
    if attempt.ending == "finished" and attempt.exit_code:
        return f"exit code {attempt.exit_code}"
    return attempt.ending.replace("_", " ")


def _starts(attempts: Sequence[Attempt]) -> list[float]:
    """Return the seconds from the first attempt to each; where no times are known, each follows the one before."""
    starts: list[float] = []
    first = attempts[0].started_at
    for attempt in attempts:
        before = starts[-1] + attempts[len(starts) - 1].seconds if starts else 0.0
        if first and attempt.started_at:
            passed = (datetime.fromisoformat(attempt.started_at) - datetime.fromisoformat(first)).total_seconds()
            starts.append(max(passed, starts[-1] if starts else 0.0))  # clocks of two machines may differ
        else:
            starts.append(before)
    return starts
