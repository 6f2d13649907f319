"""The other nodes of a training in a pipeline on a cluster: pods that the pod of train starts.

train's own pod is node 0. On one machine a pipeline has one node.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sightline.cluster import reach
from sightline.cluster.ranks import COMPONENT, Ranks, lacking, remove
from sightline.config import TrainConfig
from sightline.config.parameters import refuse_several_nodes
from sightline.errors import ClusterError, ConfigError
from sightline.run_store import RunStore
from sightline.runtime import progress
from sightline.runtime.pipeline_pod import current, in_pipeline_pod

if TYPE_CHECKING:
    from sightline.train.nodes import Node

RUN_ID = "SIGHTLINE_RUN_ID"


def check(config: TrainConfig) -> None:
    """Refuse several nodes where they cannot be started, before anything trains.

    Raises ConfigError on one machine, and where this pod's account may not start pods; ClusterError where Kubernetes
    does not answer.
    """
    if config.nodes == 1:
        return
    if not in_pipeline_pod():
        refuse_several_nodes(config.nodes)
    kubernetes = reach()
    if kubernetes is None:
        raise ConfigError(f"{_asked(config)}, and this pod has no account for Kubernetes' API. {_install()}")
    if missing := lacking(kubernetes):
        raise ConfigError(f"{_asked(config)}, and {kubernetes.who} may not {', '.join(missing)}. {_install()}")


@contextlib.contextmanager
def started(
    run_id: str, snapshot: str, weights: str, config: TrainConfig, code: str
) -> Iterator[tuple[Node | None, Ranks | None]]:
    """Yield this pod's place among the nodes, and what starts the others; for one node neither.

    The arguments are those of the task train. What an earlier attempt of the run left is removed first, and what is
    left at the end then. Raises as `check`, and ClusterUsageError where Kubernetes refuses.
    """
    if config.nodes == 1:
        yield None, None
        return
    from sightline.train import nodes, rank

    check(config)
    kubernetes = reach()
    here = current()
    assert kubernetes
    assert here
    pod = kubernetes.get(kubernetes.path("pods", here.name))
    node = nodes.Node(rank=0, count=config.nodes, address=str(pod["status"]["podIP"]))
    share = rank.Share(
        snapshot=snapshot, weights=weights, config=config, code=code, address=node.address, port=node.port
    )
    ranks = Ranks(
        kubernetes,
        pod,
        run_id=run_id,
        count=config.nodes - 1,
        command=[sys.executable, "-m", "sightline.train.rank"],
        variables={rank.VARIABLE: share.model_dump_json(), RUN_ID: run_id},
    )
    ranks.remove()
    try:
        yield node, ranks
    finally:
        ranks.remove()


def sweep(run: RunStore) -> None:
    """Remove the pods that a run has left, if it had several nodes; where that is impossible, say what becomes of them.

    Raises StorageError.
    """
    validated = run.records().get("validate")
    config = (validated.documents["validate.json"] if validated else {}).get("config") or {}
    if config.get("train", {}).get("nodes", 1) == 1:
        return
    try:
        kubernetes = reach()
        count = remove(kubernetes, run.run_id) if kubernetes else 0
    except ClusterError as error:
        progress.notice(
            f"pods of other nodes that the run may have left could not be removed, and end by themselves within a "
            f"minute or two: {error}"
        )
        return
    if count:
        print(f"Removed {count} Job{'s' * (count > 1)} of other nodes that the run had left.")


def _asked(config: TrainConfig) -> str:
    return f"train_nodes: {config.nodes} nodes are asked for, of which train starts {config.nodes - 1} as pods of a Job"


def _install() -> str:
    return f"Install {COMPONENT} in the run's namespace, or set train_nodes to 1."
