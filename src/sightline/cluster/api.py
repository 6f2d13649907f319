"""Kubernetes' API: of the pod in which this runs, or of the kubeconfig's current context.

Objects are JSON as Kubernetes documents them. Paths are those of its API, such as `/api/v1/namespaces/NAMESPACE/pods`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import urllib3

from sightline.cluster import kubeconfig
from sightline.config.cluster_names import MAIN
from sightline.errors import ClusterError, ClusterUsageError
from sightline.runtime.server_words import LONGEST, words

MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where Kubernetes gives a pod its account
CONNECT, ANSWER = 5, 10  # seconds
PAGE = 500  # objects that are listed at a time

Object = dict[str, Any]


class Denied(ClusterUsageError):
    """The account may not do this."""


class Unauthorized(Denied):
    """The server does not know the account, or its credentials are wrong or have expired."""


class NotThere(ClusterUsageError):
    """There is no such object, or the server does not know its kind."""


def reach(namespace: str | None = None, *, wait: float | None = None) -> Kubernetes | None:
    """Return Kubernetes' API as this process reaches it; None where there is no account of a pod and no kubeconfig.

    Without a `namespace` it is the pod's own or that of the kubeconfig's context. With `wait` no question takes longer
    than so many seconds, and none is asked again. Nothing is sent yet. Raises ClusterUsageError for a kubeconfig that
    cannot be used.
    """
    found = _reach(namespace, retries=2 if wait is None else 0)
    if found and wait is not None:
        found.wait = (min(CONNECT, wait), wait)
    return found


def _reach(namespace: str | None, retries: int) -> Kubernetes | None:
    from kubernetes import client, config

    configuration = client.Configuration()
    configuration.retries = urllib3.Retry(total=retries, read=0, status=0, other=0, allowed_methods=None)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and (MOUNTED / "token").exists() and not os.environ.get("KUBECONFIG"):
        config.load_incluster_config(client_configuration=configuration)
        home = (MOUNTED / "namespace").read_text(encoding="utf-8").strip()
        return Kubernetes(client.ApiClient(configuration), namespace or home, "the account of this pod")
    context = kubeconfig.use(configuration)
    if context is None:
        return None
    return Kubernetes(client.ApiClient(configuration), namespace or context.namespace, f"the context {context.name}")


class Kubernetes:
    """An API server, and who asks it.

    Every call raises Denied for what the account may not do, NotThere for what does not exist, ClusterUsageError for
    what the server refuses otherwise, in its own words, and ClusterError where it fails or does not answer.
    """

    def __init__(self, client: Any, namespace: str, who: str) -> None:
        """Take a `kubernetes.client.ApiClient`, the namespace that is meant, and whose rights count, for people."""
        self._client = client
        self.namespace, self.who = namespace, who
        self.address = str(client.configuration.host)
        self.wait: tuple[float, float] = (CONNECT, ANSWER)

    def within(self, namespace: str) -> Kubernetes:
        """Return the same API for another namespace."""
        other = copy(self)
        other.namespace = namespace
        return other

    def path(
        self, plural: str, name: str = "", *, group: str = "", version: str = "v1", namespaced: bool = True
    ) -> str:
        """Return the path of a kind of objects in our namespace, or of one of them."""
        parts = ["/apis", group, version] if group else ["/api", version]
        parts += ["namespaces", self.namespace] if namespaced else []
        return "/".join([*parts, plural, *([name] if name else [])])

    def get(self, path: str, **query: str) -> Object:
        """Return an object."""
        return self._call("GET", path, query)

    def items(self, path: str, **query: str) -> Iterator[Object]:
        """Yield the objects of a list, such as those with `labelSelector` or `fieldSelector`, page by page."""
        token = ""
        while True:
            page = self._call("GET", path, {**query, "limit": str(PAGE), **({"continue": token} if token else {})})
            yield from page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def create(self, path: str, body: Object) -> Object:
        """Create an object. It is never sent twice."""
        return self._call("POST", path, {}, body)

    def delete(self, path: str, *, policy: str = "Background", grace: int | None = None) -> None:
        """Delete an object, and what it owns, as `policy` says; one that is gone is no error. `grace` is in seconds."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        with contextlib.suppress(NotThere):
            self._call("DELETE", path, {}, options)

    def log(
        self,
        pod: str,
        container: str = MAIN,
        *,
        lines: int | None = None,
        previous: bool = False,
        timestamps: bool = False,
    ) -> str:
        """Return the log of a container of a pod in our namespace, or its last lines, each after its time if wanted."""
        query = {"container": container, "previous": str(previous).lower(), "timestamps": str(timestamps).lower()}
        if lines is not None:
            query["tailLines"] = str(lines)
        return str(self._send("GET", self.path("pods", f"{pod}/log"), query, None).data.decode("utf-8", "replace"))

    def may(self, verb: str, plural: str, *, group: str = "", name: str = "", namespaced: bool = True) -> bool:
        """Ask whether the account may do something; every account may ask about itself. `plural` may be pods/log."""
        resource, _, part = plural.partition("/")
        wanted = {"verb": verb, "resource": resource, "subresource": part, "group": group, "name": name}
        wanted |= {"namespace": self.namespace} if namespaced else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in wanted.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.create(path, review).get("status", {}).get("allowed"))

    def _call(self, method: str, path: str, query: dict[str, str], body: Object | None = None) -> Object:
        answer = self._send(method, path, query, body)
        try:
            found = json.loads(answer.data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ClusterUsageError(f"What answers at {self.address} is no Kubernetes API server.")
        return found

    def _send(self, method: str, path: str, query: dict[str, str], body: Object | None) -> Any:
        from kubernetes.client import ApiException

        try:
            answer, *_ = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json, */*", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=self.wait,
            )
        except ApiException as error:
            raise self._refusal(method, path, error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            why = str(getattr(error, "reason", None) or error)
            raise ClusterError(f"Kubernetes at {self.address} cannot be reached: {why[:LONGEST]}.") from None
        return answer

    def _refusal(self, method: str, path: str, error: Any) -> ClusterError:
        status = int(error.status or 0)
        said = words(error.body or error.reason)
        if status in (401, 403):
            return (Unauthorized if status == 401 else Denied)(f"{self.who} may not {method.lower()} {path}: {said}")
        if status == 404:
            return NotThere(f"Kubernetes at {self.address} has no {path}: {said}")
        if 400 <= status < 500 and status not in (408, 429):
            return ClusterUsageError(f"Kubernetes refuses to {method.lower()} {path}: {said}")
        return ClusterError(f"Kubernetes at {self.address} could not {method.lower()} {path} (status {status}): {said}")
