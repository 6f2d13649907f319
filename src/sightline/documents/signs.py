"""The signs of life of a training: what is kept of it while it goes on, for whoever finds that it has ended.

They lie in `attempts.json`, in the work folder and beside the checkpoints in the store.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sightline.documents.base import Part
from sightline.documents.train import Attempt, AttemptSettings

FULL = 0.97  # of the limit: a peak from here on reached it; cached files are in the peak
HELD = 0.75  # of the limit without cached files, which would have made room


class Heartbeat(BaseModel):
    """How far a process is, as it last said."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: float  # seconds on the machine's monotonic clock, which all its processes share
    rank: int
    pid: int
    phase: str
    epoch: int  # the running one, from 1; 0 before
    step: int
    slowest: float  # seconds of the slowest step so far; 0 before the first
    images: int

    def __str__(self) -> str:
        where = f", epoch {self.epoch}, step {self.step}" if self.epoch else ""
        return f"process {self.rank}: {self.phase}{where}"


class Pod(Part):
    """A pod of a pipeline. Argo gives the one that it makes in place of a pod that vanished the same name."""

    name: str
    uid: str


class Pulse(Part):
    """A moment in a training; memory in bytes."""

    time: float  # seconds since 1970
    machine: str  # the host's name; in a container its own, in a pod of a pipeline the pod's
    pod: Pod | None = None  # of a pipeline
    boot: str | None  # which start of the machine, shared by all containers on it
    beats: tuple[Heartbeat, ...] = ()
    limit: int | None  # the container's memory
    peak: int | None  # most that was used of it, cached files included
    held: int | None  # most that was seen used of it without cached files
    kills: int | None  # processes that the kernel has killed in this control group because memory ran out
    machine_kills: int | None  # and on the whole machine since it started
    refusals: int | None  # how often the limit was reached

    @property
    def newest(self) -> Heartbeat | None:
        """Return the heartbeat of the process that made progress last."""
        return max(self.beats, key=lambda beat: beat.time, default=None)

    @property
    def full(self) -> bool:
        """Tell whether the container's memory had run out."""
        return bool(self.limit and (self.peak or 0) >= FULL * self.limit and (self.held or 0) >= HELD * self.limit)


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
    energy_joules: float | None = None  # so far, of the cards that train


class Attempts(Part):
    """The attempts of a training that ended, and the one that runs."""

    attempts: list[Attempt] = Field(default_factory=list)
    running: Running | None = None
