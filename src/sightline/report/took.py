"""What a run on a cluster took: the times of its pods by Argo's workflow, and when nodes took them by the pods.

Times are whole seconds, as Argo and Kubernetes keep them. Pods are gone some time after the run; the workflow then
still says how long they lasted, and not how long they waited. Where a pod vanishes before Argo has seen it run, Argo
makes another one of its name: the two count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sightline import cluster, why
from sightline.cluster import Kubernetes, NotThere
from sightline.config.cluster_names import GPU, KFP_RUN, MAIN
from sightline.documents import ValidateDocument
from sightline.documents.cost import Cost, PodCost, TaskCost
from sightline.documents.stage_record import Records
from sightline.errors import ClusterError, SightlineError
from sightline.runtime import progress, workflow
from sightline.why import kfp

TRAIN = "train"  # the task of which the other nodes are no pods of the workflow


def by_now(run_id: str, left: Records, seen: why.Seen | None = None) -> Cost | None:
    """Return what a run took, as far as its workflow and its pods still say so; None without a workflow.

    `left` is what its stages left; `seen` what was seen of it already, which is not asked for again. Does not raise:
    what cannot be asked is a notice.
    """
    found = seen.workflow if seen else {}
    if not found and not (seen and seen.unasked):
        found = _workflow(run_id)
    pods = _pods(found, run_id, seen.pods if seen else {}) if found else {}
    validated = left["validate"].documents.get(ValidateDocument.file_name()) if "validate" in left else None
    nodes = ValidateDocument.model_validate(validated).config.train.nodes if validated else 1
    return of(found, pods, nodes=nodes)


def of(seen: Mapping[str, Any], pods: Mapping[str, Mapping[str, Any]], *, nodes: int = 1) -> Cost | None:
    """Return what a run took by its Argo workflow; None for one without tasks.

    conclude is left out: it is not over when it writes this.

    `pods` are those that are still known, as Kubernetes' objects by name. `nodes` is how many train together.
    """
    tasks = [task for task in workflow.tasks(seen) if task.name != workflow.EXIT]
    if not tasks:
        return None
    costs = [
        _task(task.name, [_pod(pod, pods.get(pod.name), nodes if task.name == TRAIN else 1) for pod in task.pods])
        for task in tasks
    ]
    started = workflow.began(seen)
    ends = [pod.finished for task in tasks for pod in task.pods if pod.finished]
    return _whole(costs, _text(started) if started else None, _text(max(ends)) if ends else None)


def joined(earlier: Cost | None, now: Cost | None) -> Cost | None:
    """Return what is known by an earlier look and by one now: pods are forgotten, and "Retry" starts some again."""
    if earlier is None or now is None:
        return now or earlier
    names = dict.fromkeys(task.name for task in (*earlier.tasks, *now.tasks))
    before, after = ({task.name: task.pods for task in cost.tasks} for cost in (earlier, now))
    tasks = [_task(name, _known_best([*before.get(name, []), *after.get(name, [])])) for name in names]
    starts = [cost.started_at for cost in (earlier, now) if cost.started_at]
    ends = [cost.finished_at for cost in (earlier, now) if cost.finished_at]
    return _whole(tasks, min(starts, default=None), max(ends, default=None))


def _workflow(run_id: str) -> dict[str, Any]:
    try:
        server = kfp.from_environment()
        return server.workflow(run_id) if server else {}
    except SightlineError as problem:
        progress.notice(f"what the run took is not known: {problem}")
        return {}


def _pods(found: Mapping[str, Any], run_id: str, known: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pods of the tasks that Kubernetes still has, by name."""
    there = dict(known)
    try:
        kubernetes = cluster.reach(workflow.namespace(found) or None, wait=why.WAIT)
        for pod in (pod for task in workflow.tasks(found) for pod in task.pods if task.name != workflow.EXIT):
            if kubernetes and pod.name not in there and (one := _get(kubernetes, pod.name)):
                there[pod.name] = one
    except ClusterError as problem:
        progress.notice(f"how long pods waited for a node is not known: {problem}")
    ours = {KFP_RUN: run_id}  # and not of another cluster, which the kubeconfig names
    return {name: pod for name, pod in there.items() if ours.items() <= pod["metadata"].get("labels", {}).items()}


def _get(kubernetes: Kubernetes, name: str) -> dict[str, Any] | None:
    try:
        return kubernetes.get(kubernetes.path("pods", name))
    except NotThere:
        return None


def _pod(pod: workflow.Pod, there: Mapping[str, Any] | None, nodes: int) -> PodCost:
    asked = _gpus(pod.spec)
    seconds = (pod.finished - pod.started).total_seconds() if pod.finished and pod.started else None
    waited = _waited(pod, there, seconds)
    held = seconds
    if seconds is not None and waited is not None:
        held = seconds - waited
    elif asked and GPU in pod.used:
        held = pod.used[GPU] / asked
    return PodCost(
        name=pod.name,
        started_at=_text(pod.started) if pod.started else None,
        seconds=seconds,
        waiting_seconds=waited,
        held_seconds=held,
        gpus=asked * nodes,
    )


def _gpus(spec: Mapping[str, Any]) -> int:
    """Return the GPUs that the container of a task asks for, by what KFP's driver makes of its pod."""
    main: Mapping[str, Any] = next((each for each in spec.get("containers") or [] if each.get("name") == MAIN), {})
    return int(((main.get("resources") or {}).get("limits") or {}).get(GPU, 0))


def _waited(pod: workflow.Pod, there: Mapping[str, Any] | None, seconds: float | None) -> float | None:
    """Return for how long no node had taken a pod; None if nothing says so."""
    if pod.state in ("waiting", "failed") and not pod.node:  # ended before a node took it, or was never made
        return seconds
    conditions = ((there or {}).get("status") or {}).get("conditions") or []
    taken: Mapping[str, Any] = next((each for each in conditions if each.get("type") == "PodScheduled"), {})
    if pod.started is None or taken.get("status") != "True":
        return None
    moment = datetime.fromisoformat(taken["lastTransitionTime"])
    if pod.finished and moment > pod.finished:  # another pod of the same name, after "Retry"
        return None
    return max(0.0, (moment - pod.started).total_seconds())


def _known_best(known: Iterable[PodCost]) -> list[PodCost]:
    """Return each pod once, with all that is known of it; after "Retry" another one has the same name."""
    best: dict[tuple[str, str | None], PodCost] = {}
    for pod in known:
        before = best.get((pod.name, pod.started_at))
        best[pod.name, pod.started_at] = _both(before, pod) if before else pod
    return sorted(best.values(), key=lambda pod: pod.started_at or "")


def _both(before: PodCost, now: PodCost) -> PodCost:
    """Return a pod as it is seen now, with the waiting that was known before."""
    if now.seconds is None:
        return before
    if now.waiting_seconds is not None or before.waiting_seconds is None:
        return now
    waited = before.waiting_seconds
    return now.model_copy(update={"waiting_seconds": waited, "held_seconds": now.seconds - waited})


def _task(name: str, attempts: list[PodCost]) -> TaskCost:
    last = attempts[-1] if attempts else None
    first = attempts[0].started_at if attempts else None
    seconds = None
    if last and last.seconds is not None and first and last.started_at:
        between = datetime.fromisoformat(last.started_at) - datetime.fromisoformat(first)
        seconds = between.total_seconds() + last.seconds
    return TaskCost(
        name=name,
        attempts=len(attempts),
        seconds=seconds,
        waiting_seconds=_sum(pod.waiting_seconds for pod in attempts),
        gpus=max((pod.gpus for pod in attempts), default=0),
        gpu_seconds=_sum(None if pod.held_seconds is None else pod.gpus * pod.held_seconds for pod in attempts),
        pods=attempts,
    )


def _whole(tasks: list[TaskCost], started: str | None, finished: str | None) -> Cost:
    seconds = None
    if started and finished:
        seconds = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    return Cost(
        tasks=tasks,
        started_at=started,
        finished_at=finished,
        seconds=seconds,
        waiting_seconds=_sum(task.waiting_seconds for task in tasks),
        gpu_seconds=_sum(task.gpu_seconds for task in tasks),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """Add up what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
