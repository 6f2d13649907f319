"""One pod of a run, and all that was said about it, line by line: what the table of causes is searched with."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sightline.config.cluster_names import MAIN
from sightline.runtime import workflow
from sightline.runtime.stage_frame import NAMES
from sightline.why.seen import Object, Seen
from sightline.why.training import Sign
from sightline.why.words import TABLE, last_error, last_of_go, shortened

BEFORE_START = ("FailedScheduling", "FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume", "Failed", "BackOff")
STAGES = {"gate": "validate", "refuse": "validate", "verdict": "evaluate"}  # our tasks that are no stages
STARTED = re.compile(r"^\w[\w-]*: .*\(exit code (-?\d+)\)")  # what Argo says of a pod whose containers ran
FROM_OUTSIDE = (137, 143, 255)  # exit codes of what was killed or ended, or was lost when its node started again
ON_A_NODE = "active on the node"  # the kubelet's words when a time limit ends a pod
CANCELLED = "Cancelling deletion"  # a taint was gone before it ended the pod
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

    @property
    def ours(self) -> bool:
        """Tell whether it is a task of our pipeline: `why` is asked about others too."""
        return self.pod.task in (*NAMES, *STAGES, workflow.EXIT)

    @property
    def table(self) -> str:
        """Name the place where it is written what the task asks for."""
        return TABLE if self.ours else "its pipeline"

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
    def main(self) -> Mapping[str, Any] | None:
        """The state of the task's own container; None where it was not seen."""
        return next((each.get("state") or {} for each in self.statuses if each.get("name") == MAIN), None)

    @cached_property
    def started(self) -> bool:
        """Tell whether the task itself had begun, as far as is known."""
        if self.main is not None:
            ended = self.main.get("terminated") or {}
            return "running" in self.main or bool(ended and ended.get("reason") != "ContainerStatusUnknown")
        if self.pod.state == "waiting":
            return False  # whatever the events say, which may be those of a pod before it, of the same name
        return self.pod.state == "running" or bool(STARTED.match(self.pod.message)) or self._event("Started", MAIN)

    @cached_property
    def placed(self) -> bool:
        """Tell whether a node has taken the pod, as far as is known."""
        taken = self.pod.node or self.pod.used or self.spec.get("nodeName") or ON_A_NODE in self.pod.message
        return self.started or bool(taken) or self._event("Scheduled")

    @cached_property
    def by_itself(self) -> bool:
        """Tell whether the task ended by itself: its node was there to say so, and nobody had killed it."""
        said = STARTED.match(self.pod.message)
        ended = (self.main or {}).get("terminated") or {}
        code = ended.get("exitCode", said and int(said[1]))
        return code is not None and code not in FROM_OUTSIDE

    @property
    def since(self) -> datetime | None:
        """When the pod was made, or was to be made."""
        return self.pod.started

    @cached_property
    def began(self) -> datetime | None:
        """When the task began, as far as is known; else when its pod was made."""
        states = (self.main or {}).values()
        times = [state.get("startedAt") for state in states if state]
        times.append((self.object.get("metadata") or {}).get("creationTimestamp"))
        for text in filter(None, times):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(str(text))
        return self.since

    @cached_property
    def sign(self) -> Sign | None:
        """The newest sign of the training in this pod; None where there is none, or it is of a pod before this one."""
        sign = self.seen.training.sign if self.training and self.seen.training else None
        return sign if sign and (self.began is None or sign.at >= self.began) else None

    @cached_property
    def node(self) -> Object:
        """Kubernetes' own node of the pod; empty where it was not seen."""
        return self.seen.nodes.get(self.pod.node or str(self.spec.get("nodeName") or ""), {})

    @cached_property
    def ready(self) -> bool:
        """Tell whether its node was seen, and is ready."""
        return _condition(self.node, "Ready") == "True"

    def _event(self, reason: str, words: str = "") -> bool:
        events = self.seen.events.get(self.pod.name, ())
        return any(event.get("reason") == reason and words in str(event.get("message")) for event in events)

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
        """Yield events, without those that only say how it starts, and those of a trouble that is over."""
        back = self.ready or self.by_itself or _condition(self.object, "Ready") == "True"
        for event in self.seen.events.get(self.pod.name, ()):
            reason, message = str(event.get("reason")), " ".join(str(event.get("message")).split())
            over = self.started if reason != "FailedScheduling" else self.placed
            if reason in QUIET or (reason in BEFORE_START and over):
                continue
            if (reason == "NodeNotReady" and back) or message.startswith(CANCELLED):
                continue
            series = event.get("series") or {}
            count = int(event.get("count") or series.get("count") or 1)
            times = f", {count} times" if count > 1 else ""
            yield Line(f"event {reason}{times}", message)

    def _of_node(self) -> Iterator[Line]:
        """Yield that its node is lost; of a task that ended by itself that is no trouble."""
        name = self.pod.node or str(self.spec.get("nodeName") or "")
        if self.by_itself:
            return
        if name in self.seen.lost:
            yield Line(f"node {name}", "is gone")
        for each in (self.node.get("status") or {}).get("conditions") or []:
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
        """Yield evidence, in which no row looks for its words: the training recovered from how its attempts ended."""
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


def _condition(found: Object, kind: str) -> str:
    """Return the status of a condition of a pod or a node; empty where it was not seen."""
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((str(each.get("status")) for each in conditions if each.get("type") == kind), "")
