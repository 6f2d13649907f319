"""What Kubernetes says of a run: its workflow, the pods that matter, their events, and the nodes they are on."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sightline.cluster import Denied, Kubernetes
from sightline.config.cluster_names import KFP_RUN, MAIN
from sightline.runtime import workflow
from sightline.runtime.pipeline_pod import KFP
from sightline.why.seen import MOST, Asked, Object, Seen, interesting

NO_NODE = "nodes are available"  # the scheduler's words
GONE: dict[str, Any] = {}  # in place of what Kubernetes no longer has
OWN = re.compile(r"(.+?-[bcdfghjklmnpqrstvwxz2456789]{5})-.*system-container-impl-\d+$")  # a pod's name, of KFP


def workflow_of(kubernetes: Kubernetes, run_id: str) -> Object:
    """Return the workflow of a run, where KFP's server does not hand it out.

    A run's own account may get the workflow that its pod is named after, and list none.
    """
    path = kubernetes.path("workflows", group="argoproj.io", version="v1alpha1")
    if name := OWN.match(os.environ.get(KFP[0], "")):
        found = kubernetes.get(f"{path}/{name[1]}")
        if (found.get("metadata", {}).get("labels") or {}).get(KFP_RUN) == run_id:
            return found
    return next(kubernetes.items(path, labelSelector=f"{KFP_RUN}={run_id}"), {})


def added(seen: Seen, kubernetes: Kubernetes, asked: Asked) -> Seen:
    """Add the pods that say why, with their events and, where these matter, nodes."""
    names = [pod.name for pod in interesting(seen)]
    pods: dict[str, Object] = {}
    if seen.workflow:
        found = {name: asked.answer(partial(kubernetes.get, kubernetes.path("pods", name)), GONE) for name in names}
        pods = {name: pod for name, pod in found.items() if pod and pod is not GONE}
        seen = replace(seen, gone=frozenset(name for name, pod in found.items() if pod is GONE))
    else:
        listed = partial(kubernetes.items, kubernetes.path("pods"), labelSelector=f"{KFP_RUN}={seen.run_id}")
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
    return any(each.get("name") == MAIN and "running" in each.get("state", {}) for each in states)


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
