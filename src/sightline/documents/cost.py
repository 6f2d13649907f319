"""What a run on a cluster took: time, waiting, GPUs."""

from __future__ import annotations

from pydantic import Field

from sightline.documents.base import Part


class PodCost(Part):
    """What one pod of a task took: an attempt at it."""

    name: str
    started_at: str | None = Field(
        description="When it was asked for, or first wanted where a quota stood in its way: ISO 8601, UTC."
    )
    seconds: float | None = Field(description="From then to its end; null where that is not known.")
    waiting_seconds: float | None = Field(
        description="How much of it passed before a node had taken the pod; null if nothing says so."
    )
    held_seconds: float | None = Field(
        description="For how long a node held what it asked for: its time without waiting; where that is not known, "
        "for how long its container ran, by Argo; where that is not known either, its whole time."
    )
    gpus: int = Field(description="GPUs that it asked for, on all nodes.")


class TaskCost(Part):
    """What one task took, all its attempts together."""

    name: str
    attempts: int = Field(description="Pods that it was given; 0 for a task that came from the cache.")
    seconds: float | None = Field(
        description="From its first pod to the end of its last, waiting and pauses between attempts included."
    )
    waiting_seconds: float | None = Field(
        description="Until a node had taken its pods: the sum over those of which it is known; null if of none."
    )
    gpus: int = Field(description="GPUs that it asked for, on all nodes; the most that one of its pods did.")
    gpu_seconds: float | None = Field(
        description="GPUs asked for, times the seconds for which nodes held them: the sum over its pods."
    )
    pods: list[PodCost] = Field(description="Its pods in their order, without those of Kubeflow Pipelines itself.")


class Cost(Part):
    """What a run took, without its last task, conclude, which writes this."""

    tasks: list[TaskCost]
    started_at: str | None = Field(description="Start of the run: ISO 8601, UTC.")
    finished_at: str | None = Field(description="End of the last of these tasks: ISO 8601, UTC.")
    seconds: float | None = Field(description="From that start to that end.")
    waiting_seconds: float | None = Field(description="Sum over the tasks of which it is known; null if of none.")
    gpu_seconds: float | None = Field(description="Sum over the tasks of which it is known; null if of none.")

    @property
    def gpu_hours(self) -> float | None:
        """The same in hours."""
        return None if self.gpu_seconds is None else self.gpu_seconds / 3600

    @property
    def unknown_waiting(self) -> int:
        """Of how many pods nothing says how long they waited."""
        return sum(pod.waiting_seconds is None for task in self.tasks for pod in task.pods)
