"""Why a run on a cluster ended as it did, or does not go on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.documents.base import Part

CauseKind = Literal[
    "stage",  # a stage failed with an error of its own
    "rejected",  # a gate did its work
    "memory",  # over a container's or a node's memory limit
    "shared_memory",
    "disk",  # over an emptyDir's or a node's limit
    "evicted",
    "image",  # cannot be pulled
    "unschedulable",
    "quota",
    "admission",
    "missing",  # a Secret, a ConfigMap, a key, or a right of the account
    "runtime",  # of a RuntimeClass
    "timeout",  # of a task
    "deadline",  # of the run
    "terminated",  # by a person
    "preempted",
    "node_lost",
    "deleted",  # the pod was deleted or drained
    "driver",  # KFP's own driver or launcher failed
    "silent",  # a task that runs and gives no sign
    "vanished",  # the pod is gone, and nothing says why
    "unknown",
]


class Cause(Part):
    """One cause, what shows it, and what to do."""

    kind: CauseKind
    task: str | None = Field(description="Task of the pipeline that it struck; null for the run as a whole.")
    sentence: str = Field(description="What happened, in one sentence.")
    evidence: list[str] = Field(description="What Kubernetes, Kubeflow Pipelines and the stages said, a line each.")
    do: str = Field(description="What to do.")
    again: bool = Field(description="Whether nothing but running again is needed.")
    ended: bool = Field(True, description="False while the run goes on: what it waits for.")
    seen_at: str = Field(description="ISO 8601, UTC: evidence expires.")
