"""What a run on a cluster took, task by task, along its time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sightline.documents.cost import Cost, PodCost, TaskCost
from sightline.pages.formatting import counted, hours, whole_seconds


class Lane(NamedTuple):
    """A pod along the whole run: where it begins, how long it waited for a node and how long it was on one; percent."""

    left: float
    waited: float
    rest: float
    known: bool  # whether it waited; else that is part of the rest


class Row(NamedTuple):
    """A task, its pods along the run, and its times in words."""

    task: TaskCost
    lanes: list[Lane]
    took: str
    waited: str
    gpu_time: str


class Table(NamedTuple):
    """All tasks, their sums, and a sentence about the whole."""

    sentence: str
    rows: list[Row]
    waited: str
    gpu_time: str
    unknown: bool  # whether of some pods nothing says how long they waited


def table(cost: Cost) -> Table:
    """Lay out what a run took."""
    pods = [pod for task in cost.tasks for pod in task.pods]
    rows = [
        Row(
            task,
            list(_lanes(task, cost)),
            _time(task.seconds) if task.pods else "from the cache",
            _waited(task.pods),
            _time(task.gpu_seconds) if task.gpus else "–",
        )
        for task in cost.tasks
    ]
    gpus = any(task.gpus for task in cost.tasks)
    gpu_time = _time(cost.gpu_seconds) if gpus else "–"
    return Table(_sentence(cost), rows, _waited(pods), gpu_time, cost.unknown_waiting > 0)


def _sentence(cost: Cost) -> str:
    pods = [pod for task in cost.tasks for pod in task.pods]
    took = f"It took {_time(cost.seconds)}" if cost.seconds is not None else "How long it took is not known"
    if not pods:
        waited = "no task needed a pod"
    elif cost.waiting_seconds is None:
        waited = f"how long its {counted(len(pods), 'pod')} waited for nodes is not known"
    else:
        waited = f"its {counted(len(pods), 'pod')} waited {_waited(pods)} for nodes"
    if not any(task.gpus for task in cost.tasks):
        asked = "no GPU was asked for"
    elif cost.gpu_hours is None:
        asked = "how many GPU hours were asked for is not known"
    else:
        asked = f"{hours(cost.gpu_hours)} GPU hours were asked for"
    return f"{took}; {waited}, and {asked}."


def _waited(pods: list[PodCost]) -> str:
    """Say for how long pods waited, as far as it is known."""
    known = [pod.waiting_seconds for pod in pods if pod.waiting_seconds is not None]
    if not pods:
        return "–"
    if not known:
        return "not known"
    return f"{'' if len(known) == len(pods) else 'at least '}{_time(sum(known))}"


def _lanes(task: TaskCost, cost: Cost) -> Iterator[Lane]:
    if not cost.started_at or not cost.seconds:
        return
    for pod in task.pods:
        if pod.started_at and pod.seconds is not None:
            before = datetime.fromisoformat(pod.started_at) - datetime.fromisoformat(cost.started_at)
            waited = pod.waiting_seconds or 0.0
            left, waited, rest = (
                round(100 * each / cost.seconds, 2) for each in (before.total_seconds(), waited, pod.seconds - waited)
            )
            yield Lane(left, waited, rest, pod.waiting_seconds is not None)


def _time(seconds: float | None) -> str:
    return "not known" if seconds is None else whole_seconds(seconds)
