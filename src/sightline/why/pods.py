"""A run's pods where Kubernetes alone can be asked, and no workflow says which task each belongs to."""

from __future__ import annotations

import contextlib
from datetime import datetime

from sightline.config.cluster_names import STAGE
from sightline.runtime import workflow
from sightline.why.seen import Object, Seen

STATES: dict[str, workflow.State] = {
    "Pending": "waiting",
    "Running": "running",
    "Succeeded": "done",
    "Failed": "failed",
    "Unknown": "failed",
}


def from_kubernetes(seen: Seen) -> list[workflow.Pod]:
    """Return Kubernetes' pods as a workflow would tell them, in the order in which they were made."""
    pods = [_pod(name, found) for name, found in seen.pods.items()]
    return sorted(pods, key=lambda pod: str(pod.started))


def _pod(name: str, found: Object) -> workflow.Pod:
    meta, status = found.get("metadata") or {}, found.get("status") or {}
    started = None
    with contextlib.suppress(ValueError):
        started = datetime.fromisoformat(str(meta.get("creationTimestamp")))
    task, driver = str((meta.get("labels") or {}).get(STAGE) or name), "-driver-" in name
    return workflow.Pod(
        name=name,
        path=f"{task}-driver" if driver else task,
        task=task,
        driver=driver,
        state=STATES.get(str(status.get("phase")), "waiting"),
        message=str(status.get("message") or ""),
        started=started,
        node=str((found.get("spec") or {}).get("nodeName") or ""),
    )
