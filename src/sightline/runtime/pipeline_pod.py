"""Whether this process works in a pod of a pipeline run, whose files are gone when it ends, and in which.

A store or a database there would take the result along. A notebook or a CI job on a cluster is one machine, and may
have both.
"""

from __future__ import annotations

import os
import platform

from sightline.documents.signs import Pod

KFP = ("KFP_POD_NAME", "KFP_POD_UID")  # Kubeflow Pipelines sets both in every task's container, and nothing else does


def in_pipeline_pod() -> bool:
    """Return whether Kubeflow Pipelines started this container for a task."""
    return all(os.environ.get(name) for name in KFP)


def current() -> Pod | None:
    """Return the pod in which this runs; None outside a pipeline's pod."""
    if not in_pipeline_pod():
        return None
    name, uid = (os.environ[variable] for variable in KFP)
    return Pod(name=name, uid=uid)


def machine() -> str:
    """Return the name of this machine: of a pod its whole name, of which the host's name is only the beginning."""
    pod = current()
    return pod.name if pod else platform.node()


def where_to_set(what: str) -> str:
    """Say where a cluster's setting belongs; `what` is its name and an example."""
    return f"Set {what} in the ConfigMap `sightline` of the namespace in which the run works (see manifests/README.md)."
