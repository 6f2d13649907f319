"""What ended a pod that ran: memory, disk, an eviction, its node, a time limit, KFP's driver, its own error."""

from __future__ import annotations

import re

from sightline.config.cluster_names import MAIN
from sightline.why.case import Case, Found
from sightline.why.words import TABLE, clause, doubled, duration, headline

AWAY = re.compile(
    r"connection refused|i/o timeout|no such host|no route to host|[Uu]navailable|deadline exceeded|connection reset"
)


def memory(case: Case, found: Found) -> dict[str, str] | None:
    """Say which container's limit stood, what was used at most, and what to set."""
    container = found.groups["container"]
    limit = case.limit("memory", container)
    what = (
        f"its container {container} was killed at its memory limit of {limit}"
        if limit
        else (f"its container {container} was killed at its memory limit")
    )
    sign = case.seen.training.sign if case.training and case.seen.training else None
    if sign and sign.memory and container == MAIN:
        what += f" ({sign.memory} used at most, at the last sign of {sign.at:%H:%M:%S} UTC)"
    more = limit and doubled(limit)
    change = f" to {more} (it was {limit})" if more else ""
    if container != MAIN:
        do = f"Raise the default limit{change} that the namespace's LimitRange gives to containers which ask for none."
    elif case.training:
        do = f"Set train_memory in the form{change}, or make train_batch smaller."
    else:
        do = f"Set the memory of {case.pod.task}{change} in {TABLE}, and compile."
    return {"what": what, "do": do}


def probable_memory(case: Case, found: Found) -> dict[str, str] | None:
    """Say that memory had run out by the last sign of a training, where nothing else says why its pod ended."""
    sign = case.seen.training.sign if case.training and case.seen.training else None
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
    return {"what": what, "do": f"Give it more, by {larger}, or set train.workers lower in overrides."}


def disk(case: Case, found: Found) -> dict[str, str] | None:
    """Say which volume or limit was full, and what makes it larger."""
    volume, limit = found.groups.get("volume"), found.groups.get("limit")
    of = f" of {limit}" if limit else ""
    what = f"its volume {volume} went over its limit{of}" if volume else f"it went over its disk limit{of}"
    more = limit and doubled(limit)
    change = f" to {more} (it was {limit})" if more else ""
    if volume:
        do = f"Set the disk of {case.pod.task}{change} in {TABLE}, and compile; or keep fetched data on a claim, by "
        return {"what": what, "do": f"{do}CACHE_CLAIM of `make compile`."}
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


def time_limit(case: Case, found: Found) -> dict[str, str] | None:
    """Say how long an attempt may take."""
    limit = f" of {duration(case.timeout)}" if case.timeout else ""
    if case.training:
        do = "Give it more, by TRAIN_TIMEOUT of `make compile`; a new run goes on from the last checkpoint."
    else:
        do = f"See in its log what takes so long; its time limit stands in {TABLE}."
    return {"limit": limit, "do": do}


def driver(case: Case, found: Found) -> dict[str, str] | None:
    """Give the words of KFP's driver."""
    if not case.pod.driver or re.search(r"pod deleted|exit code 143", case.pod.message):
        return None
    said = next((line.text for line in case.lines if line.source == "driver"), "")
    _, failed, rest = said.rpartition(" failed: ")
    words = clause(rest if failed else said) or clause(found.text)
    again = bool(AWAY.search(said))
    do = (
        "A service of Kubeflow Pipelines did not answer it: run again once that is up."
        if again
        else "The pipeline as it was compiled, or Kubeflow Pipelines itself, is at fault: compile and submit it again, "
        "and give its administrators these words."
    )
    return {"words": words, "again": "yes" if again else "", "do": do}


def own_error(case: Case, found: Found) -> dict[str, str] | None:
    """Give the error that a task printed, where it could leave none in the store."""
    return {"words": headline([line.text for line in case.lines if line.source == "log"])}


def killed(case: Case, found: Found) -> dict[str, str] | None:
    """Give the exit code."""
    return {"words": clause(found.text)}
