"""What a run on a cluster took: time, waiting, GPUs."""

from __future__ import annotations

from pydantic import Field

from sightline.documents.base import Part


class TaskCost(Part):
    """What one task took, all its attempts together."""

    name: str
    attempts: int = Field(description="Pods that it was given; 0 for a task that came from the cache.")
    seconds: float | None = Field(description="From its first pod to the end of its last, waiting included.")
    waiting_seconds: float | None = Field(description="Until a node had taken its pods; null if nothing says so.")
    gpus: int = Field(description="GPUs that it asked for, on all nodes.")
    gpu_seconds: float | None = Field(description="GPUs asked for, times the seconds in which a node held them.")


class Cost(Part):
    """What a run took."""

    tasks: list[TaskCost]
    seconds: float | None = Field(description="From the start of the run to its end.")
    waiting_seconds: float | None = Field(description="Sum over the tasks of which it is known.")
    gpu_seconds: float | None = Field(description="Sum over the tasks.")
