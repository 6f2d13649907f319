"""Why a run on a cluster ended as it did, or does not go on.

    seen        all that can be seen: documents in the store, the workflow, pods, events, logs
    looking     asks for it
    causes      the one cause out of that
    table       which words mean what, how it is said, what to do
    kfp         Kubeflow Pipelines' server, asked without its client

Every source is optional, and evidence expires: Kubernetes keeps events for an hour, and pods as long as KFP lets it.
"""

from __future__ import annotations

from dataclasses import replace

from sightline import cluster
from sightline.cluster import Kubernetes
from sightline.documents import ErrorReport
from sightline.documents.cause import Cause
from sightline.errors import SightlineError
from sightline.storage import Store
from sightline.why import kfp, own
from sightline.why.case import STAGES
from sightline.why.causes import better, cause, hindrances
from sightline.why.looking import documents, further, look
from sightline.why.seen import DERIVED, UNEXPLAINED, Seen
from sightline.why.state import standing

__all__ = [
    "DERIVED",
    "STAGES",
    "UNEXPLAINED",
    "Cause",
    "Seen",
    "ask",
    "better",
    "cause",
    "hindrances",
    "look",
    "own",
    "standing",
]

WAIT = 4.0  # seconds for each question to Kubernetes from a pod


def ask(run_id: str, store: Store | None, lost: ErrorReport | None = None) -> Seen:
    """Return what can be seen of a run from where this process is, and no more than it takes to name the cause.

    The servers are those of the environment, or of the pod in which this runs. Where the stages say themselves how the
    run ended, nothing else is asked. `lost` stands for the error of a stage that left none. Does not raise.
    """
    seen = documents(run_id, store)
    if lost and not seen.errors:
        seen = replace(seen, errors={lost.stage: lost})
    if seen.error or own.is_good(seen):
        return seen
    problems = []
    server: kfp.PlainServer | None = None
    kubernetes: Kubernetes | None = None
    try:
        server = kfp.from_environment()
    except SightlineError as error:
        problems.append(f"Kubeflow Pipelines: {error}")
    try:
        kubernetes = cluster.reach(wait=WAIT)
    except SightlineError as error:
        problems.append(f"Kubernetes: {error}")
    return further(seen, kubernetes=kubernetes, server=server, unasked=problems)
