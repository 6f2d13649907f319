"""The heartbeat of a training process: a small file that is rewritten while it makes progress."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE, STACKS = "heartbeat-{rank}.json", "stacks-{rank}.txt"
INTERVAL = 0.5  # seconds at least between two writes


class Beat:
    """Tells whoever watches the folder how far this process is.

    Progress is a batch of training or validation, a scanned image, or a checkpoint. `time` is the machine's monotonic
    clock, which all its processes share.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        """Write into `folder`; on SIGUSR1 also the stacks of all threads."""
        self.path = folder / FILE.format(rank=rank)
        self.state: dict[str, Any] = {
            "rank": rank,
            "pid": os.getpid(),
            "phase": "setup",
            "epoch": 0,
            "step": 0,
            "slowest": 0.0,
            "images": 0,
        }
        self._written = self._last = self._begun = 0.0
        self._stacks = open(folder / STACKS.format(rank=rank), "w")  # noqa: SIM115 - as long as the process
        faulthandler.register(signal.SIGUSR1, file=self._stacks, all_threads=True)
        self.now("setup")

    def now(self, phase: str, **state: int) -> None:
        """Enter a phase, or report progress in it at once."""
        self.state.update(phase=phase, **state)
        self._last = self._begun = time.monotonic()
        self._write(self._last)

    def step(self, images: int) -> None:
        """Count a batch of training; the time since the last one, or since the phase began, is what it took."""
        now = time.monotonic()
        self.state["step"] += 1
        self.state["images"] += images
        self._slowest(now - self._begun)
        self._begun = now
        self._progress(now)

    def tick(self) -> None:
        """Count anything else that was done."""
        self._progress(time.monotonic())

    def _progress(self, now: float) -> None:
        if self.state["step"]:  # anything that is counted may take as long again: a batch of validation, a checkpoint
            self._slowest(now - self._last)
        self._last = now
        if now - self._written >= INTERVAL:
            self._write(now)

    def _slowest(self, seconds: float) -> None:
        self.state["slowest"] = round(max(self.state["slowest"], seconds), 3)

    def _write(self, now: float) -> None:
        self._written = now
        with contextlib.suppress(OSError):  # a full disk must not end a training over its heartbeat
            beside = self.path.with_suffix(".part")
            beside.write_text(json.dumps({"time": now, **self.state}), encoding="utf-8")
            beside.replace(self.path)


def follow_bars(tick: Callable[[], None]) -> None:
    """Count what the engine counts in its progress bars: scanned and cached images, batches of validation."""
    from ultralytics.utils import TQDM

    update = TQDM.update

    def counted(self: Any, n: int = 1) -> None:
        tick()
        update(self, n)

    TQDM.update = counted
