"""What the stages of a run say themselves about its end: their errors, the summary, or that they left nothing."""

from __future__ import annotations

from sightline.documents import Ending, ErrorReport
from sightline.documents.cause import Cause, CauseKind
from sightline.runtime import workflow
from sightline.runtime.stage_frame import moment
from sightline.why.seen import DERIVED, Seen
from sightline.why.words import headline

GOOD = ("registered", "accepted", "unchanged")
OF_ATTEMPTS: dict[Ending, CauseKind] = {
    "host_memory": "memory",
    "shared_memory": "shared_memory",
    "disk_full": "disk",
}
CORRECT = "Correct what the message names, and start a new run."
DO = {
    "data-rejected": "Correct the labels that the page of validate names, or write a repaired copy by `sightline "
    "validate --fix`.",
    "configuration": CORRECT,
    "data": CORRECT,
    "weights": CORRECT,
    "nodes": "Make room for all nodes of the training, and start a new run, which goes on from the last checkpoint; or "
    "set train_nodes lower.",
    "internal": "This is a fault of the program or of its surroundings; the log of the task has the traceback.",
}
WAIT_OUT = "This is an outage: run again once what it names answers."
GO_ON = "Do what the message says, and start a new run; it goes on from the last checkpoint."


def is_good(seen: Seen) -> bool:
    """Tell whether the run ended well, as its summary says and no stage disputes."""
    repeated = bool(seen.workflow) and not workflow.over(seen.workflow)
    return bool(seen.summary and seen.summary.status in GOOD and not seen.errors) and not repeated


def of_documents(seen: Seen) -> Cause | None:
    """Return the cause that the stages themselves name; None where they do not."""
    summary = seen.summary
    if error := seen.error or _kept_error(seen):
        return _of_error(seen, error)
    if summary and summary.status == "rejected" and summary.rejected_by == "score" and summary.evaluate:
        reasons = "; ".join(summary.evaluate.reasons).rstrip(".")
        return _made(
            seen,
            "rejected",
            "evaluate",
            f"The score gate turned the model down: {reasons}.",
            list(summary.evaluate.reasons),
            "Nothing is broken: look at the page, and at the data and settings behind the score.",
        )
    return None


def _kept_error(seen: Seen) -> ErrorReport | None:
    """Return the error of the summary, where the stage itself left none: what the run's end was found to be."""
    error = seen.summary.error if seen.summary else None
    if error is None or seen.errors or error.stage in seen.ended or not seen.over or error.kind in DERIVED:
        return None
    return error


def of_what_is_lost(seen: Seen) -> Cause | None:
    """Return the cause that was kept while there was evidence, or that there is none; None if nothing went wrong."""
    kept = seen.summary.cause if seen.summary else None
    if kept and kept.task not in seen.ended:
        return kept
    error = next(iter(seen.errors.values()), None) or (seen.summary.error if seen.summary else None)
    if error is None:
        return None
    if not seen.answered:
        return _made(
            seen,
            "unknown",
            error.stage,
            f"{error.stage} ended without a result; neither Kubeflow Pipelines nor Kubernetes could be asked why.",
            [*seen.unasked],
            f"Ask from where KFP_ENDPOINT or a kubeconfig reaches the cluster: sightline why {seen.run_id}",
        )
    return _made(
        seen,
        "vanished",
        error.stage,
        f"{error.stage} ended without a result, and nothing is left that says why: Kubernetes forgets a run's pods and "
        "events soon after its end.",
        [f"store: {' '.join(error.message.split())}"],
        "Start the run again; where it ends the same way, ask within an hour.",
        again=True,
    )


def _of_error(seen: Seen, error: ErrorReport) -> Cause:
    lines = error.message.splitlines()
    kind: CauseKind = "stage"
    if error.kind == "data-rejected":
        kind = "rejected"
    elif error.stage == "train" and seen.training and (last := seen.training.last):
        kind = OF_ATTEMPTS.get(last.ending, "stage")
    who = "The data gate refused the data" if kind == "rejected" else f"{error.stage} failed"
    evidence = [line.strip().removeprefix("- ") for line in lines[1:]]
    if error.stage == "train" and seen.training:
        evidence += [f"attempt {each.number} of the training ended as {each.ending}" for each in seen.training.attempts]
    return _made(
        seen,
        kind,
        error.stage,
        f"{who}: {headline(lines)}.",
        evidence,
        WAIT_OUT if error.outage else DO.get(error.kind, GO_ON if error.stage == "train" else CORRECT),
        again=error.outage,
    )


def _made(
    seen: Seen, kind: CauseKind, task: str, sentence: str, evidence: list[str], do: str, *, again: bool = False
) -> Cause:
    return Cause(
        kind=kind,
        task=task,
        sentence=sentence,
        evidence=evidence,
        do=do,
        again=again,
        seen_at=moment(seen.at.timestamp()),
    )
