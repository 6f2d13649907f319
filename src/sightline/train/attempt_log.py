"""The attempts of a training in its work folder: also of one that nobody saw end.

`attempts.json` holds the attempts that ended, and the one that is running with the newest signs of its life. Where the
supervisor dies with its processes, as in a pod whose memory limit kills all of it, the next one judges by these.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import ValidationError

from sightline.atomic import write_text
from sightline.documents import Attempt, AttemptSettings
from sightline.documents.signs import Attempts, Pulse, Running
from sightline.errors import StorageError
from sightline.runtime import pipeline_pod
from sightline.runtime.stage_frame import moment

FILE = "attempts.json"


class AttemptLog:
    """The file, which this process alone writes."""

    def __init__(self, work: Path) -> None:
        """Read what is there; nothing, where there is no file of this version."""
        self.path = work / FILE
        try:
            self.log = Attempts.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            self.log = Attempts()

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts that ended, in order."""
        return self.log.attempts

    def begin(self, settings: AttemptSettings, changed: tuple[str, ...], resumed_from: int) -> Running:
        """Note that an attempt begins."""
        running = Running(
            number=len(self.attempts) + 1,
            started_at=moment(),
            machine=pipeline_pod.machine(),
            pod=pipeline_pod.current(),
            settings=settings,
            changed=list(changed),
            resumed_from=resumed_from,
        )
        self._write(Attempts(attempts=self.attempts, running=running))
        return running

    def pulse(self, pulse: Pulse, energy_joules: float | None = None) -> None:
        """Note signs of life of the attempt that is running, and the energy that it took so far."""
        if self.log.running:
            running = self.log.running.model_copy(update={"pulse": pulse, "energy_joules": energy_joules})
            with contextlib.suppress(OSError, StorageError):  # a training does not end over its signs of life
                self._write(Attempts(attempts=self.attempts, running=running))

    def end(self, attempt: Attempt) -> None:
        """Note how the attempt that was running ended."""
        self._write(Attempts(attempts=[*self.attempts, attempt]))

    def _write(self, log: Attempts) -> None:
        self.log = log
        self.write()

    def write(self) -> None:
        """Write what is known. Raises StorageError where the disk is full."""
        write_text(self.path, self.log.model_dump_json(indent=1) + "\n")
