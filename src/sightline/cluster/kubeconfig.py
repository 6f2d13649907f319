"""The user's kubeconfig: where its current context leads, and as whom."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import urllib3
import yaml

from sightline.errors import ClusterUsageError
from sightline.runtime.server_words import LONGEST

DEFAULT = "~/.kube/config"
# What Kubernetes' client raises for files that are damaged, or hold something else.
DAMAGED = (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError)


class Context(NamedTuple):
    """The current context."""

    name: str
    namespace: str


def use(configuration: Any) -> Context | None:
    """Point a client at the current context's cluster, with its credentials; None where there is no context.

    `configuration` is a `Configuration` of Kubernetes' client, or of one that was generated like it. Raises
    ClusterUsageError for a kubeconfig that cannot be used.
    """
    from kubernetes import config

    file = os.environ.get("KUBECONFIG") or DEFAULT  # the client reads the variable once, when it is imported
    try:
        contexts, current = config.list_kube_config_contexts(file)
    except config.ConfigException:
        return None
    except DAMAGED as error:
        raise _unusable(error) from None
    if not contexts or current is None:
        return None
    try:
        config.load_kube_config(file, client_configuration=configuration)
    except (config.ConfigException, *DAMAGED) as error:
        raise _unusable(error) from None
    if not configuration.verify_ssl:  # the kubeconfig says so; urllib3 would warn of it at every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return Context(str(current.get("name")), current.get("context", {}).get("namespace") or "default")


def _unusable(error: Exception) -> ClusterUsageError:
    return ClusterUsageError(f"The kubeconfig cannot be used: {' '.join(str(error).split())[:LONGEST]}")
