"""The list of cases, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sightline.documents import Attempt
from tests.faults.stand import Stand, Started, expect

EPOCHS = 3


@dataclass(frozen=True)
class Outcome:
    """How a case ended, where it ended as it must."""

    ended: str
    attempts: int
    seconds: float | None = None  # from the fault to the next step of training


@dataclass(frozen=True)
class Case:
    """A fault, and what must come of it."""

    name: str
    injected: str
    play: Callable[[Stand], Outcome]
    quick: bool


CASES: dict[str, Case] = {}


def case(name: str, injected: str, *, quick: bool = False) -> Callable[[Callable[[Stand], Outcome]], None]:
    """List a function as a case; `quick` ones are played in the default tests."""

    def listed(play: Callable[[Stand], Outcome]) -> None:
        assert name not in CASES
        CASES[name] = Case(name, injected, play, quick)

    return listed


def recovered(
    stand: Stand, started: Started, *endings: str, kept: int = 1, lost: int = 0, codes: Sequence[int] = (0,)
) -> Outcome:
    """See that a training came to its end by itself, after attempts that ended so.

    Each began with at least `kept` epochs, and with those that the one before it had kept but for `lost`, which the
    case has damaged.
    """
    code = started.wait()
    expect(code in codes, f"exit code {code}: {started.output[-600:]}")
    document = stand.document()
    found = [attempt.ending for attempt in document.attempts]
    reasons = [attempt.reason for attempt in document.attempts[:-1]]
    expect(found == [*endings, "finished"], f"the attempts ended {found}: {reasons}")
    expect(document.epochs_completed == EPOCHS, f"{document.epochs_completed} epochs")
    expect([epoch.epoch for epoch in document.history] == list(range(1, EPOCHS + 1)), "the history has gaps")
    _follow_each_other(document.attempts, kept, lost)
    expect(not any(stand.work.iterdir()), f"left in the work folder: {list(stand.work.iterdir())}")
    expect("Traceback" not in started.output, "a traceback on the terminal")
    return Outcome(_said(document.attempts), len(found), stand.seconds())


def stopped(stand: Stand, started: Started, ending: str, *words: str, attempts: int = 1, code: int = 1) -> Outcome:
    """See that a training ended with one clear message, which has these words, after so many attempts."""
    found = started.wait()
    expect(found == code, f"exit code {found}: {started.output[-600:]}")
    expect(not (stand.run / "train" / "train.json").exists(), "a document of a training that failed")
    for word in words:
        expect(word in started.output, f"'{word}' is not in: {started.output[-800:]}")
    expect(started.output.count("error: ") == 1, f"not one message: {started.output[-800:]}")
    expect("Traceback" not in started.output, "a traceback on the terminal")
    begun = len(started.signs.beats)
    expect(begun == attempts, f"{begun} attempts, and not {attempts}")
    if any(stand.work.glob("*/attempts.json")):  # a mistake in the settings leaves nothing
        listed = [each.ending for each in stand.attempts()]
        expect(listed == [ending] * attempts, f"the attempts ended {listed}")
    return Outcome(f"{ending}: {started.output.partition('error: ')[2][:160]}", attempts)


def _follow_each_other(attempts: Sequence[Attempt], kept: int, lost: int = 0) -> None:
    """See that every attempt has its record, and begins where the one before it left a checkpoint."""
    for number, attempt in enumerate(attempts, start=1):
        expect(attempt.number == number and attempt.settings and attempt.started_at, f"attempt {number}: {attempt}")
        expect(attempt.ending == "finished" or attempt.evidence, f"attempt {number} shows no evidence: {attempt}")
    for before, after in pairwise(attempts):
        from_epoch = after.resumed_from
        expect(
            from_epoch == before.epochs - lost, f"{before.epochs} epochs were kept, and it went on from {from_epoch}"
        )
        expect(from_epoch >= kept, f"it went on from {from_epoch}, and {kept} were to be kept")


def _said(attempts: Sequence[Attempt]) -> str:
    """Say in a line how the attempts ended and what changed."""
    changed = "; ".join(change for attempt in attempts for change in attempt.changed)
    ends = ", ".join(dict.fromkeys(attempt.ending for attempt in attempts[:-1]))
    return f"{ends}, then finished" + (f" with {changed}" if changed else "")
