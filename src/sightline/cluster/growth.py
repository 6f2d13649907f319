"""Whether a cluster adds nodes by itself: the signs of Karpenter and of the cluster autoscaler.

A pool that scales from zero has no node whose labels and room could be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.cluster.api import Denied, Kubernetes, NotThere
from sightline.cluster.questions import short
from sightline.cluster.taints import KEEPS_OUT, Taint, tolerated, written

KARPENTER = "karpenter.sh"
STATUS = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status"  # the autoscaler keeps it up to date


@dataclass(frozen=True)
class Growth:
    """What may add nodes."""

    autoscaler: bool
    pools: tuple[tuple[str, tuple[Taint, ...]], ...]  # Karpenter's, with their taints
    unseen: str  # why it could not be looked for; empty if it could

    def pools_for(self, tolerations: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return what may add a node for a pod with these tolerations."""
        borne = list(tolerations)
        fit = [f"NodePool {name}" for name, taints in self.pools if all(tolerated(each, borne) for each in taints)]
        return [*fit, *(["the cluster autoscaler"] if self.autoscaler else [])]

    @property
    def kept_out(self) -> str:
        """The pools that have taints, with these."""
        return "; ".join(f"{name} {', '.join(map(written, taints))}" for name, taints in self.pools if taints)


def growth(kubernetes: Kubernetes) -> Growth:
    """Look for what adds nodes."""
    unseen = []
    pools: list[tuple[str, tuple[Taint, ...]]] = []
    for version in ("v1", "v1beta1"):
        try:
            path = kubernetes.path("nodepools", group=KARPENTER, version=version, namespaced=False)
            for pool in kubernetes.items(path):
                spec = pool["spec"]["template"]["spec"]
                taints = tuple(each for each in spec.get("taints") or [] if each.get("effect") in KEEPS_OUT)
                pools.append((pool["metadata"]["name"], taints))
            break
        except NotThere:
            continue
        except Denied as error:
            unseen.append(short(error))
            break
    autoscaler = False
    try:
        kubernetes.get(STATUS)
        autoscaler = True
    except NotThere:
        pass
    except Denied as error:
        unseen.append(short(error))
    return Growth(autoscaler, tuple(pools), " and ".join(unseen))
