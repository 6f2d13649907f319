"""GPUs that a node without any claims to have, so that the scheduler gives it pods that ask for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from tests.helpers.cluster import Cluster

GPU = "nvidia.com/gpu"


def a_node(cluster: Cluster) -> str:
    """The name of a node."""
    return str(json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"])


@contextlib.contextmanager
def claimed(cluster: Cluster, node: str, count: int = 1) -> Iterator[None]:
    """Let a node claim GPUs."""
    _claim(cluster, node, "add", count)
    try:
        yield
    finally:
        _claim(cluster, node, "remove", count)


@contextlib.contextmanager
def allowed(cluster: Cluster, count: int = 1) -> Iterator[None]:
    """Let the namespace's quota allow GPUs."""
    _allow(cluster, count)
    try:
        yield
    finally:
        _allow(cluster, 0)


def _claim(cluster: Cluster, node: str, what: str, count: int) -> None:
    path = f"/status/capacity/{GPU.replace('/', '~1')}"
    patch = [{"op": what, "path": path, "value": str(count)}]
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def _allow(cluster: Cluster, count: int) -> None:
    patch = {"spec": {"hard": {f"requests.{GPU}": str(count)}}}
    cluster.kubectl("patch", "resourcequota", "sightline", "-p", json.dumps(patch))
