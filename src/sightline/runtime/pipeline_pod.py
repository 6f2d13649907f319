"""Whether this process works in a pod of a pipeline run, whose files are gone when it ends.

A store or a database there would take the result along. A notebook or a CI job on a cluster is one machine, and may
have both.
"""

from __future__ import annotations

import os

KFP = ("KFP_POD_NAME", "KFP_POD_UID")  # Kubeflow Pipelines sets both in every task's container, and nothing else does


def in_pipeline_pod() -> bool:
    """Return whether Kubeflow Pipelines started this container for a task."""
    return all(os.environ.get(name) for name in KFP)


def where_to_set(what: str) -> str:
    """Say where a cluster's setting belongs; `what` is its name and an example."""
    return f"Set {what} in the ConfigMap `sightline` of the namespace in which the run works (see manifests/README.md)."
