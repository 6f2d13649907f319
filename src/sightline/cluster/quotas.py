"""Whether the ResourceQuotas of a namespace let the pods of tasks in, and whether they do now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from sightline.cluster.amounts import amounts, shown, total
from sightline.cluster.api import Kubernetes, Object
from sightline.cluster.findings import Finding, ok, problem, warning
from sightline.cluster.limits import RANGED, Rules
from sightline.cluster.needs import Needs, named


def quotas(kubernetes: Kubernetes, found: Rules, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield what a ResourceQuota refuses, for good or for now."""
    told, names = 0, []
    for item in kubernetes.items(kubernetes.path("resourcequotas")):
        if not _counts(item):
            continue
        name, status = item["metadata"]["name"], item.get("status") or {}
        names.append(name)
        hard, used = amounts(status.get("hard") or item["spec"].get("hard")), amounts(status.get("used"))
        unsaid: dict[str, str] = {}
        worst: dict[tuple[str, str], tuple[list[Needs], Decimal]] = {}
        for task in tasks:
            for key, most in hard.items():
                wanted = _wanted(key, task, found)
                if wanted is None:
                    unsaid.setdefault(key, task.task)
                elif wanted > most or (wanted and wanted + used.get(key, Decimal(0)) > most):
                    level = "never" if wanted > most else "now"
                    who, highest = worst.setdefault((key, level), ([], Decimal(0)))
                    who.append(task)
                    worst[key, level] = who, max(highest, wanted)
        for (key, level), (who, wanted) in worst.items():
            told += 1
            yield _exceeded(name, key, level, who, wanted, hard[key], used.get(key, Decimal(0)))
        for key, first in unsaid.items():
            told += 1
            yield _unsaid(name, key, first, found)
    if not told:
        yield ok("quota", f"the ResourceQuota {' and '.join(names)} has room" if names else "no ResourceQuota")


def _exceeded(
    name: str, key: str, level: str, who: Sequence[Needs], wanted: Decimal, most: Decimal, used: Decimal
) -> Finding:
    resource = key.partition(".")[2] or key
    by = next((f" ({task.chosen[resource]})" for task in who if resource in task.chosen), "")
    words = f"{named(list(who))}: {shown(key, wanted)} of {key}{by}"
    if level == "never":
        return problem("quota", f"{words} are more than the {shown(key, most)} of the ResourceQuota {name}")
    left = shown(key, max(most - used, Decimal(0)))
    return warning(
        "quota",
        f"{words}, and {left} of {shown(key, most)} are left in the ResourceQuota {name}: there is no pod until "
        "others end, and the run looks as if it ran",
    )


def _unsaid(name: str, key: str, task: str, found: Rules) -> Finding:
    """Say that a quota counts what a container does not say: Kubernetes then refuses the pod."""
    words = (
        f"the ResourceQuota {name} counts {key}, which a container in the pod of {task} does not say, so that no pod "
        "is let in; a LimitRange with defaults says it for all (manifests/base/limits.yaml)"
    )
    return problem("quota", words) if found.known else warning("quota", f"perhaps {words}")


def _wanted(key: str, task: Needs, found: Rules) -> Decimal | None:
    """Return how much of a quota the pods of a task take; None where a container would have to say it and does not."""
    if key in ("pods", "count/pods"):
        return Decimal(task.count)
    kind, dot, resource = key.partition(".")
    if not dot:
        kind, resource = "requests", key
    if kind not in ("requests", "limits") or resource == "storage":
        return Decimal(0)
    own = found.filled(task.requests, task.limits)
    containers = [getattr(own, kind), getattr(found.wait, kind)]
    if resource in RANGED:
        if any(resource not in each for each in containers):
            return None
    elif "/" not in resource:
        return Decimal(0)
    return total(containers).get(resource, Decimal(0)) * task.count


def _counts(quota: Object) -> bool:
    """Say whether a quota counts the pods of tasks: they have requests, a time limit and no priority class."""
    spec = quota["spec"]
    terms = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or []]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    ours = {"Terminating": True, "NotTerminating": False, "BestEffort": False, "NotBestEffort": True}
    for term in terms:
        has = ours.get(term["scopeName"], False)
        if has == (term["operator"] == "DoesNotExist"):
            return False
    return True
