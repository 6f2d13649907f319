"""What a training that has no result yet left in the store: its attempts, and the newest sign of its life.

    checkpoints/<training key>/lease-000003.json          which run trains
                               000003/attempts.json       its attempts, with the newest sign of the one that runs

`train` writes these; nothing of it can be imported here, so that what it says of memory is read by a model of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from sightline.documents import Attempt
from sightline.runtime.machine import size_text
from sightline.storage import MissingObject, Store

FOLDER = "checkpoints"
LEASES = 20  # of other trainings that are read to find that of a run, the newest first
FULL, HELD = 0.97, 0.75  # of the limit: used with and without cached files; from here on memory had run out


class Beat(BaseModel):
    """A process of the training."""

    model_config = ConfigDict(extra="ignore")

    rank: int
    phase: str = ""
    epoch: int = 0
    step: int = 0

    def __str__(self) -> str:
        where = f", epoch {self.epoch}, step {self.step}" if self.epoch else ""
        return f"process {self.rank}: {self.phase}{where}"


class Sign(BaseModel):
    """The newest sign of a training; memory in bytes."""

    model_config = ConfigDict(extra="ignore")

    time: float  # seconds since 1970
    machine: str = ""
    limit: int | None = None  # the container's memory
    peak: int | None = None  # most that was used of it, cached files included
    held: int | None = None  # most that was seen used without cached files
    beats: list[Beat] = []

    @property
    def at(self) -> datetime:
        """When it was given."""
        return datetime.fromtimestamp(self.time, UTC)

    @property
    def full(self) -> bool:
        """Tell whether the memory had run out."""
        return bool(self.limit and (self.peak or 0) >= FULL * self.limit and (self.held or 0) >= HELD * self.limit)

    @property
    def memory(self) -> str:
        """Say what memory was used at most; nothing where that is not known."""
        return f"{size_text(self.peak)} of {size_text(self.limit)}" if self.peak and self.limit else ""

    def __str__(self) -> str:
        memory = f"; memory: {self.memory} used at most" if self.memory else ""
        where = f" ({self.beats[0]})" if self.beats else ""
        return f"last sign of the training at {self.at:%Y-%m-%d %H:%M:%S} UTC{where}{memory}"


class Running(BaseModel):
    """An attempt that has begun and not ended, as far as anybody saw."""

    model_config = ConfigDict(extra="ignore")

    number: int
    machine: str = ""
    pulse: Sign | None = None


class Training(BaseModel):
    """The attempts of a training."""

    model_config = ConfigDict(extra="ignore")

    attempts: list[Attempt] = []
    running: Running | None = None

    @property
    def sign(self) -> Sign | None:
        """Return the newest sign of the attempt whose end is not known."""
        return self.running.pulse if self.running else None

    @property
    def last(self) -> Attempt | None:
        """Return the attempt that ended last; None while one goes on."""
        return self.attempts[-1] if self.attempts and not self.running else None


def of_run(store: Store, run_id: str) -> Training | None:
    """Return the training that a run works on; None if it has none, or its result. Raises StorageError."""
    entries = list(store.entries(f"{FOLDER}/"))
    leases = [entry for entry in entries if re.fullmatch(rf"{FOLDER}/[^/]+/lease-\d+\.json", entry.key)]
    for lease in sorted(leases, key=lambda entry: entry.modified, reverse=True)[:LEASES]:
        with contextlib.suppress(MissingObject, ValueError):  # it has just gone, or another version left it
            if json.loads(store.get_bytes(lease.key)).get("run") != run_id:
                continue
            folder = lease.key.rpartition("/")[0]
            logs = [
                entry.key for entry in entries if re.fullmatch(rf"{re.escape(folder)}/\d+/attempts\.json", entry.key)
            ]
            return Training.model_validate_json(store.get_bytes(max(logs))) if logs else None
    return None
