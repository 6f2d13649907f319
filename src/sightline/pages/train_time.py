"""Where the time of a training went: its parts, what bound it, and what it took besides."""

from __future__ import annotations

from typing import NamedTuple

from sightline.documents import Phase, TrainDocument
from sightline.documents.train_time import PHASES
from sightline.pages.formatting import counted, duration, hours

NAMES: dict[Phase, str] = {
    "data": "waiting for images",
    "transfer": "transfer",
    "compute": "computing",
    "validation": "validation",
    "checkpoint": "checkpoints",
    "other": "all else",
}


class Row(NamedTuple):
    """A part of the time: its share of the judged epochs in percent, and its seconds in all epochs in words."""

    name: str
    percent: float
    took: str


class Table(NamedTuple):
    """All parts, and sentences about the whole."""

    verdict: str
    advice: str
    rows: list[Row]
    notes: str


def table(document: TrainDocument) -> Table:
    """Lay out where the time of a training went."""
    time = document.time
    rows = [Row(NAMES[name], 100 * time.shares[name], duration(getattr(time.spent, name))) for name in PHASES]
    verdict = f"{time.verdict[0].upper()}{time.verdict[1:]}."
    return Table(verdict, time.advice, rows, " ".join(_notes(document)))


def _notes(document: TrainDocument) -> list[str]:
    time, epochs = document.time, len(document.history)
    notes = [f"Seconds are of {counted(epochs, 'epoch')}, each counted once."]
    if time.judged_epochs < epochs:
        left_out = "the first one" + " of each attempt" * (len(document.attempts) > 1)
        notes.append(
            f"Shares are of {time.judged_epochs} of them, without {left_out}, in which loaders and caches fill."
        )
    lost = (
        f", and {duration(time.lost_seconds)} were lost with attempts that did not finish" if time.lost_seconds else ""
    )
    notes.append(f"Starting processes and writing the results took {duration(time.outside_seconds)} beside them{lost}.")
    if time.attempts_gpu_seconds is not None:
        took = f"All attempts together took {hours(time.attempts_gpu_seconds / 3600)} GPU hours"
        if time.energy_joules is None:
            notes.append(f"{took}; their energy is not known, since not every card has a counter that could be read.")
        else:
            notes.append(f"{took} and {_energy(time.energy_joules)}, by the cards’ own counters.")
    return notes


def _energy(joules: float) -> str:
    """Say an energy as it is paid for."""
    return f"{joules / 3.6e6:.2f} kWh" if joules >= 3.6e5 else f"{joules / 3600:.3g} Wh"
