"""Argo workflows of runs, and their pods as Kubernetes has them, made attempt by attempt."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

START = datetime(2026, 11, 28, 2, tzinfo=UTC)
NAME = "sightline-train-x7"
IMPL, EXECUTOR, DRIVER = "system-container-impl", "system-container-executor", "system-container-driver"


class Attempt(NamedTuple):
    """A pod of a task, in seconds from the start of the run."""

    wanted: int
    taken: int | None  # by a node, as Kubernetes says; None if it has forgotten the pod
    ended: int | None
    phase: str = "Succeeded"
    node: str = "node-1"  # as Argo says; empty if none took it
    ran: int | None = None  # seconds of its container, by Argo


def at(seconds: float) -> str:
    """A moment of the run, as Kubernetes and Argo write it."""
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Made:
    """A workflow and the pods of its run, to which tasks are added."""

    def __init__(self, run_id: str = "r1") -> None:
        self.run_id = run_id
        self.nodes: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}

    @property
    def workflow(self) -> dict[str, Any]:
        metadata = {"name": NAME, "namespace": "kubeflow"}
        return {"metadata": metadata, "status": {"startedAt": at(0), "nodes": self.nodes}}

    def task(self, name: str, *attempts: Attempt, gpus: int = 0) -> Made:
        """Add a task; without attempts it came from the cache."""
        base = f"{NAME}.root.run.{name}"
        first = attempts[0].wanted if attempts else 0
        last = attempts[-1].ended if attempts else 1
        phase = attempts[-1].phase if attempts else "Succeeded"
        self._node(f"{base}-driver", DRIVER, "Pod", "Succeeded", first, first)
        self._node(base, EXECUTOR, "DAG", phase, first, last)
        if not attempts:
            self._node(f"{base}.executor", IMPL, "Skipped", "Skipped", 0, 1)
            return self
        limits = {"cpu": "4", "memory": "16Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
        patch = json.dumps({"containers": [{"name": "main", "image": "train:1", "resources": {"limits": limits}}]})
        for number, attempt in enumerate(attempts):
            full = f"{base}.executor({number})"
            node = self._node(full, IMPL, "Pod", attempt.phase, attempt.wanted, attempt.ended)
            node["inputs"] = {"parameters": [{"name": "pod-spec-patch", "value": patch}]}
            node["hostNodeName"] = attempt.node
            if attempt.ran is not None:
                node["resourcesDuration"] = {"cpu": attempt.ran, "nvidia.com/gpu": attempt.ran * gpus}
            if attempt.taken is not None:
                pod = f"{NAME}-{IMPL}-{node['id'].rpartition('-')[2]}"
                self.pods[pod] = self._pod(pod, at(attempt.taken))
        return self

    def _pod(self, name: str, taken: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "kubeflow", "labels": {"pipeline/runid": self.run_id}},
            "status": {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": taken}]},
        }

    def _node(self, name: str, template: str, kind: str, phase: str, started: int, ended: int | None) -> dict[str, Any]:
        identity = f"{NAME}-{len(self.nodes) + 1000}"
        node = {"id": identity, "name": name, "type": kind, "templateName": template, "phase": phase}
        self.nodes[identity] = node | {"startedAt": at(started), "finishedAt": None if ended is None else at(ended)}
        return self.nodes[identity]
