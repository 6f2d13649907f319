"""Small runs on a cluster, and what an administrator does that ends some of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, get_args

from sightline import cluster as kubernetes
from sightline import why
from sightline.documents.cause import Cause, CauseKind
from sightline.orchestrate.follow import OVER
from sightline.runtime import workflow
from tests.helpers.cluster import Cluster, wait

NOT_HERE = {
    *("evicted", "node_lost"),  # would hurt what else works on the node
    *("rejected", "silent", "vanished", "unknown", "deadline"),  # said by documents, or by what is not there
}
KINDS = set(get_args(CauseKind)) - NOT_HERE


@dataclass
class Small:
    """A small run."""

    cluster: Cluster
    name: str
    run_id: str

    @property
    def over(self) -> bool:
        return self.cluster.server.run(self.run_id).state in OVER

    @property
    def pod(self) -> str:
        """The newest pod of train."""
        found = workflow.pods(self.cluster.server.workflow(self.run_id))
        return [pod.name for pod in found if pod.task == "train" and not pod.driver][-1]

    def wait_for_work(self) -> None:
        def at_work() -> bool:
            assert not self.over, f"{self.name}: {self.cause()}"
            tasks = workflow.tasks(self.cluster.server.workflow(self.run_id))
            return any(task.name == "train" and task.state == "running" for task in tasks)

        wait(at_work, f"{self.name} at work")

    def wait_until_over(self) -> None:
        wait(lambda: self.over, f"{self.name} over")

    def drain(self) -> None:
        """Drain its node, of its pods alone."""
        node = self.cluster.kubectl("get", "pod", self.pod, "-o", "jsonpath={.spec.nodeName}")
        only = f"--pod-selector=pipeline/runid={self.run_id}"
        try:
            self.cluster.kubectl("drain", node, only, "--force", "--delete-emptydir-data", "--ignore-daemonsets")
        finally:
            self.cluster.kubectl("uncordon", node)

    def cause(self) -> Cause | None:
        """What `sightline why` says now, with all rights."""
        return why.cause(why.look(self.run_id, server=self.cluster.server, kubernetes=kubernetes.reach()))

    def cause_like(self, kind: str, sentence: str) -> Cause:
        """Wait until it says this, a regular expression."""
        said: list[Cause | None] = []

        def fits() -> bool:
            said[:] = [self.cause()]
            found = said[0]
            return bool(found and found.kind == kind and re.fullmatch(sentence, found.sentence))

        try:
            wait(fits, f"{self.name}: {sentence}", seconds=420)
        except AssertionError:
            raise AssertionError(f"{self.name}: expected {kind}: {sentence}; got {said}") from None
        assert said[0]
        return said[0]


def runtime_policy(cluster: Cluster) -> list[dict[str, Any]]:
    """A RuntimeClass whose runtime no node has, and the policy that sets it by a label."""
    api = "admissionregistration.k8s.io"
    versions = cluster.kubectl("explain", "mutatingadmissionpolicies").split("VERSION:")[1].split()
    names = {"metadata": {"name": "sightline-tests-why"}}
    label = "sightline.ml/why-runtime"
    change = f"Object{{spec: Object.spec{{runtimeClassName: object.metadata.labels['{label}']}}}}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [
            {"name": "label", "expression": f"has(object.metadata.labels) && '{label}' in object.metadata.labels"}
        ],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sightline-why"}}
    policy = {"apiVersion": f"{api}/{versions[0]}", "kind": "MutatingAdmissionPolicy", **names, "spec": spec}
    binding = {"kind": "MutatingAdmissionPolicyBinding", **names, "spec": {"policyName": "sightline-tests-why"}}
    return [runtime | {"handler": "sightline-none"}, policy, {"apiVersion": policy["apiVersion"], **binding}]


def preempting(cluster: Cluster, resource: str) -> list[dict[str, Any]]:
    """A priority, and last a pod of it that wants the node's one piece of a resource."""
    name = "sightline-tests-why"
    image = cluster.at.images.split(",")[0]
    main = {
        "name": "main",
        "image": image,
        "command": ["sleep", "120"],
        "resources": {"limits": {resource: "1"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "priorityClassName": name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main],
    }
    return [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 100000},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec},
    ]
