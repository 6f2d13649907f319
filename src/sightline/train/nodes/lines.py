"""What the other nodes print, on node 0 as well: each line by the number of its node."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from pathlib import Path

from sightline.runtime import progress
from sightline.train.nodes.messages import Beat

KEPT = 500  # lines that a node keeps for a node 0 that does not answer
LONGEST = 1000  # characters of a line
LAST = 10  # lines of a node that a message of its end has
OTHERS = re.compile(r"^node \d+: .*\n?", re.MULTILINE)


class Lines:
    """What a node has printed and node 0 may not have yet."""

    def __init__(self) -> None:
        """Begin with the line of number 0."""
        self._lock = threading.Lock()
        self._first = 0
        self._kept: deque[str] = deque()

    def add(self, line: str) -> None:
        """Keep a line; the oldest goes where there are too many."""
        with self._lock:
            self._kept.append(line.rstrip()[:LONGEST])
            if len(self._kept) > KEPT:
                self._kept.popleft()
                self._first += 1

    def rest(self) -> tuple[int, list[str]]:
        """Return the lines that node 0 may lack, and the number of the first."""
        with self._lock:
            return self._first, list(self._kept)

    def heard(self, count: int) -> None:
        """Forget the lines that node 0 has: the first `count`."""
        with self._lock:
            while self._kept and self._first < count:
                self._kept.popleft()
                self._first += 1


class Relay:
    """Puts the lines of the other nodes into node 0's log; where nothing draws progress, on standard output too."""

    def __init__(self) -> None:
        """Keep what comes before there is a log."""
        self._log: Path | None = None
        self._early: list[str] = []
        self._next: dict[int, tuple[str, int]] = {}  # by rank: of which process, and the number of its next line
        self._last: dict[int, deque[str]] = {}

    def to(self, log: Path) -> None:
        """Write to a log from now on, beginning with what came before."""
        self._log = log
        early, self._early = self._early, []
        self._append(early)

    def take(self, beat: Beat) -> int:
        """Take the lines of a message that are new; returns how many lines of its process have come by now."""
        session, due = self._next.get(beat.rank, ("", 0))
        if session != beat.session:
            due = 0
        missing = beat.first - due
        lines = beat.lines[max(0, -missing) :]
        if missing > 0:
            lines = [f"… {missing} lines are left out", *lines]
        due = max(due, beat.first + len(beat.lines))
        self._next[beat.rank] = (beat.session, due)
        if said := [line for line in lines if line]:
            self._last.setdefault(beat.rank, deque(maxlen=LAST)).extend(said)
            self._show([f"node {beat.rank}: {line}" for line in said])
        return due

    def last(self, rank: int) -> list[str]:
        """Return the last lines of a node, with its number."""
        return [f"node {rank}: {line}" for line in self._last.get(rank, ())]

    def _show(self, lines: list[str]) -> None:
        if progress.VARIABLE not in os.environ:
            print("\n".join(lines), flush=True)
        if self._log is None:
            self._early += lines
        else:
            self._append(lines)

    def _append(self, lines: list[str]) -> None:
        # A full disk shows in node 0's own lines, and ends the training there.
        with contextlib.suppress(OSError):
            assert self._log
            with self._log.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))


def own(printed: str) -> str:
    """Return what node 0's own processes have printed, without the lines of the other nodes."""
    return OTHERS.sub("", printed)
