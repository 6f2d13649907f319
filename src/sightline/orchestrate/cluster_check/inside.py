"""What only a pod can say: asked by a Job that looks like a task, and is removed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from sightline.cluster import Kubernetes, job
from sightline.cluster.findings import Finding, problem, unknown, warning
from sightline.cluster.needs import Needs
from sightline.cluster.questions import CANNOT, hidden, short
from sightline.cluster.settings import references
from sightline.config import RunConfig
from sightline.errors import ClusterError, ClusterUsageError

LIKE = "validate"  # the task whose image and environment the pod has
CHECK = "pod"


def ask(
    kubernetes: Kubernetes,
    tasks: Sequence[Needs],
    config: RunConfig,
    *,
    account: str,
    wait: float,
    tell: Callable[[str], None],
) -> list[Finding]:
    """Return what a pod in the namespace finds, which may take `wait` seconds to start; `tell` hears how it goes."""
    like = next((task for task in tasks if task.task == LIKE), None)
    if like is None:
        return [unknown(CHECK, f"not checked: this pipeline has no task {LIKE}, whose image would ask")]
    question = {
        "environment": [asdict(each) for each in references(tasks)],
        "register": config.register_.model_dump(mode="json"),
        "claims": [claim.name for claim in like.claims],
        "several": any(task.count > 1 for task in tasks),
    }
    made = job.body(like, tasks, account=account, wait=wait, question=question)
    try:
        answer = job.run(kubernetes, made, wait=wait, tell=tell)
    except ClusterUsageError as error:
        if CANNOT.search(error.message):
            return [unknown(CHECK, f"nothing was asked from inside: {short(error)}")]
        return [problem(CHECK, f"a Job like a task is refused: {error.message}")]
    except ClusterError as error:
        return [hidden(CHECK, error)]
    left = [warning(CHECK, answer.left)] if answer.left else []
    if answer.why_not:
        return [problem(CHECK, f"{like.image}: {answer.why_not}"), *left]
    return [*(Finding(**each) for each in json.loads(answer.text)), *left]
