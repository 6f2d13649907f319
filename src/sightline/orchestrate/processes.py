"""Finds the processes and containers of a run, and ends them.

Processes are found by an environment variable that every child inherits, as Jenkins finds those of a build: torchrun
puts its workers into sessions of their own, so no process group holds all of them. Containers have a label.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sightline.errors import ConfigError
from sightline.orchestrate import claim, engine
from sightline.runtime.stage_frame import ERROR_VARIABLE

GRACE_SECONDS = 30.0  # for a process to end by itself; torchrun gives its workers as long


def error_file(folder: Path) -> Path:
    """Return where the stages of a run leave their error document; its path also marks their processes."""
    return folder / "error.json"


def in_containers(folder: Path) -> bool:
    """Tell whether the run in `folder` has its tasks in containers, by its arguments."""
    try:
        return json.loads((folder / claim.ARGUMENTS).read_bytes())["containers"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        return False


def of_run(folder: Path) -> list[int]:
    """Return the ids of the living processes of the run in `folder` that this user may see."""
    mark = os.fsencode(f"{ERROR_VARIABLE}={error_file(folder.resolve())}")
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def end(folder: Path, force: Callable[[], bool] = lambda: False) -> None:
    """End all containers and processes of a run, and wait until they are gone.

    Containers are removed at once: the runner, which gives them time to end, has ended before. Processes get SIGTERM
    first; SIGKILL after GRACE_SECONDS, or as soon as `force` returns true.
    """
    if in_containers(folder):
        with contextlib.suppress(ConfigError):  # the engine is gone, and containers with it, or below as processes
            engine.remove(folder)
    asked: set[int] = set()
    deadline = time.monotonic() + GRACE_SECONDS
    while found := of_run(folder):
        kill = force() or time.monotonic() > deadline
        for process in found if kill else set(found) - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if kill else signal.SIGTERM)
        asked |= set(found)
        time.sleep(0.1)
