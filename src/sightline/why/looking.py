"""Asks the store, Kubeflow Pipelines and Kubernetes what can be seen of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sightline.cluster import Kubernetes
from sightline.errors import ClusterError
from sightline.run_store import RunStore
from sightline.runtime import workflow
from sightline.storage import Store
from sightline.why import in_kubernetes, training
from sightline.why.kfp import Server
from sightline.why.seen import MOST, Asked, Seen, interesting


def documents(run_id: str, store: Store | None) -> Seen:
    """Return what the stages of a run left. What cannot be read is said."""
    seen = Seen(run_id, datetime.now(UTC))
    if store is None:
        return seen
    run, asked = RunStore(store, run_id), Asked("the store")
    errors = asked.answer(run.errors) or {}
    records = asked.answer(run.records) or {}
    summary = asked.answer(run.summary)
    known = bool(errors or records or summary)
    return replace(
        seen,
        known=known,
        errors=errors,
        ended=frozenset(records),
        summary=summary,
        training=asked.answer(lambda: training.of_run(store, run_id)) if known else None,
        unasked=asked.problems,
    )


def look(
    run_id: str, *, store: Store | None = None, kubernetes: Kubernetes | None = None, server: Server | None = None
) -> Seen:
    """Return all that can be seen of a run now. Does not raise: what could not be asked is in `unasked`."""
    return further(documents(run_id, store), kubernetes=kubernetes, server=server)


def further(
    seen: Seen,
    *,
    kubernetes: Kubernetes | None = None,
    server: Server | None = None,
    unasked: Sequence[str] = (),
) -> Seen:
    """Add to what the documents say what Kubeflow Pipelines and Kubernetes do."""
    kfp, cluster = Asked("Kubeflow Pipelines"), Asked("Kubernetes")
    found = (server and kfp.answer(lambda: server.workflow(seen.run_id))) or {}
    known = seen.known or bool(found) or bool(server and not kfp.problems)
    if kubernetes and not found:
        found = cluster.answer(lambda: in_kubernetes.workflow_of(kubernetes, seen.run_id)) or {}
    seen = replace(seen, workflow=found, known=known or bool(found), answered=bool(found))
    if kubernetes:
        home = workflow.namespace(found)
        seen = in_kubernetes.added(seen, kubernetes.within(home) if home else kubernetes, cluster)
    if server:
        seen = replace(seen, logs=_logs(seen, server, kfp))
    return replace(seen, unasked=(*seen.unasked, *unasked, *kfp.problems, *cluster.problems))


def _logs(seen: Seen, server: Server, asked: Asked) -> dict[str, str]:
    """Return the logs of the pods that failed, those of the newest attempts."""
    failed = [pod for pod in interesting(seen) if pod.state == "failed"]
    last = {pod.path: pod for pod in failed}
    logs = {}
    for pod in list(last.values())[: MOST // 2]:
        if asked.away:
            break
        try:
            logs[pod.name] = server.log(seen.run_id, pod.name)
        except ClusterError:  # no archive, and the pod is gone: then what Kubernetes says stands alone
            break
    return logs
