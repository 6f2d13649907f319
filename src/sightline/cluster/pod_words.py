"""How a pod is, in words: why it does not start, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.cluster.api import Object

LONGEST = 500  # characters of what Kubernetes says


def ended(pod: Object) -> bool:
    """Tell whether a pod is over."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def in_words(pod: Object) -> str:
    """Say in a sentence how a pod is."""
    name, status = f"Its pod {pod['metadata']['name']}", pod.get("status", {})
    if ended(pod):
        return _end(name, pod)
    if pod["metadata"].get("deletionTimestamp"):
        return f"{name} is being deleted."
    if disrupted := _condition(pod, "DisruptionTarget", "True"):
        return f"{name} is about to go: {_said(disrupted)}"
    if (scheduled := _condition(pod, "PodScheduled", "False")) is not None:
        return f"No node takes {name[0].lower()}{name[1:]}: {_said(scheduled)}"
    for container in _containers(pod):
        if (waits := _state(container).get("waiting")) and waits.get("reason") not in (None, "ContainerCreating"):
            return f"{name} waits ({waits['reason']}): {_said(waits)}"
    node = pod.get("spec", {}).get("nodeName")
    where = f" on {node}" if node else ""
    return f"{name} {'runs' if status.get('phase') == 'Running' else 'starts'}{where}."


def _end(name: str, pod: Object) -> str:
    status = pod["status"]
    if reason := status.get("reason"):  # of the whole pod: Evicted, Preempting, NodeLost, DeadlineExceeded
        return f"{name} ended ({reason}): {_said(status)}"
    for container in _containers(pod):
        if end := _state(container).get("terminated"):
            reason = end.get("reason") or "Error"
            words = _said(end) if end.get("message") else "no more is known."
            if reason == "OOMKilled":
                return f"{name} was ended by its memory limit ({_limit(pod)}): OOMKilled, exit code {end['exitCode']}."
            return f"{name} ended ({reason}, exit code {end['exitCode']}): {words}"
    return f"{name} ended ({status.get('phase')})."


def _limit(pod: Object) -> str:
    """Return the memory limit of a pod's main container."""
    limits = [each.get("resources", {}).get("limits", {}) for each in pod["spec"]["containers"]]
    return str(next((each["memory"] for each in limits if "memory" in each), "none is set; the node's own"))


def _containers(pod: Object) -> list[Object]:
    return list(pod.get("status", {}).get("containerStatuses") or [])


def _state(container: Object) -> Object:
    return dict(container.get("state") or {})


def _condition(pod: Object, kind: str, status: str) -> Object | None:
    found = pod.get("status", {}).get("conditions") or []
    return next((each for each in found if (each["type"], each["status"]) == (kind, status)), None)


def _said(words: Mapping[str, Any]) -> str:
    text = " ".join(str(words.get("message") or words.get("reason") or "").split())
    return f"{text[:LONGEST].rstrip('.')}."
