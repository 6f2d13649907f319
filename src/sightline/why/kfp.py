"""Kubeflow Pipelines' server, asked from a pod: images have no client of KFP's, and two questions need none."""

from __future__ import annotations

import os
from typing import Any, Protocol
from urllib.parse import quote

import certifi
import urllib3

from sightline.errors import ClusterError, ClusterUsageError
from sightline.runtime import kfp_server, workflow
from sightline.storage import setting

WAIT = 5  # seconds
LARGEST = 8 << 20  # bytes of a log that are read: what ended a task stands at its end


class Server(Protocol):
    """What is asked of Kubeflow Pipelines. Both raise ClusterError, ClusterUsageError for what it refuses."""

    def workflow(self, run_id: str) -> dict[str, Any]:
        """Return the Argo workflow of a run."""

    def log(self, run_id: str, pod: str) -> str:
        """Return the log of a pod."""


class PlainServer:
    """A server at an address."""

    def __init__(self, address: str, token: str | None) -> None:
        """Take where it is, and the token that it wants; nothing is sent yet."""
        self.address = address
        self._wait = setting("SIGHTLINE_KFP_WAIT", WAIT, 1)
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=self._wait),
            retries=False,
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def workflow(self, run_id: str) -> dict[str, Any]:
        """Return the Argo workflow of a run. Raises ClusterError."""
        answer = self._get(f"/apis/v1beta1/runs/{quote(run_id, safe='')}")
        try:
            return workflow.handed_out(answer.json())
        except ValueError:
            raise ClusterError(f"what answers at {self.address} is no Kubeflow Pipelines server.") from None

    def log(self, run_id: str, pod: str) -> str:
        """Return the log of a pod, from the archive where the pod is gone. Raises ClusterError."""
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes/{quote(pod, safe='')}/log"
        return str(self._get(path).data[-LARGEST:].decode("utf-8", "replace"))

    def _get(self, path: str) -> Any:
        try:
            answer = self._pool.request("GET", self.address + path, redirect=False)
        except urllib3.exceptions.TimeoutError:
            message = f"the server at {self.address} does not answer within {self._wait} seconds."
            raise ClusterError(message) from None
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"the server at {self.address} cannot be asked: {error}.") from None
        if answer.status == 404:
            raise ClusterUsageError(f"the server at {self.address} does not know this run.")
        if answer.status != 200:
            raise ClusterError(f"the server at {self.address} answers with status {answer.status}.")
        return answer


def from_environment() -> PlainServer | None:
    """Return the server that the environment names, or that of our own namespace; None without one.

    Raises ClusterUsageError for an address or a token that cannot be used.
    """
    address = kfp_server.endpoint() or _beside_us()
    return PlainServer(address, kfp_server.token()[0]) if address else None


def _beside_us() -> str | None:
    """Return the server's address in its own namespace, where Kubernetes gives every pod that of each service."""
    host, port = (os.environ.get(f"ML_PIPELINE_SERVICE_{part}") for part in ("HOST", "PORT"))
    return f"http://{host}:{port}" if host and port else None
