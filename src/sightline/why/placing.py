"""Why a pod is not made, or finds no node: what the scheduler, quotas and rules of admission say, in numbers and names.

The scheduler counts nodes by reason (pkg/scheduler/framework/types.go): `0/3 nodes are available: 1 Insufficient
nvidia.com/gpu, 2 node(s) had untolerated taint {a: b}.` A newer one leaves the taints to the nodes, which name them. A
quota says `exceeded quota: NAME, requested: …, used: …, limited: …`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sightline.cluster.taints import KEEPS_OUT, tolerated
from sightline.config.cluster_names import GPU
from sightline.why.case import Case, Found
from sightline.why.words import bytes_of, clause, joined

COUNTS = re.compile(r"(?P<fit>\d+)/(?P<all>\d+) nodes are available: (?P<why>.*)", re.DOTALL)
COUNT = re.compile(r"(\d+) (.+?)(?=, \d+ |$)")
AFTERWORDS = re.compile(r"\.? (preemption: |no new claims).*", re.DOTALL)
RESOURCES = {"memory": "of memory", "ephemeral-storage": "of disk", "cpu": "of CPU"}
QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<most>\S+)"
)
FIELDS = {"cpu": "train_cpu", "memory": "train_memory", GPU: "train_gpus"}  # of the form


class Nodes(NamedTuple):
    """How many nodes do not take a pod, and why, in the scheduler's words."""

    number: int
    reason: str


def counted(words: str) -> tuple[int, list[Nodes]] | None:
    """Return the number of nodes and the reasons of a scheduler's message; None for another one."""
    found = COUNTS.search(words)
    if found is None:
        return None
    why = AFTERWORDS.sub("", found["why"]).rstrip(". ")
    return int(found["all"]), [Nodes(int(count), reason.rstrip(".")) for count, reason in COUNT.findall(why)]


def placing(case: Case, found: Found) -> dict[str, str] | None:
    """Say on how many nodes which resource, taint or label is in the way."""
    read = counted(found.text)
    if read is None:
        return {"what": clause(found.text.partition("Unschedulable: ")[2] or found.text), "do": _do(case, [])}
    total, groups = read
    short = [group for group in groups if group.reason.startswith("Insufficient ")]
    rest = [_others(case, group) for group in groups if group not in short]
    if short:
        names = [group.reason.removeprefix("Insufficient ") for group in short]
        what = f"0 of {total} nodes have {joined([_free(case, name) for name in names])}"
        what += f" ({'; '.join(rest)})" if rest else ""
    elif rest:
        what = f"0 of {total} nodes take its pod: {'; '.join(rest)}"
    else:
        what = clause(found.text.partition(": ")[2])
    return {"what": what, "do": _do(case, groups)}


def _free(case: Case, resource: str) -> str:
    asked = case.request(resource)
    if resource in RESOURCES:
        amount = f"{asked} {RESOURCES[resource]}" if asked else f"enough {RESOURCES[resource].removeprefix('of ')}"
        return f"{amount} free"
    return f"a free {resource}" if asked in (None, "1") else f"{asked} free {resource}"


def _others(case: Case, group: Nodes) -> str:
    """Say in words why nodes do not take a pod."""
    count, reason = group.number, group.reason
    verb = "has" if count == 1 else "have"
    if "taint" in reason:
        named = re.search(r"\{(.*)\}", reason)
        taints = [named[1].rstrip(": ")] if named else _taints(case)
        if any("unreachable" in taint or "not-ready" in taint for taint in taints):
            return f"{count} {'is' if count == 1 else 'are'} not ready"
        which = f"the taint {joined(taints)}" if taints else "a taint"
        return f"{count} {verb} {which}, which it does not tolerate"
    if "node affinity/selector" in reason:
        selector = [f"{name}={value}" for name, value in (case.spec.get("nodeSelector") or {}).items()]
        label = f"the label {joined(selector)}" if selector else "the labels that it selects"
        return f"{count} {'lacks' if count == 1 else 'lack'} {label}"
    if reason == "node(s) were unschedulable":
        return f"{count} {'takes' if count == 1 else 'take'} no new pods (cordoned)"
    if reason == "Too many pods":
        return f"{count} {verb} no room for another pod"
    return f"{count}: {reason}"


def _taints(case: Case) -> list[str]:
    """Name the taints of the nodes that a pod does not tolerate, where the nodes were seen."""
    tolerations = case.spec.get("tolerations") or []
    named: dict[str, None] = {}
    for node in case.seen.nodes.values():
        for taint in (node.get("spec") or {}).get("taints") or []:
            if taint.get("effect") in KEEPS_OUT and not tolerated(taint, tolerations):
                named["=".join(filter(None, (taint.get("key"), taint.get("value"))))] = None
    return list(named)


def _do(case: Case, groups: list[Nodes]) -> str:
    """Say what to change, by what is in the way."""
    fields: dict[str, None] = {}
    for group in groups:
        if group.reason.startswith("Insufficient "):
            fields[FIELDS.get(group.reason.removeprefix("Insufficient "), "")] = None
        elif "taint" in group.reason:
            fields["train_tolerations"] = None
        elif "selector" in group.reason:
            fields["train_node_selector"] = None
    named = joined([name for name in fields if name])
    if case.training and named:
        return f"Change {named} in the form, wait until a node is free, or add one."
    return f"Wait until a node is free, add one, or change what {case.pod.task} asks for in {case.table}."


# --- quota


def quota(case: Case, found: Found) -> dict[str, str] | None:
    """Say which quota allows how much, and what of it is used."""
    exceeded = QUOTA.search(found.text)
    if exceeded is None:
        return {"what": f"the namespace's quota refuses its pod: {clause(found.text)}", "again": ""}
    asked, used, most = (_amounts(exceeded[name]) for name in ("asked", "used", "most"))
    parts = [
        f"{most[name]} {name}, of which {used.get(name, '0')} are in use, and it asks for {amount}"
        for name, amount in asked.items()
        if name in most
    ]
    fits = all((bytes_of(amount) or 0) <= (bytes_of(most[name]) or 0) for name, amount in asked.items() if name in most)
    what = f"the quota {exceeded['name']} of its namespace allows {'; '.join(parts)}"
    return {"what": what, "again": "yes" if fits else ""}


def _amounts(text: str) -> dict[str, str]:
    """Read `pods=1,requests.memory=3Gi`."""
    pairs = (part.partition("=") for part in text.rstrip(".").split(","))
    return {name: value for name, equals, value in pairs if equals}


# --- admission

LIMITS = re.compile(  # one of what a LimitRange has against a pod
    r"(?P<end>maximum|minimum) (?P<resource>\S+) usage per (?P<of>\w+) is (?P<most>[^],. ]+)"
    r"(?:,\s+but (?:request|limit) is (?P<asked>[^],. ]+))?|"
    r"(?P<ratio>[\w./-]+) max limit to request ratio per (?P<_of>\w+) is (?P<times>[^,]+), but "
    r"(?:provided ratio is (?P<_asked>\d+(?:\.\d+)?)|no )"
)
RULES = (
    (
        re.compile(r'violates PodSecurity "(?P<level>[^"]+)": (?P<rest>.*)', re.DOTALL),
        "Pod Security {level} refuses its pod: {rest}",
    ),
    (
        re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request:? ?(?P<rest>.*)', re.DOTALL),
        "the admission webhook {name} refuses its pod: {rest}",
    ),
    (
        re.compile(r"ValidatingAdmissionPolicy '(?P<name>[^']+)'.*? denied request: (?P<rest>.*)", re.DOTALL),
        "the admission policy {name} refuses its pod: {rest}",
    ),
    (re.compile(r"is (?:forbidden|invalid): (?P<rest>.*)", re.DOTALL), "Kubernetes refuses its pod: {rest}"),
)


def admission(case: Case, found: Found) -> dict[str, str] | None:
    """Say which rule refuses a pod."""
    if limits := [_limit(each) for each in LIMITS.finditer(found.text)]:
        return {"what": f"the namespace's LimitRange allows {'; '.join(dict.fromkeys(limits))}"}
    for pattern, words in RULES:
        if rule := pattern.search(found.text):
            return {"what": words.format_map({name: clause(value) for name, value in rule.groupdict().items()})}
    return None


def _limit(found: re.Match[str]) -> str:
    """Say what a LimitRange allows, and what is asked for."""
    rule = {name.lstrip("_"): value for name, value in found.groupdict().items() if value}
    asked = rule.get("asked", "").removesuffix(".000000")
    asks = f"and it asks for {asked}" if asked else "and it names none"
    who = f"a {rule['of'].lower()}"
    if "ratio" in rule:
        return f"{who} a {rule['ratio']} limit of at most {rule['times']} times its request, {asks}"
    end = {"maximum": "at most", "minimum": "no less than"}[rule["end"]]
    return f"{who} {end} {rule['most']} of {rule['resource']}, {asks}"
