"""Whether a run that failed is to be started again: where the cluster ended it, and nothing that a person gave it.

For clusters whose Kubeflow Pipelines does not repeat a task that lost its pod. The training goes on from its last
checkpoint, since a run with the same data, configuration and code is the same training.
"""

from __future__ import annotations

from sightline.documents import SummaryDocument
from sightline.documents.cause import Cause, CauseKind

MOST = 20  # runs that one call may start after the first
LOST: tuple[CauseKind, ...] = ("evicted", "preempted", "node_lost", "deleted", "vanished")
# Training goes on after these: with fewer images per pass, and from its last checkpoint.
TRAINING_GOES_ON: tuple[CauseKind, ...] = ("memory", "shared_memory", "timeout")
OUTAGES = ("storage", "tracking", "cluster")  # kinds of errors of a stage that met a server that is away
OUR_FAULT = 1  # exit code; an outage's too: a server that answers that the request is wrong has 2


def reason(cause: Cause | None, summary: SummaryDocument | None) -> str:
    """Return why starting the run again helps, in a sentence; an empty text where it does not.

    `cause` is what the cluster said, `summary` what the run left.
    """
    if summary and (summary.status != "failed" or summary.rejected_by):
        return ""
    error = summary.error if summary else None
    if error and error.kind in OUTAGES and error.exit_code == OUR_FAULT:
        return error.message.splitlines()[0]
    if cause and (cause.kind in LOST or (cause.task == "train" and cause.kind in TRAINING_GOES_ON)):
        return cause.sentence
    return ""
