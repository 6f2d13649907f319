"""Whether the LimitRanges of a namespace let the pods of tasks in, and what they give to containers that say nothing.

Kubernetes decides when a pod is created, so that none appears: a run that is stopped so looks as if it ran for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sightline.cluster.amounts import Amounts, amount, amounts, shown, total
from sightline.cluster.api import Denied, Kubernetes, Object
from sightline.cluster.findings import Finding, ok, problem, warning
from sightline.cluster.needs import CPU, DISK, MEMORY, Needs

RANGED = (CPU, MEMORY, DISK)
WORKFLOW, WAIT = "workflows.argoproj.io/workflow", "wait"  # label of Argo's pods; its container beside a task


@dataclass(frozen=True)
class Container:
    """What a container requests and may use, after a LimitRange has filled in what it does not say."""

    requests: Amounts
    limits: Amounts


@dataclass(frozen=True)
class Rules:
    """The LimitRanges of a namespace, and what stands beside each task."""

    ranges: tuple[Object, ...]
    wait: Container  # Argo's own container in the pod of every task
    known: bool  # whether one was seen; else it is what the LimitRange gives to a container that says nothing

    def filled(self, requests: Amounts, limits: Amounts) -> Container:
        """Return a container's amounts with the defaults of the LimitRanges."""
        requests = {**limits, **requests}
        for item in self.items("Container"):
            default = amounts(item.get("default"))
            requests = {**default, **amounts(item.get("defaultRequest")), **requests}
            limits = {**default, **limits}
        return Container(requests, limits)

    def items(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the rules for containers or for whole pods."""
        return [item for each in self.ranges for item in each["spec"].get("limits") or [] if item["type"] == kind]

    @property
    def beside(self) -> dict[str, Decimal]:
        """What a task's pod requests besides what its own container says."""
        defaults = self.filled({}, {}).requests
        return total([self.wait.requests, {DISK: defaults[DISK]} if DISK in defaults else {}])


def rules(kubernetes: Kubernetes) -> Rules:
    """Read the LimitRanges, and from an earlier run's pod what Argo's container asks for."""
    ranges = tuple(kubernetes.items(kubernetes.path("limitranges")))
    empty = Container({}, {})
    wait = Rules(ranges, empty, known=False).filled({}, {})
    try:
        given = next(_waits(kubernetes), None)
    except Denied:
        given = None
    if given is None:
        return Rules(ranges, wait, known=False)
    found = Rules(ranges, empty, known=True).filled(amounts(given.get("requests")), amounts(given.get("limits")))
    return Rules(ranges, found, known=True)


def _waits(kubernetes: Kubernetes) -> Iterator[Mapping[str, Any]]:
    """Yield the resources of Argo's container in the pods of earlier runs."""
    for pod in kubernetes.items(kubernetes.path("pods"), labelSelector=WORKFLOW):
        for container in pod["spec"]["containers"]:
            if container["name"] == WAIT:
                yield container.get("resources") or {}


def ranges(found: Rules, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield what a LimitRange does not allow, and disk that it takes away."""
    told = 0
    for each in found.ranges:
        name = each["metadata"]["name"]
        for item in each["spec"].get("limits") or []:
            for task in tasks:
                own = found.filled(task.requests, task.limits)
                whole = Container(total([own.requests, found.wait.requests]), total([own.limits, found.wait.limits]))
                used = {"Container": own, "Pod": whole}.get(item["type"])
                for words in _broken(task, used, item) if used else ():
                    told += 1
                    yield problem("limits", f"{task.task}: {words} of the LimitRange {name}; no pod would start")
    for words in _disk(found, tasks):
        told += 1
        yield warning("limits", words)
    if not told:
        names = [each["metadata"]["name"] for each in found.ranges]
        yield ok("limits", f"the LimitRange {' and '.join(names)} lets all tasks in" if names else "no LimitRange")


def _broken(task: Needs, used: Container, item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules of a LimitRange that a container or a pod would break."""
    what = f"a {item['type'].lower()}"
    most, least, ratio = amounts(item.get("max")), amounts(item.get("min")), amounts(item.get("maxLimitRequestRatio"))
    for name in {**most, **least, **ratio}:
        if name not in RANGED:
            continue
        request, limit = used.requests.get(name), used.limits.get(name)
        by = f" ({task.chosen[name]})" if name in task.chosen else ""
        if name in most and limit is None:
            yield f"{what} says no limit of {name}{by}, which the maximum {shown(name, most[name])}"
        highest, lowest = max(limit or Decimal(0), request or Decimal(0)), request or limit
        if name in most and highest > most[name]:
            bound = shown(name, most[name])
            yield f"{shown(name, highest)} of {name}{by} are more than the maximum {bound} for {what}"
        if name in least and lowest is not None and lowest < least[name]:
            bound = shown(name, least[name])
            yield f"{shown(name, lowest)} of {name}{by} are less than the minimum {bound} for {what}"
        if name in ratio and request and limit and limit / request > ratio[name]:
            times = shown("", limit / request)
            yield (
                f"its limit of {name}{by}, {shown(name, limit)}, is {times} times its request {shown(name, request)}, "
                f"more than the ratio {shown('', ratio[name])}"
            )


def _disk(found: Rules, tasks: Sequence[Needs]) -> Iterator[str]:
    """Yield tasks whose volumes on the node's disk may hold more than a LimitRange lets their pods use."""
    for task in tasks:
        own = found.filled(task.requests, task.limits)
        limit = total([own.limits, found.wait.limits]).get(DISK)
        volumes = [amount(each.size) for each in task.empty_dirs if each.size and each.medium != "Memory"]
        if limit is not None and volumes and sum(volumes) > limit:
            yield (
                f"{task.task}: its /tmp may hold {shown(DISK, Decimal(sum(volumes)))}, and a LimitRange ends a pod "
                f"that fills {shown(DISK, limit)} of {DISK}"
            )
