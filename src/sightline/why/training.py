"""What a training that has no result yet left in the store: its attempts, and the newest sign of its life.

Train writes these while it goes on:

    checkpoints/<training key>/lease-000003.json          which run trains
                               000003/attempts.json       its attempts, with the newest sign of the one that runs
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from typing import NamedTuple

from sightline.documents import Attempt
from sightline.documents.signs import Attempts, Pulse
from sightline.runtime.machine import size_text
from sightline.storage import MissingObject, Store

FOLDER = "checkpoints"
LEASES = 20  # of other trainings that are read to find that of a run, the newest first


class Sign(NamedTuple):
    """The newest sign of an attempt whose end is not known, in words."""

    pulse: Pulse

    @property
    def at(self) -> datetime:
        """When it was given."""
        return datetime.fromtimestamp(self.pulse.time, UTC)

    @property
    def memory(self) -> str:
        """Say what memory was used at most; nothing where that is not known."""
        peak, limit = self.pulse.peak, self.pulse.limit
        return f"{size_text(peak)} of {size_text(limit)}" if peak and limit else ""

    @property
    def where(self) -> str:
        """Say in brackets how far it was; nothing where that is not known."""
        return f" ({self.pulse.newest})" if self.pulse.newest else ""

    def __str__(self) -> str:
        memory = f"; memory: {self.memory} used at most" if self.memory else ""
        return f"last sign of the training at {self.at:%Y-%m-%d %H:%M:%S} UTC{self.where}{memory}"


class Training(NamedTuple):
    """The attempts of a training."""

    attempts: list[Attempt]
    sign: Sign | None = None  # of the attempt that runs, as far as anybody saw
    running: bool = False

    @property
    def last(self) -> Attempt | None:
        """Return the attempt that ended last; None while one goes on."""
        return self.attempts[-1] if self.attempts and not self.running else None


def of_run(store: Store, run_id: str) -> Training | None:
    """Return the training that a run works on; None if it has none, or its result. Raises StorageError."""
    key = key_of_run(store, run_id)
    if key is None:
        return None
    logs = [entry.key for entry in store.entries(f"{FOLDER}/{key}/") if entry.key.endswith("/attempts.json")]
    with contextlib.suppress(MissingObject, ValueError):  # it has just gone, or another version left it
        return _read(store.get_bytes(max(logs))) if logs else None
    return None


def key_of_run(store: Store, run_id: str) -> str | None:
    """Return the key of the training that a run works on; None if it has none, or its result. Raises StorageError."""
    entries = list(store.entries(f"{FOLDER}/"))
    leases = [entry for entry in entries if re.fullmatch(rf"{FOLDER}/[^/]+/lease-\d+\.json", entry.key)]
    for lease in sorted(leases, key=lambda entry: entry.modified, reverse=True)[:LEASES]:
        with contextlib.suppress(MissingObject, ValueError):  # it has just gone, or another version left it
            if json.loads(store.get_bytes(lease.key)).get("run") == run_id:
                return lease.key.split("/")[1]
    return None


def _read(text: bytes) -> Training:
    """Raises ValueError."""
    found = Attempts.model_validate_json(text)
    pulse = found.running.pulse if found.running else None
    return Training(found.attempts, Sign(pulse) if pulse else None, found.running is not None)
