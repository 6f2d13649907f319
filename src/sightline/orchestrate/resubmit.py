"""Starts a run again that failed because the cluster ended it, and not by anything that a person gave it.

For clusters whose Kubeflow Pipelines does not repeat a task that lost its pod. The training goes on from its last
checkpoint, since a run with the same data, configuration and code is the same training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sightline.documents import SummaryDocument
from sightline.documents.cause import Cause, CauseKind
from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate import submit
from sightline.orchestrate.follow import FIRST, LONGEST, PATIENCE, Ended
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

    def why(self, ended: Ended) -> str:
        """Return why starting the run again helps, in a sentence; an empty text where it does not, or may not be."""
        return "" if ended.given_up or len(self.earlier) >= self.most else reason(ended.cause, ended.summary)

    def start(
        self,
        ended: Ended,
        why: str,
        *,
        tell: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> str:
        """Start the run again; returns the new run's id. An outage is waited out for `patience` seconds, and said.

        Raises ClusterUsageError where the server refuses, and ClusterError where it is away for longer.
        """
        # A run may have been started though its answer did not arrive: by this line it is found.
        line = f"Started again after the run {ended.run_id}."
        order = replace(self.order, description=f"{self.order.description}\n{line}")
        begun, pause, started = time.monotonic(), FIRST, None
        while started is None:
            try:
                known = self.server.runs_named(order.name) if pause > FIRST else ()
                started = next((run for run in known if line in (run.description or "").splitlines()), None)
                started = started or submit.start(self.server, self.uploaded.version, order)
            except ClusterUsageError:
                raise
            except ClusterError as error:
                if time.monotonic() - begun > patience:
                    raise
                if pause == FIRST:
                    tell(f"{error} Trying again to start the run again.")
                sleep(pause)
                pause = min(2 * pause, LONGEST)
        self.earlier.append({"run_id": ended.run_id, "why": why})
        return str(started.run_id)


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
