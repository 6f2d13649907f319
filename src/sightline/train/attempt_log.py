"""The attempts of a training in its work folder: also of one that nobody saw end.

`attempts.json` holds the attempts that ended, and the one that is running with the newest signs of its life. Where the
supervisor dies with its processes, as in a pod whose memory limit kills all of it, the next one judges by these.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import Field, ValidationError

from sightline.atomic import write_text
from sightline.documents import Attempt, AttemptSettings, Part
from sightline.errors import StorageError
from sightline.runtime.stage_frame import moment
from sightline.train import pod_end
from sightline.train.pod_end import Pod
from sightline.train.pulse import Pulse

FILE = "attempts.json"


class Running(Part):
    """An attempt that has begun."""

    number: int
    started_at: str
    machine: str
    pod: Pod | None = None  # of a pipeline, in which it runs
    settings: AttemptSettings
    changed: list[str]
    resumed_from: int
    pulse: Pulse | None = None  # the newest


class Log(Part):
    """What the file says."""

    attempts: list[Attempt] = Field(default_factory=list)
    running: Running | None = None


class AttemptLog:
    """The file, which this process alone writes."""

    def __init__(self, work: Path) -> None:
        """Read what is there; nothing, where there is no file of this version."""
        self.path = work / FILE
        try:
            self.log = Log.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            self.log = Log()

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts that ended, in order."""
        return self.log.attempts

    def begin(self, settings: AttemptSettings, changed: tuple[str, ...], resumed_from: int) -> Running:
        """Note that an attempt begins."""
        running = Running(
            number=len(self.attempts) + 1,
            started_at=moment(),
            machine=pod_end.machine(),
            pod=pod_end.current(),
            settings=settings,
            changed=list(changed),
            resumed_from=resumed_from,
        )
        self._write(Log(attempts=self.attempts, running=running))
        return running

    def pulse(self, pulse: Pulse) -> None:
        """Note signs of life of the attempt that is running."""
        if self.log.running:
            running = self.log.running.model_copy(update={"pulse": pulse})
            with contextlib.suppress(OSError, StorageError):  # a training does not end over its signs of life
                self._write(Log(attempts=self.attempts, running=running))

    def end(self, attempt: Attempt) -> None:
        """Note how the attempt that was running ended."""
        self._write(Log(attempts=[*self.attempts, attempt]))

    def _write(self, log: Log) -> None:
        self.log = log
        self.write()

    def write(self) -> None:
        """Write what is known. Raises StorageError where the disk is full."""
        write_text(self.path, self.log.model_dump_json(indent=1) + "\n")
