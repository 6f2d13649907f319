"""Where the Kubeflow Pipelines server is, and who asks: all of it from the environment and the user's own files.

    KFP_ENDPOINT                  the server's address, http(s)://host[:port][/path]   (or KF_PIPELINES_ENDPOINT)
    KF_PIPELINES_UI_ENDPOINT      the dashboard's address, where it is another one
    KFP_TOKEN                     a bearer token, or KF_PIPELINES_SA_TOKEN_PATH, a file that holds one; in a pod,
                                  the token that Kubeflow mounts
    KUBECONFIG                    without an endpoint: the current context's cluster, through its API server
    SSL_CERT_FILE                 certificate authorities, where the server's is a private one
    SIGHTLINE_KFP_WAIT            seconds to wait for an answer, default 30

The names that start with KF_ are KFP's own. Cookie, header and namespace of KFP's own context file
(`~/.config/kfp/context.json`) are used as KFP's client uses them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from sightline.cluster import kubeconfig
from sightline.errors import ClusterUsageError, ConfigError, shown
from sightline.runtime import kfp_server
from sightline.storage import setting

CONNECT, WAIT = 5, 30  # seconds to connect, and for an answer
OVERLOADED = (429, 502, 503, 504)  # a server or proxy that did not take the request
# KFP's own service in a cluster, reached through the cluster's API server, as KFP's client does.
THROUGH_KUBERNETES = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"


@dataclass(frozen=True)
class Connection:
    """An open connection: KFP's client, and what the messages say about it."""

    client: Any  # kfp_server_api.ApiClient
    address: str  # without credentials
    dashboard: str
    namespace: str  # empty if none was named
    secret: str = field(repr=False)  # where the credentials came from, for messages; empty without any
    wait: int  # seconds for an answer

    @property
    def timeout(self) -> tuple[int, int]:
        """Seconds to connect, and to wait for an answer."""
        return CONNECT, self.wait


def connect(namespace: str | None = None, *, most: int | None = None) -> Connection:
    """Make a client from the environment; nothing is sent yet. It waits `most` seconds for an answer at most.

    Raises ClusterUsageError if no server is named, or for an address or token that cannot be used.
    """
    import kfp_server_api

    context = _kfp_context()
    wait = setting("SIGHTLINE_KFP_WAIT", WAIT, 1)
    wait = wait if most is None else min(wait, most)
    configuration = kfp_server_api.Configuration()
    configuration.retries = urllib3.Retry(
        total=None,
        connect=2,
        read=0,
        redirect=0,
        status=3,
        other=0,
        allowed_methods={"GET"},
        status_forcelist=OVERLOADED,
        backoff_factor=0.5,
        raise_on_status=False,
        raise_on_redirect=False,
        retry_after_max=10,
    )
    if certificates := os.environ.get("SSL_CERT_FILE"):
        configuration.ssl_ca_cert = certificates
    if address := kfp_server.endpoint():
        configuration.host = address
        token, secret = kfp_server.token()
        if token:
            configuration.api_key_prefix = {"authorization": "Bearer"}
            configuration.api_key = {"authorization": token}
            configuration.refresh_api_key_hook = _renew_token
    else:
        secret = _from_kubeconfig(configuration)
    client = kfp_server_api.ApiClient(
        configuration,
        header_name=context.get("client_authentication_header_name"),
        header_value=context.get("client_authentication_header_value"),
        cookie=context.get("client_authentication_cookie"),
    )
    dashboard = (os.environ.get("KF_PIPELINES_UI_ENDPOINT") or configuration.host).rstrip("/")
    return Connection(client, configuration.host, dashboard, namespace or context.get("namespace") or "", secret, wait)


def _renew_token(configuration: Any) -> None:
    """Read the token again: Kubernetes replaces one in a file while a run is followed for hours."""
    configuration.api_key["authorization"] = kfp_server.token()[0] or ""


def _kfp_context() -> dict[str, str]:
    """Return what KFP's client keeps for this user. Raises ConfigError for a damaged file."""
    path = Path(os.path.expanduser("~")) / ".config" / "kfp" / "context.json"  # noqa: PTH111 - never raises
    try:
        context = json.loads(path.read_bytes())
    except OSError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path}, KFP's own settings of this user, is not JSON: {error}.") from None
    if not isinstance(context, dict):
        raise ConfigError(f"{path}, KFP's own settings of this user: got {shown(context)}, expected a JSON object.")
    return context


def _from_kubeconfig(configuration: Any) -> str:
    """Point the client at the current context's cluster; returns where that came from. Raises ClusterUsageError."""
    nothing = "There is no kubeconfig whose current context leads to one either."
    try:
        found = kubeconfig.use(configuration)
    except ClusterUsageError as error:
        found, nothing = None, error.message
    if found is None:
        raise ClusterUsageError(
            "No Kubeflow Pipelines server is named: set KFP_ENDPOINT to its address, http://host:port or "
            f"https://host/path. ({nothing})"
        )
    address = configuration.host.rstrip("/") + THROUGH_KUBERNETES
    renew = configuration.refresh_api_key_hook

    def keep_address(client: Any) -> None:
        """Renew the credentials, which also puts back the API server's address."""
        if renew:
            renew(client)
        client.host, client.refresh_api_key_hook = address, keep_address

    keep_address(configuration)
    return "the kubeconfig's current context"
