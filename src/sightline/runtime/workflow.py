"""What an Argo workflow says about a run of KFP: its tasks, their pods, and what Kubernetes says about these.

A task of KFP is a node of its own kind with a node for its pod below it, and beside it a driver, which decides whether
it runs and with what. Groups (exit handler, conditions) have drivers too. Names of nodes are paths, joined by dots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

State = Literal["waiting", "running", "done", "cached", "failed", "skipped"]
TASK, POD = "system-container-executor", "system-container-impl"  # KFP's templates; prefixes say how they are changed
PATCH = "pod-spec-patch"  # input of a task's pod
DRIVERS = ("system-container-driver", "system-dag-driver")
STATES: dict[str, State] = {
    "Pending": "waiting",
    "Running": "running",
    "Succeeded": "done",
    "Failed": "failed",
    "Error": "failed",
    "Skipped": "skipped",
    "Omitted": "skipped",
}
EMPTY = "0001-01-01T00:00:00Z"  # Go's time that is none
STOPPED = "Step exceeded its deadline"  # what Argo says of what went on when the run was ended
EXIT = "conclude"  # our exit task: once it has begun, the run has ended as far as the stages go
OVER = ("Succeeded", "Failed", "Error")  # phases of a workflow that goes on no more
# What Argo says of a pod on its normal way to a start.
ON_ITS_WAY = re.compile(r"ContainerCreating|PodInitializing|Unprocessed", re.IGNORECASE)


@dataclass(frozen=True)
class Pod:
    """A pod of a run, or one that cannot even be made."""

    name: str
    path: str  # of the node, the same for each attempt: rounds of a loop have tasks of one name
    task: str
    driver: bool  # KFP's own, which decides whether the task runs and with what
    state: State
    message: str  # what Kubernetes says; empty where all is well
    started: datetime | None
    finished: datetime | None = None
    node: str = ""  # of Kubernetes, that took it
    spec: Mapping[str, Any] = field(default_factory=dict)  # what KFP's driver decided of it: image, limits, time limit
    used: Mapping[str, float] = field(default_factory=dict)  # by resource: what was asked, times seconds of containers


@dataclass(frozen=True)
class Task:
    """A task of a run that has begun."""

    name: str
    path: str  # of the node
    state: State
    message: str
    started: datetime | None
    finished: datetime | None
    pods: tuple[Pod, ...]  # its own, in the order of its attempts, without its driver's

    @property
    def seconds(self) -> float | None:
        """How long it took, with what KFP and Kubernetes took for it; None while it goes on."""
        return (self.finished - self.started).total_seconds() if self.finished and self.started else None


def handed_out(answer: object) -> dict[str, Any]:
    """Return the workflow in what KFP's server says of a run by `GET /apis/v1beta1/runs/RUN`; at first it is empty.

    Only the first version of the API hands it out. It takes no rights in Kubernetes.
    """
    runtime = answer.get("pipeline_runtime") if isinstance(answer, dict) else None
    try:
        workflow = json.loads((runtime or {}).get("workflow_manifest") or "{}")
    except ValueError:
        return {}
    return workflow if isinstance(workflow, dict) else {}


def tasks(workflow: Mapping[str, Any]) -> list[Task]:
    """Return the tasks that have begun, in the order in which they did."""
    nodes = _nodes(workflow)
    found = [_task(workflow, node, nodes) for node in nodes if node["templateName"].endswith(TASK) and _outer(node)]
    return sorted(found, key=lambda task: (task.started is None, task.started or datetime.min, task.name))


def pods(workflow: Mapping[str, Any]) -> list[Pod]:
    """Return every pod of the run, drivers included, in the order in which they began."""
    nodes = [node for node in _nodes(workflow) if node.get("type") == "Pod"]
    found = [_pod(workflow, node) for node in nodes]
    return sorted(found, key=lambda pod: (pod.started is None, pod.started or datetime.min, pod.name))


def waiting(workflow: Mapping[str, Any]) -> list[Pod]:
    """Return the pods that do not start, and for which Kubernetes gives a reason."""
    return [pod for pod in pods(workflow) if pod.state == "waiting" and pod.message]


def failed(workflow: Mapping[str, Any]) -> list[Pod]:
    """Return the pods that failed."""
    return [pod for pod in pods(workflow) if pod.state == "failed"]


def namespace(workflow: Mapping[str, Any]) -> str:
    """Return the namespace in which the run's pods are; empty if that is not known."""
    return str((workflow.get("metadata") or {}).get("namespace") or "")


def began(workflow: Mapping[str, Any]) -> datetime | None:
    """Return when the run began."""
    return _time((workflow.get("status") or {}).get("startedAt"))


def deadline(workflow: Mapping[str, Any]) -> int | None:
    """Return the seconds that the whole run may take; 0 after "Terminate", which KFP does by that; None without any."""
    seconds = (workflow.get("spec") or {}).get("activeDeadlineSeconds")
    return int(seconds) if isinstance(seconds, int | float) else None


def over(workflow: Mapping[str, Any]) -> bool:
    """Tell whether the run has ended as far as its stages go: what is left is the exit task, at most."""
    if (workflow.get("status") or {}).get("phase") in OVER:
        return True
    return any(task.name == EXIT and task.state != "skipped" for task in tasks(workflow))


def _nodes(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    return [{"templateName": "", "name": "", "id": "", **node} for node in nodes.values()]


def _outer(node: Mapping[str, Any]) -> bool:
    """Tell whether a node of a task's kind is the task: its attempts, where it has several, are named name(0)."""
    return not re.search(r"\(\d+\)$", node["name"])


def _task(workflow: Mapping[str, Any], node: Mapping[str, Any], nodes: list[dict[str, Any]]) -> Task:
    below = [
        other
        for other in nodes
        if other["name"].startswith((node["name"] + ".", node["name"] + "(")) and other["templateName"].endswith(POD)
    ]
    attempts = [_pod(workflow, other) for other in below if other.get("type") == "Pod"]
    attempts = sorted(attempts, key=lambda pod: (pod.started is None, pod.started or datetime.min, pod.name))
    state = STATES.get(node.get("phase", ""), "waiting")
    if state == "done" and not attempts:
        state = "cached"
    elif state == "running" and (not attempts or attempts[-1].state == "waiting"):
        state = "waiting"
    last = attempts[-1].message if attempts else ""
    return Task(
        name=_task_name(node["name"]),
        path=_path(node),
        state=state,
        message=last or _message(node),
        started=_time(node.get("startedAt")),
        finished=_time(node.get("finishedAt")),
        pods=tuple(replace(pod, task=_task_name(node["name"])) for pod in attempts),
    )


def _pod(workflow: Mapping[str, Any], node: Mapping[str, Any]) -> Pod:
    """Return a pod; its name is made as Argo makes it, out of the workflow, the template and the node's number."""
    name = (workflow.get("metadata") or {}).get("name", "")
    number = node["id"].rpartition("-")[2]
    path = _path(node)
    parts = path.split(".")
    driver = node["templateName"].endswith(DRIVERS)
    task = parts[-1].removesuffix("-driver") if driver or len(parts) < 2 else parts[-2]
    return Pod(
        name=f"{name}-{node['templateName']}-{number}",
        path=path,
        task=task,
        driver=driver,
        state=STATES.get(node.get("phase", ""), "waiting"),
        message=_message(node),
        started=_time(node.get("startedAt")),
        finished=_time(node.get("finishedAt")),
        node=str(node.get("hostNodeName") or ""),
        spec=_spec(node),
        used=node.get("resourcesDuration") or {},
    )


def _spec(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patch of the pod's specification that KFP's driver made; empty for a driver."""
    given = (node.get("inputs") or {}).get("parameters") or []
    text = next((item.get("value") for item in given if item.get("name") == PATCH), None)
    try:
        spec = json.loads(text or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def _path(node: Mapping[str, Any]) -> str:
    """Return a node's name without the numbers of attempts, (0); rounds of a loop keep theirs, (0:0)."""
    return re.sub(r"\(\d+\)", "", node["name"])


def _task_name(path: str) -> str:
    return re.sub(r"\(\d+\)$", "", path).rpartition(".")[2]


def _message(node: Mapping[str, Any]) -> str:
    """Return what stands in the way, in a line."""
    message = " ".join(str(node.get("message") or "").split())
    return "" if ON_ITS_WAY.fullmatch(message) else message


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text and text != EMPTY else None
