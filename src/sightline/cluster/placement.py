"""Whether a node could take a task's pod, and whether one has room for it now: what Kubernetes' scheduler would find.

A node's room is what it can give to pods (`allocatable`) less what the pods on it request. Node affinity, spreading and
pods' own affinities are not looked at: KFP's tasks have none unless somebody wrote them by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from sightline.cluster.amounts import Amounts, amounts, shown, total
from sightline.cluster.api import Denied, Kubernetes, Object
from sightline.cluster.findings import Finding, Level
from sightline.cluster.growth import Growth, growth
from sightline.cluster.needs import Needs, named
from sightline.cluster.questions import short
from sightline.cluster.taints import KEEPS_OUT, Taint, tolerated, written

PASSING = "node.kubernetes.io/"  # taints that Kubernetes sets for what may pass: not ready, full disk, cordoned
OVER = ("Succeeded", "Failed")
SHOWN = 3  # names in a sentence
Ask = Mapping[str, Decimal]


@dataclass(frozen=True)
class Node:
    """A node, what it can give, and the pods that use some of it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    gives: Amounts
    users: tuple[tuple[str, Amounts], ...] = field(repr=False)

    @property
    def free(self) -> dict[str, Decimal]:
        """What no pod requests."""
        used = total(amount for _, amount in self.users)
        return {name: value - used.get(name, Decimal(0)) for name, value in self.gives.items()}

    def never(self, task: Needs, ask: Ask) -> Iterator[tuple[str, Decimal | None]]:
        """Yield what keeps a pod of the task off this node for good: a label, a taint, or a resource and its amount."""
        for key, value in task.selector.items():
            if self.labels.get(key) != value:
                yield f"without the label {key}={value}", None
        for taint in self.taints:
            if not taint["key"].startswith(PASSING) and not tolerated(taint, task.tolerations):
                yield f"with the taint {written(taint)}, which it does not tolerate", None
        for name, wanted in ask.items():
            there = self.gives.get(name, Decimal(0))
            if wanted > there:
                yield (name, there) if there else (f"without any {name}", None)

    def not_now(self, task: Needs, ask: Ask) -> Iterator[str]:
        """Yield what keeps a pod of the task off this node for the moment."""
        for taint in self.taints:
            if taint["key"].startswith(PASSING) and not tolerated(taint, task.tolerations):
                yield f"{self.name} is {taint['key'].removeprefix(PASSING).replace('-', ' ')}"
        free = self.free
        for name, wanted in ask.items():
            if wanted > free.get(name, Decimal(0)):
                yield self._used(name, free.get(name, Decimal(0)))

    def _used(self, resource: str, free: Decimal) -> str:
        """Say how much of a resource is left, and which pods use the most of it."""
        users = sorted(((amount[resource], pod) for pod, amount in self.users if amount.get(resource)), reverse=True)
        by = ", ".join(pod for _, pod in users[:SHOWN])
        more = f" and {len(users) - SHOWN} more" if len(users) > SHOWN else ""
        used = f", used by {by}{more}" if users else ""
        whole = shown(resource, self.gives.get(resource, Decimal(0)))
        return f"{self.name} has {shown(resource, max(free, Decimal(0)))} of {whole} {resource} free{used}"

    def holds(self, ask: Ask, room: Amounts) -> int:
        """Return how many such pods fit into some room."""
        return min((int(room.get(name, Decimal(0)) // wanted) for name, wanted in ask.items() if wanted), default=1)


def places(kubernetes: Kubernetes, tasks: Sequence[Needs], beside: Amounts) -> Iterator[Finding]:
    """Yield for every kind of tasks whether a node could take them, and could now.

    `beside` is what the pod of each task requests besides its own container: Argo's, and a LimitRange's defaults.
    """
    found = list(kubernetes.items("/api/v1/nodes"))
    users: dict[str, list[tuple[str, Amounts]]] = {}
    unseen = ""
    try:
        for pod in kubernetes.items("/api/v1/pods", fieldSelector="status.phase!=Succeeded,status.phase!=Failed"):
            place, meta = (pod.get("spec") or {}).get("nodeName"), pod["metadata"]
            if place and (pod.get("status") or {}).get("phase") not in OVER:
                users.setdefault(place, []).append((f"{meta.get('namespace')}/{meta['name']}", requested(pod)))
    except Denied as error:
        unseen = short(error)
    nodes = [_node(item, tuple(users.get(item["metadata"]["name"], ()))) for item in found]
    told: dict[tuple[Level, str, bool], list[tuple[Needs, Ask]]] = {}
    for task in tasks:
        ask = {name: value for name, value in total([task.requests, beside, {"pods": Decimal(1)}]).items() if value}
        level, words = _place(task, ask, nodes, unseen, partial(growth, kubernetes))
        told.setdefault((level, words, task.task == "train"), []).append((task, ask))
    for (level, words, _), asked in sorted(told.items(), key=lambda item: not item[0][2]):
        most = "" if level == "ok" else f". {_asked(asked)}"
        yield Finding("nodes", level, f"{named([task for task, _ in asked])}: {words}{most}")


def _place(task: Needs, ask: Ask, nodes: list[Node], unseen: str, grows: Callable[[], Growth]) -> tuple[Level, str]:
    """Say where the pods of a task can run, in words that fit several tasks."""
    able = [node for node in nodes if not any(node.never(task, ask))]
    could = f"{len(able)} of {len(nodes)} nodes could take it"
    slots = sum(node.holds(ask, node.gives) for node in able)
    if slots < task.count:
        why = f"they hold {slots} of {task.count} such pods" if able else _grouped(nodes, task, ask)
        return _nowhere(grows(), task, f"{could}: {why}")
    if unseen:
        return "unknown", f"{could}; whether one has room now was not checked: {unseen}"
    free = [node for node in able if not any(node.not_now(task, ask))]
    now = sum(node.holds(ask, node.free) for node in free)
    if now >= task.count:
        return "ok", f"{could}, {len(free)} now ({', '.join(node.name for node in free[:SHOWN])})"
    lacks = [each for node in able for each in node.not_now(task, ask)]
    enough = f"{now} of {task.count} such pods fit now" if now else "none has room now"
    words = "; ".join(lacks[:SHOWN]) + (f"; and {len(lacks) - SHOWN} more" if len(lacks) > SHOWN else "")
    return "warning", f"{could}, {enough}, so it would wait: {words}"


def _nowhere(grows: Growth, task: Needs, words: str) -> tuple[Level, str]:
    """Say that no node is there for a task, and whether the cluster may make one."""
    if pools := grows.pools_for(task.tolerations):
        return "warning", f"{words}. The cluster adds nodes by itself ({', '.join(pools[:SHOWN])}), and may add one"
    if grows.kept_out:
        words = f"{words}. Pools that could grow have taints that it does not tolerate: {grows.kept_out}"
    if grows.unseen:
        return "unknown", f"{words}. Whether the cluster adds nodes by itself is not known: {grows.unseen}"
    return "problem", words


def _asked(asked: list[tuple[Needs, Ask]]) -> str:
    """Say what the pods of tasks ask for; of several tasks the most."""
    most: dict[str, Decimal] = {}
    for _, ask in asked:
        most = {name: max(most.get(name, Decimal(0)), value) for name, value in {**most, **ask}.items()}
    first = asked[0][0]
    amounts = ", ".join(first.asks(name, value) for name, value in most.items() if name != "pods")
    return f"It asks for {amounts}" if len(asked) == 1 else f"They ask for up to {amounts}"


def _grouped(nodes: list[Node], task: Needs, ask: Ask) -> str:
    """Count the nodes by what keeps the task off them; a node may stand under several reasons."""
    if not nodes:
        return "there is no node"
    counts: Counter[str] = Counter()
    most: dict[str, Decimal] = {}
    for node in nodes:
        for reason, there in node.never(task, ask):
            counts[reason] += 1
            if there is not None:
                most[reason] = max(most.get(reason, there), there)
    words = {name: f"with {shown(name, value)} of {name} at most" for name, value in most.items()}
    return "; ".join(f"{count} {words.get(reason, reason)}" for reason, count in counts.most_common())


def _node(item: Object, users: tuple[tuple[str, Amounts], ...]) -> Node:
    meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    taints = [dict(taint) for taint in spec.get("taints") or []]
    if spec.get("unschedulable") and not any(taint["key"] == f"{PASSING}unschedulable" for taint in taints):
        taints.append({"key": f"{PASSING}unschedulable", "effect": "NoSchedule"})
    kept = tuple(taint for taint in taints if taint.get("effect") in KEEPS_OUT)
    one = tuple((name, {**amount, "pods": Decimal(1)}) for name, amount in users)
    return Node(meta["name"], meta.get("labels") or {}, kept, amounts(status.get("allocatable")), one)


def requested(pod: Object) -> dict[str, Decimal]:
    """Return what a pod requests, as the scheduler counts it.

    Init containers run before the others, so the largest of them counts if it is more than all others together; one
    that restarts always is a sidecar, and runs beside them.
    """
    spec = pod["spec"]
    beside = total(_requests(each) for each in spec["containers"])
    first: dict[str, Decimal] = {}
    for each in spec.get("initContainers") or []:
        if each.get("restartPolicy") == "Always":
            beside = total([beside, _requests(each)])
        else:
            first = {
                name: max(first.get(name, Decimal(0)), value) for name, value in {**first, **_requests(each)}.items()
            }
    most = {name: max(beside.get(name, Decimal(0)), first.get(name, Decimal(0))) for name in {*beside, *first}}
    return total([most, amounts(spec.get("overhead"))])


def _requests(container: Object) -> dict[str, Decimal]:
    return amounts((container.get("resources") or {}).get("requests"))
