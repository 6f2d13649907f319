"""Starts a run again that failed because the cluster ended it, and not by anything that a person gave it.

For clusters whose Kubeflow Pipelines does not repeat a task that lost its pod. The training goes on from its last
checkpoint, since a run with the same data, configuration and code is the same training.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.documents import SummaryDocument
from sightline.documents.cause import Cause, CauseKind
from sightline.orchestrate import submit
from sightline.orchestrate.follow import Ended
from sightline.orchestrate.kfp_api import Server
from sightline.orchestrate.versions import Uploaded

# Training goes on after these: with fewer images per pass, and from its last checkpoint.
TRAINING_GOES_ON: tuple[CauseKind, ...] = ("memory", "shared_memory", "timeout")


@dataclass
class Resubmission:
    """The runs that may follow one."""

    server: Server
    uploaded: Uploaded
    order: submit.Order
    most: int  # of them
    earlier: list[dict[str, str]] = field(default_factory=list)  # the runs that failed, and why another one followed

    def start(self, ended: Ended) -> str | None:
        """Start the run again if that helps and may be; returns the new run's id.

        Raises ClusterUsageError and ClusterError.
        """
        why = "" if ended.given_up else reason(ended.cause, ended.summary)
        if not why or len(self.earlier) >= self.most:
            return None
        run_id = str(submit.start(self.server, self.uploaded.version, self.order).run_id)
        self.earlier.append({"run_id": ended.run_id, "why": why})
        return run_id


def reason(cause: Cause | None, summary: SummaryDocument | None) -> str:
    """Return why starting the run again helps, in a sentence; an empty text where it does not.

    `cause` is what the cluster said, `summary` what the run left.
    """
    if summary and (summary.status != "failed" or summary.rejected_by):
        return ""
    error = summary.error if summary else None
    if error and error.outage:
        return error.message.splitlines()[0]
    if cause is None or cause.kind == "terminated":  # whoever ended the run wants it ended
        return ""
    return cause.sentence if cause.again or (cause.task == "train" and cause.kind in TRAINING_GOES_ON) else ""
