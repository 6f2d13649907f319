"""One pod of a run, and all that was said about it, line by line: what the table of causes is searched with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sightline.config.cluster_names import MAIN
from sightline.runtime import workflow
from sightline.why.seen import Object, Seen
from sightline.why.words import last_error, last_of_go, shortened

BEFORE_START = ("FailedScheduling", "FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume", "Failed", "BackOff")
STARTED = re.compile(r"^\w[\w-]*: .*\(exit code -?\d+\)")  # what Argo says of a pod whose containers ran
QUIET = ("Scheduled", "Pulling", "Pulled", "Created", "Started")  # events of a pod on its normal way
NORMAL = re.compile(r"ContainerCreating|PodInitializing")


class Line(NamedTuple):
    """What one source said."""

    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {shortened(self.text)}"


class Found(NamedTuple):
    """A line in which a row of the table found its words, and what stood in them by name."""

    text: str
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A pod and what is known of it."""

    seen: Seen
    pod: workflow.Pod
    attempts: tuple[workflow.Pod, ...] = ()  # of the same task, this one among them, in their order

    @property
    def who(self) -> str:
        """Name what it worked for."""
        return f"the driver of {self.pod.task}" if self.pod.driver else self.pod.task

    @property
    def training(self) -> bool:
        """Tell whether the form has settings for it."""
        return self.pod.task == "train" and not self.pod.driver

    @cached_property
    def object(self) -> Object:
        """Kubernetes' own pod; empty where it was not seen."""
        return self.seen.pods.get(self.pod.name, {})

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """What was asked for: by the pod itself or, without it, by what KFP's driver decided."""
        return self.object.get("spec") or self.pod.spec

    def container(self, name: str = MAIN) -> Mapping[str, Any]:
        """Return the specification of a container; empty if it is not known."""
        groups = (self.spec.get("containers") or [], self.spec.get("initContainers") or [])
        return next((each for group in groups for each in group if each.get("name") == name), {})

    def limit(self, resource: str, container: str = MAIN) -> str | None:
        """Return how much of a resource a container may use, as it was written; None if that is not known."""
        value = (self.container(container).get("resources") or {}).get("limits", {}).get(resource)
        return str(value) if value is not None else None

    def request(self, resource: str) -> str | None:
        """Return how much of a resource a node must have free for the task; None if that is not known."""
        resources = self.container().get("resources") or {}
        value = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource))
        return str(value) if value is not None else None

    @property
    def timeout(self) -> int | None:
        """Seconds that an attempt may take; None if it is not known or has no limit."""
        value = self.spec.get("activeDeadlineSeconds")
        return int(value) if value is not None else None

    def volume_limit(self, name: str) -> str | None:
        """Return the size limit of an emptyDir; None if it is not known or has none."""
        volumes = self.spec.get("volumes") or []
        found = next((each.get("emptyDir") or {} for each in volumes if each.get("name") == name), {})
        return found.get("sizeLimit")

    @cached_property
    def statuses(self) -> list[Object]:
        """The containers' states, the ones that start first first."""
        status = self.object.get("status") or {}
        return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]

    @cached_property
    def started(self) -> bool:
        """Tell whether the task itself had begun, as far as is known."""
        main = next((each.get("state", {}) for each in self.statuses if each.get("name") == MAIN), None)
        if main is not None:
            ended = main.get("terminated") or {}
            return "running" in main or bool(ended and ended.get("reason") != "ContainerStatusUnknown")
        return self.pod.state == "running" or bool(STARTED.match(self.pod.message)) or self._event("Started")

    @cached_property
    def placed(self) -> bool:
        """Tell whether a node has taken the pod, as far as is known."""
        return self.started or bool(self.pod.node or self.spec.get("nodeName")) or self._event("Scheduled")

    @property
    def since(self) -> datetime | None:
        """When the pod was made, or was to be made."""
        return self.pod.started

    def _event(self, reason: str) -> bool:
        return any(event.get("reason") == reason for event in self.seen.events.get(self.pod.name, ()))

    # --- what was said

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Everything that was said about the pod, the workflow first."""
        found = [
            *([Line("workflow", self.pod.message)] if self.pod.message else []),
            *self._of_pod(),
            *self._of_events(),
            *self._of_node(),
            *self._of_log(),
            *self._of_training(),
        ]
        return tuple(dict.fromkeys(found))

    def _of_pod(self) -> Iterator[Line]:
        status = self.object.get("status") or {}
        if status.get("reason") or status.get("message"):
            yield Line("pod", ": ".join(filter(None, (status.get("reason"), status.get("message")))))
        for each in self.statuses:
            yield from self._of_container(each)
        for each in status.get("conditions") or []:
            kind, words = each.get("type"), ": ".join(filter(None, (each.get("reason"), each.get("message"))))
            stands = kind == "DisruptionTarget" and each.get("status") == "True"
            if stands or (kind == "PodScheduled" and each.get("status") == "False" and not self.placed):
                yield Line(f"condition {kind}", words)
        if at := (self.object.get("metadata") or {}).get("deletionTimestamp"):
            yield Line("pod", f"is to be deleted, since {at}")

    def _of_container(self, status: Object) -> Iterator[Line]:
        name, state = status.get("name"), status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") and not NORMAL.fullmatch(waiting["reason"]):
            yield Line(f"container {name}", ": ".join(filter(None, (waiting["reason"], waiting.get("message")))))
        if ended.get("exitCode"):
            limit = self.limit("memory", str(name))
            allowed = f", memory limit {limit}" if limit and ended.get("reason") == "OOMKilled" else ""
            words = f"{ended.get('reason', 'ended')}, exit code {ended['exitCode']}{allowed}"
            yield Line(f"container {name}", ": ".join(filter(None, (words, ended.get("message")))))

    def _of_events(self) -> Iterator[Line]:
        """Yield events, without those that only say how it starts, and those of a hindrance that is over."""
        for event in self.seen.events.get(self.pod.name, ()):
            reason = str(event.get("reason"))
            over = self.started if reason != "FailedScheduling" else self.placed
            if reason in QUIET or (reason in BEFORE_START and over):
                continue
            series = event.get("series") or {}
            count = int(event.get("count") or series.get("count") or 1)
            times = f", {count} times" if count > 1 else ""
            yield Line(f"event {reason}{times}", " ".join(str(event.get("message")).split()))

    def _of_node(self) -> Iterator[Line]:
        name = self.pod.node or str(self.spec.get("nodeName") or "")
        if name in self.seen.lost:
            yield Line(f"node {name}", "is gone")
        conditions = (self.seen.nodes.get(name, {}).get("status") or {}).get("conditions") or [] if name else []
        for each in conditions:
            if each.get("type") == "Ready" and each.get("status") != "True":
                words = f"is not ready since {each.get('lastTransitionTime')}: {each.get('reason')}"
                yield Line(f"node {name}", words)

    def _of_log(self) -> Iterator[Line]:
        log = self.seen.logs.get(self.pod.name, "")
        for line in last_error(log):
            yield Line("log", line)
        if said := last_of_go(log):
            yield Line("driver" if self.pod.driver else "launcher", said)

    def _of_training(self) -> Iterator[Line]:
        if not self.training or not self.seen.training or not (self.started or self.pod.state == "failed"):
            return
        for attempt in self.seen.training.attempts:
            yield Line("store", f"attempt {attempt.number} of the training ended as {attempt.ending}: {attempt.reason}")
        if sign := self.seen.training.sign:
            yield Line("store", str(sign))


def attempts_of(seen: Seen, pod: workflow.Pod) -> tuple[workflow.Pod, ...]:
    """Return the pods that a task was given, or its driver."""
    pods = workflow.pods(seen.workflow)
    return tuple(each for each in pods if each.path == pod.path)
