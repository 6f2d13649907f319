"""The cause of a run's end, or of its standstill, out of what was seen: one sentence, what shows it, what to do.

A stage's own error is the best cause. Without one, the pod that ended the run is looked up in the table: the first to
fail for good; while the run goes on, one that does not start, is being lost, or gives no sign.
"""

from __future__ import annotations

from datetime import datetime

from sightline.documents.cause import Cause, CauseKind
from sightline.runtime import workflow
from sightline.runtime.stage_frame import moment
from sightline.why import own
from sightline.why.case import Case, attempts_of
from sightline.why.naming import capital, evidence, fitting, made
from sightline.why.pods import from_kubernetes
from sightline.why.seen import Seen
from sightline.why.standstill import hindrance
from sightline.why.table import AGAIN, ROWS, Facts, Row
from sightline.why.words import duration

WEAK: tuple[CauseKind, ...] = ("unknown", "vanished")
LATE: tuple[CauseKind, ...] = ("timeout", "deadline", "terminated", "deleted")  # may hide what came before
ON_A_NODE: tuple[CauseKind, ...] = ("image", "missing", "runtime")  # keep a pod waiting that a node has taken


def cause(seen: Seen, earlier: Cause | None = None) -> Cause | None:
    """Return why a run ended, or what it waits for now; None where nothing went wrong or stands in the way.

    `earlier` is what was seen of the same run before: an end often overwrites what led to it, and evidence expires.
    """
    if found := own.of_documents(seen):
        same = earlier and (earlier.kind, earlier.sentence) == (found.kind, found.sentence)
        return earlier if same else found
    return None if own.is_good(seen) else _of_pods(seen, earlier)


def hindrances(seen: Seen) -> list[Cause]:
    """Return what each pod of a run that goes on waits for, or is in trouble by."""
    return list(filter(None, (hindrance(seen, pod) for pod in _last(seen))))


def better(old: Cause | None, new: Cause | None) -> Cause | None:
    """Return the cause that says more of one end. Of equal ones the older, which saw more: evidence expires."""
    if old is None or new is None:
        return old or new
    return new if _rank(new) > _rank(old) else old


def _rank(cause: Cause) -> int:
    return 0 if cause.kind in WEAK else 1 if cause.kind in LATE else 2


def _last(seen: Seen) -> list[workflow.Pod]:
    """Return the newest pod of each task and each driver, in every round of a loop."""
    pods = workflow.pods(seen.workflow) if seen.workflow else from_kubernetes(seen)
    return list({pod.path: pod for pod in pods}.values())


def _of_pods(seen: Seen, earlier: Cause | None) -> Cause | None:
    if not seen.over and any(pod.state in ("waiting", "running") for pod in _last(seen)):
        found = next(iter(hindrances(seen)), None)
        if found or not any(task.state == "failed" for task in workflow.tasks(seen.workflow)):
            return found
    kept = earlier if earlier and earlier.ended and _same_end(seen, earlier) else None
    found = _of_end(seen, None if earlier and earlier.ended else earlier)
    return better(kept, found) if found else None


def _same_end(seen: Seen, earlier: Cause) -> bool:
    """Tell whether nothing of the run has begun since a cause was seen: "Retry" makes another end."""
    if earlier.task in seen.ended:
        return False
    seen_at = datetime.fromisoformat(earlier.seen_at)
    return not any(pod.started and pod.started > seen_at for pod in _last(seen) if pod.task != workflow.EXIT)


# --- a run that has ended


def _of_end(seen: Seen, earlier: Cause | None) -> Cause | None:
    """Return why it ended; None where nothing failed."""
    last = _last(seen)
    stages = [pod for pod in last if pod.task != workflow.EXIT]
    failed = next((pod for pod in stages if pod.state == "failed"), None)
    culprit = failed or next((pod for pod in stages if pod.state == "waiting" and pod.message), None)
    if culprit is None:
        culprit = next((pod for pod in last if pod.task == workflow.EXIT and pod.state != "done"), None)
        if culprit and culprit.state != "failed":
            return hindrance(seen, culprit)
    if culprit is None:
        return _without_a_pod(seen)
    case = Case(seen, culprit, attempts_of(seen, culprit))
    if culprit.message.startswith(workflow.STOPPED) or "with strategy" in culprit.message:
        return _stopped(case, earlier)
    row, facts, line = fitting(case, ROWS)
    if row.kind in ("deleted", "vanished") and workflow.deadline(seen.workflow) == 0:
        return _stopped(case, earlier)  # whose pod had ended before Argo noted that
    return _too_late(case, earlier) or made(case, row, facts | _could_not_start(row, facts), line)


def _could_not_start(row: Row, facts: Facts) -> Facts:
    return {"says": f"could not start: {row.says.format_map(facts)}"} if row.waits else {}


def _too_late(case: Case, earlier: Cause | None) -> Cause | None:
    """Return what a task waited for until its time limit ended it; None for one that began, or ended otherwise."""
    row, facts, _ = fitting(case, [row for row in ROWS if row.kind == "timeout"])
    inner = _while_waiting(case, earlier) if row.kind == "timeout" else None
    if inner is None:
        return None
    sentence = f"{capital(case.who)} never started, and its time limit{facts['limit']} ended it: {_what(inner)}."
    return inner.model_copy(update={"sentence": sentence, "ended": True, "evidence": evidence(case, inner)})


def _without_a_pod(seen: Seen) -> Cause | None:
    """Return a cause for a run of which no pod says anything."""
    if not seen.workflow:
        return own.of_what_is_lost(seen)
    status = seen.workflow.get("status") or {}
    if status.get("phase") not in ("Failed", "Error"):
        return own.of_what_is_lost(seen)
    ended = workflow.deadline(seen.workflow)
    message = str(status.get("message") or "")
    kind: CauseKind = "unknown"
    if ended is not None and (ended == 0 or "deadline" in message.lower()):
        kind = "deadline" if ended else "terminated"
    if kind == "unknown" and (lost := own.of_what_is_lost(seen)):
        return lost
    says = {
        "terminated": "The run was terminated by a person before anything of it had started",
        "deadline": f"The run's deadline of {duration(ended or 0)} passed before anything of it had started",
        "unknown": "The run ended as failed, and no task of it did",
    }[kind]
    return Cause(
        kind=kind,
        task=None,
        sentence=f"{says}.",
        evidence=[f"workflow: {message}"] if message else [],
        do=AGAIN,
        again=kind == "terminated",
        seen_at=moment(seen.at.timestamp()),
    )


def _stopped(case: Case, earlier: Cause | None) -> Cause:
    """Say who ended a run, and what the task was at."""
    limit = workflow.deadline(case.seen.workflow)
    by_hand = not limit
    inner = _while_waiting(case, earlier)
    if inner:
        at = f"{case.who} was waiting: {_what(inner)}"
    elif case.pod.driver:
        at = f"{case.pod.task} was being prepared"
    elif case.started or case.placed:
        at = f"{case.who} was at work"
    else:
        at = f"{case.who} was waiting for a node"
    who = "The run was terminated by a person" if by_hand else f"The run's deadline of {duration(limit or 0)} passed"
    longer = "Give the run more time, by DEADLINE of `make compile`; a new one goes on from the last checkpoint."
    do = f"{inner.do} Then start it again." if inner else AGAIN if by_hand else longer
    return Cause(
        kind="terminated" if by_hand else inner.kind if inner else "deadline",
        task=case.pod.task,
        sentence=f"{who} while {at}.",
        evidence=evidence(case, inner),
        do=do,
        again=by_hand and inner is None,
        seen_at=moment(case.seen.at.timestamp()),
    )


def _while_waiting(case: Case, earlier: Cause | None) -> Cause | None:
    """Return what kept a task from starting before its end overwrote that."""
    if case.started:
        return None
    who = capital(case.who)
    row, facts, line = fitting(case, [row for row in ROWS if row.waits])
    if row.waits:
        return made(case, row, facts | {"says": f"is waiting: {row.says.format_map(facts)}"}, line)
    if earlier is None or earlier.ended or not earlier.sentence.startswith((f"{who} is waiting: ", f"{who} has been ")):
        return None
    return None if case.placed and earlier.kind not in ON_A_NODE else earlier


def _what(inner: Cause) -> str:
    """Return what stands in the way, out of `train is waiting: …`."""
    return inner.sentence.partition("is waiting: ")[2].rstrip(".") or inner.sentence.rstrip(".")
