"""Which processes belong to a run, and how all of them end.

They are found by a variable that every child inherits, as Jenkins finds those of a build: torchrun puts its workers
into sessions of their own, so no process group holds all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sightline.runtime.stage_frame import ERROR_VARIABLE

GRACE_SECONDS = 30.0  # seconds that a process has to end by itself; torchrun waits as long for its workers


def error_file(folder: Path) -> Path:
    """Return where the stages of a run leave their error document; its path is also the mark of their processes."""
    return folder / "error.json"


def of_run(folder: Path) -> list[int]:
    """Return the ids of the living processes of the run in `folder`, as far as this user may see them."""
    mark = os.fsencode(f"{ERROR_VARIABLE}={error_file(folder)}")
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def end(folder: Path, force: Callable[[], bool] = lambda: False) -> None:
    """End all processes of a run, and wait until they are gone: politely at first, by force if `force` says so."""
    asked: set[int] = set()
    deadline = time.monotonic() + GRACE_SECONDS
    while found := of_run(folder):
        kill = force() or time.monotonic() > deadline
        for process in found if kill else set(found) - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if kill else signal.SIGTERM)
        asked |= set(found)
        time.sleep(0.1)
