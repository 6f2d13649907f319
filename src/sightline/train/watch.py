"""Watches the processes of a training from outside: which they are, and how much memory they and the machine use."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sightline.runtime import machine

INTERVAL = 0.5  # seconds between looks
PROC = Path("/proc")


@dataclass
class ProcessMemory:
    """A process of the training: a rank, or a loader that a rank started."""

    rank: int
    loader: bool
    peak: int = 0  # bytes of memory at most, as the kernel counts


class Watch:
    """Samples all descendants of a process until the block ends: a dead process can no longer be asked."""

    def __init__(self, top: int) -> None:
        """Take the process that starts the ranks."""
        self.top = top
        self.seen: dict[int, ProcessMemory] = {}
        self.least_available = machine.memory().available
        self.least_shared = (machine.shared_memory() or (0, 0))[1]
        self._kills = machine.memory_kills()
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
        """Processes on this machine that the kernel has killed meanwhile because memory ran out; None if unknown."""
        now = machine.memory_kills()
        return None if now is None or self._kills is None else now - self._kills

    def _follow(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.least_available = min(self.least_available, machine.memory().available)
            if shared := machine.shared_memory():
                self.least_shared = min(self.least_shared, shared[1])
            for pid in _children(self.top):
                if (rank := _rank(pid)) is not None:
                    self._look(pid, rank, loader=False)

    def _look(self, pid: int, rank: int, loader: bool) -> None:
        known = self.seen.setdefault(pid, ProcessMemory(rank, loader))
        known.peak = max(known.peak, _peak(pid))
        for child in _children(pid):
            self._look(child, rank, loader=True)


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
