"""What a run that goes on waits for: a pod that does not start, one that is being lost, one that gives no sign."""

from __future__ import annotations

from datetime import timedelta

from sightline.documents.cause import Cause, CauseKind
from sightline.runtime import workflow
from sightline.why.case import Case, attempts_of
from sightline.why.naming import capital, evidence, fitting, made, of
from sightline.why.seen import Seen
from sightline.why.table import ROWS
from sightline.why.words import duration

PATIENCE = timedelta(minutes=2)  # for a pod that does not start, and of which nothing says why
SILENCE = timedelta(minutes=10)  # without a sign from a task that runs
HANGS = (
    "See whether the node answers again. If not, nothing is repeated before its pod is gone, and that goes with its "
    "Node object, which an administrator removes: kubectl delete node."
)
REPEATED = "Wait: it gets a new pod where Kubeflow Pipelines repeats it, else the run ends in a moment."
LOSING: tuple[CauseKind, ...] = ("preempted", "node_lost", "deleted", "evicted")


def hindrance(seen: Seen, pod: workflow.Pod) -> Cause | None:
    """Return what a pod waits for, or that it is being lost or silent; None for one that is on its way or at work."""
    case = Case(seen, pod, attempts_of(seen, pod))
    if pod.state == "waiting" and not case.started:
        row, facts, line = fitting(case, [row for row in ROWS if row.waits])
        if row.waits:
            waits = made(case, row, facts | {"says": f"is waiting: {row.says.format_map(facts)}"}, line)
            return waits.model_copy(update={"ended": False, "again": False})
        return _unexplained(case)
    if pod.state != "running":
        return None
    row, facts, line = fitting(case, [row for row in ROWS if row.kind in LOSING])
    if row.kind in LOSING:
        losing = made(case, row._replace(do=HANGS if row.kind == "node_lost" else REPEATED, again=False), facts, line)
        return losing.model_copy(update={"ended": False})
    return _silent(case)


def _unexplained(case: Case) -> Cause | None:
    waited = case.seen.at - case.since if case.since else timedelta()
    if waited < PATIENCE:
        return None
    stage = "for its image and volumes" if case.placed else "for a node"
    return of(
        case,
        kind="unknown",
        sentence=f"{capital(case.who)} has been waiting {stage} for {duration(waited.total_seconds())}, and nothing "
        "says why.",
        evidence=evidence(case, None),
        do=f"Its events may say it: kubectl describe pod {case.pod.name}.",
        ended=False,
    )


def _silent(case: Case) -> Cause | None:
    """Return that a task gives no sign; None for one that does, or of which no signs can be seen."""
    sign = case.sign
    last = sign.at if sign else case.seen.signs.get(case.pod.name)
    if last is None or case.seen.at - last < SILENCE:
        return None
    for_long = duration((case.seen.at - last).total_seconds())
    limit = f" Its time limit of {duration(case.timeout)} ends it." if case.timeout else ""
    return of(
        case,
        kind="silent",
        sentence=f"{capital(case.who)} runs, and has given no sign for {for_long}.",
        evidence=[*evidence(case, None), *([] if sign else [f"log: last line at {last:%Y-%m-%d %H:%M:%S} UTC"])],
        do=f'Look at its log; if it stands still, choose "Terminate" and start the run again.{limit}',
        ended=False,
    )
