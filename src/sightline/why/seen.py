"""Everything that can still be seen of a run: what its stages left, its workflow, its pods, events and logs.

Each source is optional. What could not be asked is said, a line each; a source that does not answer once is not asked
again, so that a run's last task ends in time.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from sightline.cluster import Denied, Kubernetes, NotThere
from sightline.documents import ErrorReport, SummaryDocument
from sightline.errors import ClusterError, SightlineError
from sightline.run_store import RunStore
from sightline.runtime import workflow
from sightline.runtime.pipeline_pod import KFP
from sightline.storage import Store
from sightline.why import training
from sightline.why.kfp import Server
from sightline.why.training import Training

UNEXPLAINED = ("lost", "interrupted")  # kinds of errors that say of a pod no more than that it was ended
DERIVED = (*UNEXPLAINED, "memory")  # kinds that a summary's error has where it says the cause in short
NO_NODE = "nodes are available"  # the scheduler's words
GONE: dict[str, Any] = {}  # in place of what Kubernetes no longer has
MOST = 8  # pods of a run that are looked at: those that failed, wait or run
OWN = re.compile(r"(.+?-[bcdfghjklmnpqrstvwxz2456789]{5})-.*system-container-impl-\d+$")  # a pod's name, of KFP
RUN = "pipeline/runid"  # KFP's label of a run's pods and workflow

Object = dict[str, Any]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Seen:
    """What was seen of a run, and when."""

    run_id: str
    at: datetime
    known: bool = False  # whether any source knows the run
    errors: Mapping[str, ErrorReport] = field(default_factory=dict)  # by stage
    ended: frozenset[str] = frozenset()  # the stages that left a result
    summary: SummaryDocument | None = None
    training: Training | None = None
    workflow: Object = field(default_factory=dict)
    pods: Mapping[str, Object] = field(default_factory=dict)  # Kubernetes' own, by name
    gone: frozenset[str] = frozenset()  # pods that Kubernetes no longer has
    events: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)  # by the pod's name
    nodes: Mapping[str, Object] = field(default_factory=dict)  # Kubernetes' own, by name; empty where not asked
    lost: frozenset[str] = frozenset()  # nodes that Kubernetes no longer has
    logs: Mapping[str, str] = field(default_factory=dict)  # by the pod's name
    signs: Mapping[str, datetime] = field(default_factory=dict)  # last lines of logs, by the pod's name
    answered: bool = False  # whether Kubeflow Pipelines or Kubernetes said anything
    unasked: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Tell whether the stages of the run have ended."""
        if self.workflow:
            return workflow.over(self.workflow)
        return self.summary is not None or bool(self.errors)

    @property
    def error(self) -> ErrorReport | None:
        """Return the error with which a stage says itself why the run failed, of the first stage that did."""
        return next((error for error in self.errors.values() if error.kind not in UNEXPLAINED), None)


def documents(run_id: str, store: Store | None) -> Seen:
    """Return what the stages of a run left. What cannot be read is said."""
    seen = Seen(run_id, datetime.now(UTC))
    if store is None:
        return seen
    run, asked = RunStore(store, run_id), Asked("the store")
    errors = asked.answer(run.errors) or {}
    records = asked.answer(run.records) or {}
    summary = asked.answer(run.summary)
    known = bool(errors or records or summary)
    return replace(
        seen,
        known=known,
        errors=errors,
        ended=frozenset(records),
        summary=summary,
        training=asked.answer(lambda: training.of_run(store, run_id)) if known else None,
        unasked=asked.problems,
    )


def look(
    run_id: str, *, store: Store | None = None, kubernetes: Kubernetes | None = None, server: Server | None = None
) -> Seen:
    """Return all that can be seen of a run now. Does not raise: what could not be asked is in `unasked`."""
    return further(documents(run_id, store), kubernetes=kubernetes, server=server)


def further(
    seen: Seen,
    *,
    kubernetes: Kubernetes | None = None,
    server: Server | None = None,
    unasked: Sequence[str] = (),
) -> Seen:
    """Add to what the documents say what Kubeflow Pipelines and Kubernetes do."""
    kfp, cluster = Asked("Kubeflow Pipelines"), Asked("Kubernetes")
    found = (server and kfp.answer(lambda: server.workflow(seen.run_id))) or {}
    known = seen.known or bool(found) or bool(server and not kfp.problems)
    if kubernetes and not found:
        found = cluster.answer(lambda: _workflow(kubernetes, seen.run_id)) or {}
    seen = replace(seen, workflow=found, known=known or bool(found), answered=bool(found))
    if kubernetes:
        home = workflow.namespace(found)
        seen = _in_kubernetes(seen, kubernetes.within(home) if home else kubernetes, cluster)
    if server:
        seen = replace(seen, logs=_logs(seen, server, kfp))
    return replace(seen, unasked=(*seen.unasked, *unasked, *kfp.problems, *cluster.problems))


class Asked:
    """A source of evidence, and what it would not say."""

    def __init__(self, name: str) -> None:
        """Take what people call it."""
        self.name = name
        self.away = False
        self._problems: dict[str, None] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be asked, a line each."""
        return tuple(self._problems)

    def answer(self, ask: Callable[[], Answer], missing: Answer | None = None) -> Answer | None:
        """Return the answer, or `missing` for what does not exist; None without one: the reason is kept."""
        if self.away:
            return None
        try:
            return ask()
        except NotThere:
            return missing
        except SightlineError as error:
            self.away = isinstance(error, ClusterError) and error.exit_code == 1  # an outage, not a refusal
            self._problems[f"{self.name}: {' '.join(str(error).split())}"] = None
            return None


# --- Kubernetes


def _workflow(kubernetes: Kubernetes, run_id: str) -> Object:
    """Return the workflow of a run, where KFP's server does not hand it out.

    A run's own account may get the workflow that its pod is named after, and list none.
    """
    path = kubernetes.path("workflows", group="argoproj.io", version="v1alpha1")
    if name := OWN.match(os.environ.get(KFP[0], "")):
        found = kubernetes.get(f"{path}/{name[1]}")
        if (found.get("metadata", {}).get("labels") or {}).get(RUN) == run_id:
            return found
    return next(kubernetes.items(path, labelSelector=f"{RUN}={run_id}"), {})


def interesting(seen: Seen) -> list[workflow.Pod]:
    """Return the pods that say why a run ended or does not go on: those that failed, or have not ended."""
    pods = [pod for pod in workflow.pods(seen.workflow) if pod.state in ("failed", "waiting", "running")]
    stopped = [pod for pod in pods if pod.driver and pod.message.startswith(workflow.STOPPED)]
    return [pod for pod in pods if pod not in stopped][-MOST:]


def _in_kubernetes(seen: Seen, kubernetes: Kubernetes, asked: Asked) -> Seen:
    """Add the pods that say why, with their events and, where these matter, nodes."""
    names = [pod.name for pod in interesting(seen)]
    pods: dict[str, Object] = {}
    if seen.workflow:
        found = {name: asked.answer(partial(kubernetes.get, kubernetes.path("pods", name)), GONE) for name in names}
        pods = {name: pod for name, pod in found.items() if pod and pod is not GONE}
        seen = replace(seen, gone=frozenset(name for name, pod in found.items() if pod is GONE))
    else:
        listed = partial(kubernetes.items, kubernetes.path("pods"), labelSelector=f"{RUN}={seen.run_id}")
        pods = {pod["metadata"]["name"]: pod for pod in asked.answer(lambda: list(listed())) or [] if _unfinished(pod)}
        names = list(pods)[-MOST:]
    events = {name: told for name in names if (told := asked.answer(partial(_events, kubernetes, name)))}
    seen = replace(seen, pods=pods, events=events, known=seen.known or bool(pods), answered=seen.answered or bool(pods))
    signs = {name: at for name, pod in pods.items() if _works(pod) and (at := _last_line(kubernetes, name, asked))}
    return _with_nodes(replace(seen, signs=signs), kubernetes, asked)


def _unfinished(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") != "Succeeded")


def _works(pod: Object) -> bool:
    """Tell whether the container of a task runs."""
    states = pod.get("status", {}).get("containerStatuses") or []
    return any(each.get("name") == "main" and "running" in each.get("state", {}) for each in states)


def _events(kubernetes: Kubernetes, name: str) -> tuple[Object, ...]:
    selector = f"involvedObject.kind=Pod,involvedObject.name={name}"
    return tuple(kubernetes.items(kubernetes.path("events"), fieldSelector=selector))


def _last_line(kubernetes: Kubernetes, pod: str, asked: Asked) -> datetime | None:
    """Return when a task wrote the last line of its log."""
    log = None
    with contextlib.suppress(Denied):  # KFP hands out the log itself; only its times are missing then
        log = asked.answer(lambda: kubernetes.log(pod, lines=1, timestamps=True))
    for line in (log or "").splitlines()[-1:]:
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(line.split()[0])
    return None


def _with_nodes(seen: Seen, kubernetes: Kubernetes, asked: Asked) -> Seen:
    """Add the nodes: all where a pod finds none, else those on which its pods were. Most accounts may not see any."""
    path = kubernetes.path("nodes", namespaced=False)
    if any(NO_NODE in text for text in _texts(seen)):
        nodes = asked.answer(lambda: list(kubernetes.items(path))) or []
        return replace(seen, nodes={node["metadata"]["name"]: node for node in nodes})
    found = {name: asked.answer(partial(kubernetes.get, f"{path}/{name}"), GONE) for name in _hosts(seen)}
    there = {name: node for name, node in found.items() if node and node is not GONE}
    return replace(seen, nodes=there, lost=frozenset(name for name, node in found.items() if node is GONE))


def _texts(seen: Seen) -> Iterator[str]:
    yield from (pod.message for pod in workflow.waiting(seen.workflow))
    for events in seen.events.values():
        yield from (str(event.get("message")) for event in events)


def _hosts(seen: Seen) -> list[str]:
    found = [pod.node for pod in interesting(seen)]
    found += [str(pod.get("spec", {}).get("nodeName") or "") for pod in seen.pods.values()]
    return sorted({name for name in found if name})


# --- logs


def _logs(seen: Seen, server: Server, asked: Asked) -> dict[str, str]:
    """Return the logs of the pods that failed, those of the newest attempts."""
    failed = [pod for pod in interesting(seen) if pod.state == "failed"]
    last = {(pod.task, pod.driver): pod for pod in failed}
    logs = {}
    for pod in list(last.values())[: MOST // 2]:
        if asked.away:
            break
        try:
            logs[pod.name] = server.log(seen.run_id, pod.name)
        except ClusterError:  # no archive, and the pod is gone: then what Kubernetes says stands alone
            break
    return logs
