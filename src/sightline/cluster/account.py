"""The service account of a run's pods: that it is there, and may do what KFP and Argo do under it.

The rights are those of the Roles in manifests/base/account.yaml and manifests/components/several-nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sightline.cluster.api import Kubernetes, NotThere
from sightline.cluster.findings import Finding, ok, problem, warning
from sightline.cluster.ranks import NEEDED

AUTHORIZATION = "authorization.k8s.io"


class Right(NamedTuple):
    """Something that KFP or Argo does in a task's pod."""

    verb: str
    plural: str
    group: str = ""
    name: str = ""  # of the only object; KFP's own settings may name another one

    @property
    def words(self) -> str:
        """How a sentence names it."""
        return f"{self.verb} {self.plural}" + (f" {self.name}" if self.name else "")


RIGHTS = (
    Right("create", "workflowtaskresults", "argoproj.io"),
    Right("patch", "workflowtaskresults", "argoproj.io"),
    Right("get", "workflows", "argoproj.io"),
    Right("get", "pods"),
    Right("get", "configmaps", name="kfp-launcher"),
    Right("get", "secrets", name="mlpipeline-minio-artifact"),
)
RANKS = tuple(Right(*needed) for needed in NEEDED)


def account(kubernetes: Kubernetes, name: str) -> Iterator[Finding]:
    """Yield whether a service account is there."""
    try:
        kubernetes.get(kubernetes.path("serviceaccounts", name))
    except NotThere:
        yield problem(
            "account", f"there is no service account {name} in {kubernetes.namespace}: no pod of a run would start"
        )
        return
    yield ok("account", f"the service account {name} is there")


def rights(kubernetes: Kubernetes, name: str, *, several: bool) -> Iterator[Finding]:
    """Yield what an account lacks, as Kubernetes decides it; takes the right to ask for other accounts.

    `several` says whether training takes several nodes.
    """
    user = f"system:serviceaccount:{kubernetes.namespace}:{name}"
    yield from missing(f"the account {name}", lambda right: _may(kubernetes, user, right), several=several)


def missing(who: str, may: Callable[[Right], bool], *, several: bool) -> Iterator[Finding]:
    """Yield which of the rights that KFP, Argo and a training on several nodes use an account lacks."""
    lacks = [right for right in RIGHTS if not may(right)]
    if needed := [right.words for right in lacks if not right.name]:
        yield problem("rights", f"{who} may not {', '.join(needed)}: a run fails under it. manifests/base has a Role")
    if named := [right.words for right in lacks if right.name]:
        yield warning("rights", f"{who} may not {', '.join(named)}, where KFP keeps its settings unless told otherwise")
    ranks = [right.words for right in RANKS if not may(right)] if several else []
    if ranks:
        yield problem(
            "rights",
            f"{who} may not {', '.join(ranks)}, so that a training cannot start its other nodes. "
            "manifests/components/several-nodes has a Role",
        )
    if not lacks and not ranks:
        yield ok("rights", f"{who} may do what a run does under it")


def _may(kubernetes: Kubernetes, user: str, right: Right) -> bool:
    wanted = {"namespace": kubernetes.namespace, "verb": right.verb, "resource": right.plural}
    wanted |= {key: value for key, value in (("group", right.group), ("name", right.name)) if value}
    review = {
        "apiVersion": f"{AUTHORIZATION}/v1",
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": kubernetes.namespace},
        "spec": {"user": user, "groups": _groups(kubernetes.namespace), "resourceAttributes": wanted},
    }
    answer = kubernetes.create(kubernetes.path("localsubjectaccessreviews", group=AUTHORIZATION), review)
    return bool((answer.get("status") or {}).get("allowed"))


def _groups(namespace: str) -> list[str]:
    """The groups to which every service account belongs; a binding may name one of them."""
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
