"""What ended a pod that ran: memory, disk, an eviction, its node, a time limit, KFP's driver, its own error."""

from __future__ import annotations

import re

from sightline.cluster.taints import tolerated
from sightline.config.cluster_names import MAIN
from sightline.why.case import Case, Found
from sightline.why.words import clause, doubled, duration, headline, joined

AWAY = re.compile(
    r"connection refused|i/o timeout|no such host|no route to host|[Uu]navailable|[Dd]eadline ?[Ee]xceeded|"
    r"connection reset"
)
OF_PROCESS = re.compile(r"exit status \d+|signal: ")  # the launcher's words where what it started failed
BY_OTHERS = re.compile(r"pod deleted|exit code (?:137|143)")
OF_NODES = "node.kubernetes.io/"  # in front of the taints that Kubernetes sets itself


def memory(case: Case, found: Found) -> dict[str, str] | None:
    """Say which container's limit stood, what was used at most, and what to set."""
    container = found.groups["container"]
    limit = case.limit("memory", container)
    what = (
        f"its container {container} was killed at its memory limit of {limit}"
        if limit
        else (f"its container {container} was killed at its memory limit")
    )
    sign = case.sign
    if sign and sign.memory and container == MAIN:
        what += f" ({sign.memory} used at most, at the last sign of {sign.at:%H:%M:%S} UTC)"
    more = limit and doubled(limit)
    change = f" to {more} (it was {limit})" if more else ""
    if container != MAIN:
        do = f"Raise the default limit{change} that the namespace's LimitRange gives to containers which ask for none."
    elif case.training:
        do = f"Set train_memory in the form{change}, or make train_batch smaller."
    else:
        do = f"Set the memory of {case.pod.task}{change} in {case.table}, and compile."
    return {"what": what, "do": do}


def probable_memory(case: Case, found: Found) -> dict[str, str] | None:
    """Say that memory had run out by the last sign of a training, where nothing else says why its pod ended."""
    sign = case.sign
    if sign is None or not sign.pulse.full:
        return None
    limit = case.limit("memory")
    more = limit and doubled(limit)
    change = f" to {more} (it was {limit})" if more else ""
    what = f"{sign.memory} of its memory limit were in use when it gave its last sign, at {sign.at:%H:%M:%S} UTC"
    return {"what": what, "do": f"Set train_memory in the form{change}, or make train_batch smaller."}


def shared_memory(case: Case, found: Found) -> dict[str, str] | None:
    """Say how large /dev/shm was, and what makes it larger."""
    size = case.volume_limit("shm")
    what = f"/dev/shm, of {size}, was full" if size else "/dev/shm was full"
    more = size and doubled(size)
    larger = f"SHM={more} of `make compile` (it was {size})" if more else "SHM of `make compile`"
    if not case.ours:
        return {"what": what, "do": f"Mount a larger emptyDir at /dev/shm, with medium Memory, in {case.table}."}
    return {"what": what, "do": f"Give it more, by {larger}, or set train.workers lower in overrides."}


def disk(case: Case, found: Found) -> dict[str, str] | None:
    """Say which volume or limit was full, and what makes it larger."""
    volume, limit = found.groups.get("volume"), found.groups.get("limit")
    of = f" of {limit}" if limit else ""
    what = f"its volume {volume} went over its limit{of}" if volume else f"it went over its disk limit{of}"
    more = limit and doubled(limit)
    change = f" to {more} (it was {limit})" if more else ""
    if volume:
        claim = "; or keep fetched data on a claim, by CACHE_CLAIM of `make compile`" if case.ours else ""
        return {"what": what, "do": f"Set the disk of {case.pod.task}{change} in {case.table}, and compile{claim}."}
    return {"what": what, "do": f"Raise the limit on ephemeral-storage{change}, which the namespace's LimitRange sets."}


def evicted(case: Case, found: Found) -> dict[str, str] | None:
    """Say of which resource the node had too little, and what the task used of it."""
    text = found.text
    node = case.pod.node or case.spec.get("nodeName")
    what = f"{f'the node {node}' if node else 'its node'} ran low on {found.groups['resource']}"
    if short := re.search(r"Threshold quantity: (\S+), available: (\S+?)\. ", text + " "):
        what += f" ({short[2]} left, {short[1]} are its threshold)"
    if used := re.search(r"Container (\S+) was using (\S+), request is ([^,]+),", text):
        what += f"; its container {used[1]} used {used[2]}, of {used[3]} that it had asked for"
    return {"what": what}


def place(case: Case, found: Found) -> dict[str, str] | None:
    """Name the node."""
    node = case.pod.node or case.spec.get("nodeName")
    return {"node": f"the node {node}" if node else "its node", "words": clause(found.text)}


def lost(case: Case, found: Found) -> dict[str, str] | None:
    """Name the node; one that is not ready now may have been so when an earlier pod on it ended."""
    return place(case, found) if case.pod.state == "running" or "is not ready since" not in found.text else None


def tainted(case: Case, found: Found) -> dict[str, str] | None:
    """Name the taint of a node that answers: somebody set it."""
    bears = [each for each in case.spec.get("tolerations") or [] if each.get("tolerationSeconds") is None]
    taints = [each for each in (case.node.get("spec") or {}).get("taints") or [] if each.get("effect") == "NoExecute"]
    names = [
        "=".join(filter(None, (taint["key"], taint.get("value"))))
        for taint in taints
        if not taint["key"].startswith(OF_NODES) and not tolerated(taint, bears)
    ]
    where = place(case, found)
    return where | {"taint": joined(names)} if where and names and case.ready else None


def rights(case: Case, found: Found) -> dict[str, str] | None:
    """Name the account, and what it may not do."""
    user = found.groups["user"].removeprefix("system:serviceaccount:").replace(":", "/")
    return {"what": f"the account {user} may not {found.groups['verb']} {found.groups['resource']}"}


def time_limit(case: Case, found: Found) -> dict[str, str] | None:
    """Say how long an attempt may take."""
    limit = f" of {duration(case.timeout)}" if case.timeout else ""
    if case.training:
        do = "Give it more, by TRAIN_TIMEOUT of `make compile`; a new run goes on from the last checkpoint."
    else:
        do = f"See in its log what takes so long; its time limit stands in {case.table}."
    return {"limit": limit, "do": do}


def driver(case: Case, found: Found) -> dict[str, str] | None:
    """Give the words of KFP's driver."""
    if not case.pod.driver or BY_OTHERS.search(case.pod.message):
        return None
    said = next((line.text for line in case.lines if line.source == "driver"), "")
    _, failed, rest = said.rpartition(" failed: ")
    words = clause(rest if failed else said) or clause(found.text)
    do = "The pipeline as it was compiled, or Kubeflow Pipelines itself, is at fault: compile and submit it again, and "
    return {"words": words} | _of_kfp(said, f"{do}give its administrators these words.")


def launcher(case: Case, found: Found) -> dict[str, str] | None:
    """Give the words of KFP's launcher, where it failed and not what it started."""
    if OF_PROCESS.search(found.text) or BY_OTHERS.search(case.pod.message):
        return None
    words = clause(found.text.removeprefix("failed to execute component: "))
    do = "It fetches what a task takes, and uploads what it gives: show Kubeflow Pipelines' administrators these words."
    return {"words": words} | _of_kfp(found.text, do)


def _of_kfp(said: str, do: str) -> dict[str, str]:
    """Say what to do about an end that one of KFP's programs made: an outage passes by itself."""
    if AWAY.search(said):
        return {"again": "yes", "do": "A service of Kubeflow Pipelines did not answer it: run again once that is up."}
    return {"again": "", "do": do}


def own_error(case: Case, found: Found) -> dict[str, str] | None:
    """Give the error that a task printed, where it could leave none in the store."""
    return {"words": headline([line.text for line in case.lines if line.source == "log"])}


def killed(case: Case, found: Found) -> dict[str, str] | None:
    """Give the exit code."""
    return {"words": clause(found.text)}
