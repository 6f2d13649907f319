"""Where the time of a training went, and what bound it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from sightline.documents.base import Part

Phase = Literal["data", "transfer", "compute", "validation", "checkpoint", "other"]
PHASES: tuple[Phase, ...] = get_args(Phase)
Bound = Literal["data", "compute", "validation", "checkpoint", "other"]  # data: waiting for it, and its transfer


class Seconds(Part):
    """The seconds of an epoch, or of many, by where they went."""

    data: float = Field(
        description="Waiting for images: on a GPU as far as the device ran dry, on CPUs as long as a process waited."
    )
    transfer: float = Field(description="Moving images to the device, and scaling their values and sizes there.")
    compute: float = Field(
        description="Forward, backward and optimizer. With several processes also waiting for each other in the sums "
        "of gradients, but for a process that waited for data itself."
    )
    validation: float
    checkpoint: float = Field(description="Writing the state after the epoch before: an epoch ends when it is scored.")
    other: float = Field(description="Callbacks, a hook's work, checks, tables.")

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(getattr(self, name) for name in PHASES))


class Time(Part):
    """Where the time of a training went over all attempts, what bound it, and what to change."""

    spent: Seconds = Field(description="In epochs; each counts once, for the attempt that finished it.")
    outside_seconds: float = Field(
        description="Of attempts outside epochs: starting processes, the last checkpoint, writing the results."
    )
    lost_seconds: float = Field(description="Of attempts after their last checkpoint, if they did not finish.")
    judged_epochs: int = Field(
        description="Epochs by which shares and verdict were made: without the first one of each attempt, in which "
        "loaders and caches fill, if there are others."
    )
    shares: dict[Phase, Annotated[float, Field(ge=0, le=1)]] = Field(description="Of the time of the judged epochs.")
    bound: Bound
    reason: str = Field(description="What share passed which limit, in words.")
    advice: str = Field(description="What to change for shorter trainings.")
    attempts_gpu_seconds: float | None = Field(
        description="GPUs that trained, times the seconds of all attempts, lost work included; null on CPUs. For how "
        "long a cluster's pods held GPUs is in the cost of the run's summary."
    )
    energy_joules: float | None = Field(
        description="Of these cards, by their own counters, over all attempts, whoever else used them; null if one of "
        "them has none (MIG, older cards) or could not be read, and on CPUs."
    )

    @property
    def verdict(self) -> str:
        """What bound it and why, in words, without a full stop."""
        name = "bound by callbacks" if self.bound == "other" else f"{self.bound}-bound"
        return f"{name}: {self.reason}"
