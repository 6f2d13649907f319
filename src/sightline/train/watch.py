"""Watches the processes of a training from outside: their heartbeats, and the memory that they and the machine use."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sightline.documents.signs import Heartbeat, Pulse
from sightline.runtime import machine
from sightline.train import heartbeats, pulse
from sightline.train.heartbeats import Patience

INTERVAL = 0.5  # seconds between looks
SLEPT = 10.0  # seconds between two looks that show that this process itself stood still
GONE = ("", "Z", "X")  # states of a process that has ended
PROC = Path("/proc")


@dataclass
class ProcessMemory:
    """A process of the training: a rank, or a loader that a rank started."""

    rank: int
    loader: bool
    peak: int = 0  # bytes of memory at most, as the kernel counts


class Watch:
    """Samples all descendants of a process until the block ends: a dead process can no longer be asked."""

    def __init__(self, top: int, folder: Path, patience: Patience | None = None) -> None:
        """Take the process that starts the ranks, and the folder in which these leave their heartbeats."""
        self.top = top
        self.folder = folder
        self.patience = patience or Patience()
        self.seen: dict[int, ProcessMemory] = {}
        self.beats: list[Heartbeat] = []
        self.idle = 0.0  # seconds without progress of any rank; 0 before there are ranks
        self.least_available = machine.memory().available
        self.least_shared = (machine.shared_memory() or (0, 0))[1]
        self._held = 0
        self._before = pulse.take()
        self._since: float | None = None  # when the ranks were first seen, or last woken up
        self._looked = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def kills(self) -> int | None:
        """Processes that the kernel has killed meanwhile because memory ran out; None if unknown.

        Counts those of the own control group where the kernel does, else those of the whole machine.
        """
        now = pulse.take()
        for before, after in ((self._before.kills, now.kills), (self._before.machine_kills, now.machine_kills)):
            if before is not None and after is not None:
                return after - before
        return None

    @property
    def place(self) -> str:
        """Where `kills` counts."""
        return "on this machine" if self._before.kills is None else "in its control group"

    @property
    def refusals(self) -> int | None:
        """How often the container's memory limit was reached meanwhile; None without one."""
        now = machine.memory_events().refusals
        return None if now is None or self._before.refusals is None else now - self._before.refusals

    @property
    def hangs(self) -> bool:
        """Whether no rank has made progress for longer than a training may take."""
        return self.idle > self.patience.allowed(self.beats)

    def pulse(self) -> Pulse:
        """Return the state of the training now."""
        return pulse.take(self.beats, self._held)

    def ranks(self) -> dict[int, int]:
        """Return the process of each rank that lives, also of one whose launcher is gone."""
        known = {pid for pid, process in self.seen.items() if not process.loader}
        found = {pid: rank for pid in {*_children(self.top), *known} if (rank := _rank(pid)) is not None}
        return {rank: pid for pid, rank in sorted(found.items()) if state(pid) not in GONE}

    def _follow(self) -> None:
        while not self._stop.wait(INTERVAL):
            with contextlib.suppress(OSError):  # too many open files, a folder that is away: it looks again
                self._look_around()

    def _look_around(self) -> None:
        self.least_available = min(self.least_available, machine.memory().available)
        if shared := machine.shared_memory():
            self.least_shared = min(self.least_shared, shared[1])
        self._held = max(self._held, machine.memory().used or 0)
        for pid in _children(self.top):
            if (rank := _rank(pid)) is not None:
                self._look(pid, rank, loader=False)
        now = time.monotonic()
        # All stood still together: the container was paused, or the machine slept. That is no hang of the ranks.
        if self.seen and (self._since is None or now - self._looked > SLEPT):
            self._since = now
        self._looked = now
        self.beats = heartbeats.read(self.folder)
        self.idle = heartbeats.idle(self.beats, self._since, now) if self._since is not None else 0.0

    def _look(self, pid: int, rank: int, loader: bool) -> None:
        known = self.seen.setdefault(pid, ProcessMemory(rank, loader))
        known.peak = max(known.peak, _peak(pid))
        for child in _children(pid):
            self._look(child, rank, loader=True)


def state(pid: int) -> str:
    """Return the letter that the kernel gives a process: R runs, S sleeps, D waits for a device, T was stopped."""
    with contextlib.suppress(OSError, IndexError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _rank(pid: int) -> int | None:
    """Return the rank that torchrun gave a process, if it did."""
    with contextlib.suppress(OSError, ValueError):
        for variable in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            if variable.startswith(b"RANK="):
                return int(variable.removeprefix(b"RANK="))
    return None


def _peak(pid: int) -> int:
    """Return the most memory that a process has had at once."""
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
