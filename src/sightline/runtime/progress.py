"""Progress of long work as events in a file, which the command line draws as bars.

Stages run in processes of their own (KFP tasks, torchrun ranks), so they cannot draw. They append one JSON line per
event to the file that `SIGHTLINE_PROGRESS` names; `progress_bars.display` follows that file and draws it. Without the
variable (inside a cluster) events go nowhere and the stage's log lines remain.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

VARIABLE = "SIGHTLINE_PROGRESS"
STAGE: dict[str, Any] = {"stage": str}
NUMBER = int | float
FIELDS: dict[str, dict[str, Any]] = {  # what an event of each kind has, besides its time
    "start": STAGE,
    "progress": STAGE | {"done": int, "total": int | None, "note": str},
    "note": STAGE | {"note": str},
    "line": STAGE | {"text": str},
    "end": STAGE | {"seconds": NUMBER},
    "failed": STAGE | {"seconds": NUMBER},
    "notice": {"text": str},
}
LATEST = 1e11  # seconds since 1970 that can be written as a date


def emit(event: str, **fields: Any) -> None:
    """Append one event; a single small write in append mode, so processes do not mix lines."""
    path = os.environ.get(VARIABLE)
    if path:
        line = json.dumps({"event": event, "time": time.time(), **fields}) + "\n"
        # A full disk must not end the work over its progress, or hide the error that reports it.
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(line)


def advance(stage: str, done: int, total: int, note: str = "") -> None:
    """Report how far a stage is, in the unit that `total` counts."""
    emit("progress", stage=stage, done=done, total=total, note=note)


_listeners: list[Callable[[str], None]] = []


@contextlib.contextmanager
def noticed(listener: Callable[[str], None]) -> Iterator[None]:
    """Hand every note of the block to a listener as well."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def notice(text: str) -> None:
    """Show the user a note while work goes on: as an event, or on stderr where nothing follows the events."""
    for listener in list(_listeners):
        listener(text)
    if VARIABLE in os.environ:
        emit("notice", text=text)
    else:
        print(f"note: {text}", file=sys.stderr, flush=True)


class Ticker:
    """Counts items of one stage and reports at most ten times a second, and always the last one."""

    def __init__(self, stage: str, total: int, note: str = "") -> None:
        """Start at 0 of `total`."""
        self.stage, self.total, self.note = stage, total, note
        self.done = 0
        self._last = 0.0
        self._lock = threading.Lock()
        advance(stage, 0, total, note)

    def tick(self, count: int = 1) -> None:
        """Count `count` finished items; safe to call from several threads."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._last > 0.1 or self.done == self.total:
                self._last = now
                advance(self.stage, self.done, self.total, self.note)


def events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the complete events after `offset` bytes, and the offset after them.

    Lines that are not events are skipped, whether damaged or from another version: a full disk cuts a line short, and
    the next one continues it.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    found = []
    for line in data[:end].splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [event for event in found if _is_event(event)], offset + end


def _is_event(value: Any) -> bool:
    """Return whether a line holds every field that readers of its kind of event rely on."""
    if not isinstance(value, dict) or value.get("event") not in tuple(FIELDS):
        return False
    fields = FIELDS[value["event"]] | {"time": NUMBER}
    if not all(isinstance(value.get(name), kind) for name, kind in fields.items()):
        return False
    numbers = [value[name] for name, kind in fields.items() if kind is NUMBER]
    return all(0 <= n < LATEST for n in numbers)
