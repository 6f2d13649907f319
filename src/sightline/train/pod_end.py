"""How the pod of an earlier attempt ended, in Kubernetes' own words, for as long as its object is there.

It takes the right to get pods, which the account of our manifests has. Where that is missing, or the pod is gone, the
last signs of life have to do (`pulse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sightline.cluster import reach
from sightline.config.cluster_names import MAIN
from sightline.documents import Ending
from sightline.documents.signs import Pod
from sightline.errors import ClusterError
from sightline.runtime.pipeline_pod import current

# Reasons of a pod, of its condition DisruptionTarget or of its container, and what they mean for a training.
MEANINGS: dict[str, tuple[Ending, str]] = {
    "OOMKilled": ("host_memory", "its container ran over its memory limit"),
    "Evicted": ("preempted", "it was evicted from its node"),
    "EvictionByEvictionAPI": ("preempted", "it was evicted, as when a node is drained"),
    "TerminationByKubelet": ("preempted", "its node ran out of something or was shut down"),
    "PreemptionByScheduler": ("preempted", "it gave way to a pod of higher priority"),
    "DeletionByTaintManager": ("preempted", "its node was tainted or could not be reached"),
    "DeletionByPodGC": ("preempted", "its node is gone"),
    "Preempting": ("preempted", "it gave way to a pod of higher priority"),
    "NodeLost": ("preempted", "its node is gone"),
    "NodeShutdown": ("preempted", "its node was shut down"),
    "Terminated": ("preempted", "its node was shut down"),
    "DeadlineExceeded": ("preempted", "it ran longer than an attempt may (TRAIN_TIMEOUT of `make compile`)"),
}


class PodEnd(NamedTuple):
    """What Kubernetes says of a pod that ended."""

    ending: Ending
    why: str
    said: str  # Kubernetes' own words


def ended(pod: Pod | None) -> PodEnd | None:
    """Return how an earlier pod of this namespace ended; None if it is gone, or cannot be asked for."""
    if pod is None or current() is None:
        return None
    try:
        kubernetes = reach()
        found = kubernetes.get(kubernetes.path("pods", pod.name)) if kubernetes else {}
    except ClusterError:
        return None
    return read(found) if (found.get("metadata") or {}).get("uid") == pod.uid else None


def read(pod: Mapping[str, Any]) -> PodEnd | None:
    """Return how a pod ended, by its object; None where that says nothing that this table knows."""
    status = pod.get("status") or {}
    conditions = status.get("conditions") or []
    disruptions = [
        item for item in conditions if item.get("type") == "DisruptionTarget" and item.get("status") == "True"
    ]
    containers = [item for item in status.get("containerStatuses") or [] if item.get("name") == MAIN]
    states = [(item.get(when) or {}).get("terminated") or {} for item in containers for when in ("state", "lastState")]
    # A container keeps OOMKilled from a process that was killed, and recovered from, hours before it was evicted.
    for found in (*disruptions, status, *states):
        reason = str(found.get("reason") or "")
        if reason in MEANINGS:
            ending, why = MEANINGS[reason]
            said = f"{reason}: {found['message']}" if found.get("message") else reason
            return PodEnd(ending, why, " ".join(said.split()))
    return None
