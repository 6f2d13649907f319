"""What the scheduler, quotas, rules and registries say, in words for the person whose run waits."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from sightline import why
from sightline.why.words import bytes_of, doubled, last_error, last_of_go
from tests.helpers.compiled import nodes

SPEC = {
    "containers": [
        {
            "name": "main",
            "image": "registry/train:1",
            "resources": {"limits": {"nvidia.com/gpu": "4", "memory": "64Gi"}},
        }
    ],
    "nodeSelector": {"pool": "gpu"},
}


def waits(message: str, *, spec: dict[str, Any] = SPEC, **more: Any) -> why.Cause:
    """Return what train waits for, by Argo's message."""
    found = nodes(train=("Pending", message))
    for node in found.values():
        node["inputs"] = {"parameters": [{"name": "pod-spec-patch", "value": json.dumps(spec)}]}
    seen = why.Seen("r1", datetime.now(UTC), workflow={"metadata": {"name": "w"}, "status": {"nodes": found}}, **more)
    (cause,) = why.hindrances(seen)
    return cause


def named(name: str, *taints: dict[str, str]) -> dict[str, Any]:
    return {name: {"metadata": {"name": name}, "spec": {"taints": list(taints)}}}


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("3 Insufficient nvidia.com/gpu.", "0 of 3 nodes have 4 free nvidia.com/gpu"),
        (
            "1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {a: b}. preemption: 0/3 nodes are "
            "available: 3 Preemption is not helpful for scheduling.",
            "0 of 3 nodes have 4 free nvidia.com/gpu (2 have the taint a: b, which it does not tolerate)",
        ),
        (
            "1 Insufficient memory, 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable.",
            "0 of 3 nodes have 64Gi of memory free and 4 free nvidia.com/gpu (1 takes no new pods (cordoned))",
        ),
        (
            "1 Too many pods, 2 node(s) didn't match Pod's node affinity/selector.",
            "0 of 3 nodes take its pod: 1 has no room for another pod; 2 lack the label pool=gpu",
        ),
        (
            "3 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
            "0 of 3 nodes take its pod: 3 are not ready",
        ),
        (
            "3 node(s) didn't have free ports for the requested pod ports.",
            "0 of 3 nodes take its pod: 3: node(s) didn't",
        ),
    ],
)
def test_the_scheduler_counts_and_the_sentence_names(said: str, what: str) -> None:
    cause = waits(f"Unschedulable: 0/3 nodes are available: {said}")
    assert cause.kind == "unschedulable"
    assert cause.sentence.startswith(f"train is waiting: {what}")


def test_a_taint_without_a_name_is_named_by_the_nodes_that_have_it() -> None:
    message = "Unschedulable: 0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    assert "2 have a taint, which" in waits(message).sentence
    spec = SPEC | {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}
    found = named("n1", {"key": "nvidia.com/gpu", "effect": "NoSchedule"}, {"key": "dedicated", "effect": "NoSchedule"})
    found |= named(
        "n2", {"key": "team", "value": "a", "effect": "NoExecute"}, {"key": "x", "effect": "PreferNoSchedule"}
    )
    cause = waits(message, spec=spec, nodes=found)
    assert "2 have the taint dedicated and team=a, which it does not tolerate" in cause.sentence
    assert "train_tolerations" in cause.do


def test_one_gpu_is_asked_for_in_the_words_of_the_task() -> None:
    spec = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    cause = waits("Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", spec=spec)
    assert cause.sentence == "train is waiting: 0 of 3 nodes have a free nvidia.com/gpu."


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        (
            'pods "x" is forbidden: exceeded quota: q, requested: limits.memory=64Gi,pods=1, used: '
            "limits.memory=80Gi,pods=3, limited: limits.memory=100Gi,pods=10",
            "quota",
            "the quota q of its namespace allows 100Gi limits.memory, of which 80Gi are in use, and it asks for 64Gi",
        ),
        (
            'pods "x" is forbidden: failed quota: q: must specify limits.cpu for: main',
            "quota",
            "the namespace's quota refuses its pod",
        ),
        (
            'pods "x" is forbidden: maximum memory usage per Container is 60Gi, but limit is 64Gi',
            "admission",
            "the namespace's LimitRange allows a container at most 60Gi of memory, and it asks for 64Gi",
        ),
        (
            'pods "x" is forbidden: minimum cpu usage per Container is 100m.  No request is specified',
            "admission",
            "the namespace's LimitRange allows a container no less than 100m of cpu, and it names none",
        ),
        (
            'pods "x" is forbidden: [cpu max limit to request ratio per Container is 4, but provided ratio is '
            "200.000000, cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000]",
            "admission",
            "LimitRange allows a container a cpu limit of at most 4 times its request, and it asks for 200",
        ),
        (
            'pods "x" is forbidden: [maximum cpu usage per Container is 2, but limit is 4, maximum memory usage per '
            "Pod is 8Gi, but limit is 9999999999, cpu max limit to request ratio per Container is 4, but provided "
            "ratio is 8.5]",
            "admission",
            "the namespace's LimitRange allows a container at most 2 of cpu, and it asks for 4; a pod at most 8Gi of "
            "memory, and it asks for 9999999999; a container a cpu limit of at most 4 times its request, and it asks "
            "for 8.5.",
        ),
        (
            'admission webhook "validate.kyverno.svc" denied the request: no latest tags',
            "admission",
            "the admission webhook validate.kyverno.svc refuses its pod: no latest tags",
        ),
        (
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too big",
            "admission",
            "the admission policy p refuses its pod: too big",
        ),
        (
            'pods "x" is forbidden: error looking up service account kubeflow/s: serviceaccount "s" not found',
            "missing",
            "there is no service account s",
        ),
        ("CreateContainerConfigError: couldn't find key K in Secret kubeflow/s", "missing", "Secret s has no key K"),
        ('Unschedulable: 0/1 nodes are available: persistentvolumeclaim "c" not found.', "missing",
         "there is no PersistentVolumeClaim c"),
        ('pods "x" is forbidden: pod rejected: RuntimeClass "nvidia" not found', "runtime", "no RuntimeClass nvidia"),
        ("ErrImagePull: pull access denied, repository does not exist", "image", "the registry refuses access"),
        ('ImagePullBackOff: Back-off pulling image "registry/train:1": ErrImagePull: manifest unknown', "image",
         "its image registry/train:1 cannot be fetched: the registry has no such image"),
        ("InvalidImageName: couldn't parse image name", "image", "that is no name of an image"),
    ],
)  # fmt: skip
def test_who_refuses_a_pod_is_named_with_the_rule(said: str, kind: str, what: str) -> None:
    cause = waits(said)
    assert cause.kind == kind
    assert what in cause.sentence


def test_a_quota_that_others_use_up_only_needs_waiting_for() -> None:
    quota = "exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu={}, limited: {}"
    for used, most, again in (("2", "requests.nvidia.com/gpu=2", True), ("0", "requests.nvidia.com/gpu=0", False)):
        found = nodes(train=("Failed", f'pods "x" is forbidden: {quota.format(used, most)}'), conclude="Running")
        seen = why.Seen("r1", datetime.now(UTC), workflow={"metadata": {"name": "w"}, "status": {"nodes": found}})
        cause = why.cause(seen)
        assert cause
        assert (cause.kind, cause.again) == ("quota", again)


def test_amounts_are_read_and_doubled_in_their_own_unit() -> None:
    assert [bytes_of(text) for text in ("1Ki", "2G", "500m", "7", "none")] == [1024.0, 2e9, 0.5, 7.0, None]
    assert [doubled(text) for text in ("3Gi", "900Mi", "1.5G", "x")] == ["6Gi", "1800Mi", "3G", None]


def test_what_a_task_printed_last_is_told_from_what_started_it() -> None:
    log = (
        "[KFP Executor 2026-11-28 23:31:24,5 INFO]: Loading KFP component\n"
        "error: first\nerror: The store is away:\n  - it does not answer\n"
        "E1128 23:31:24.481126      14 launcher_v2.go:449] Component failed to execute successfully\n"
        "F1128 23:31:24.481126      14 main.go:59] failed to execute component: exit status 1\n"
    )
    assert last_error(log) == ["The store is away:", "  - it does not answer"]
    assert last_of_go(log) == "failed to execute component: exit status 1"
    trace = 'Traceback (most recent call last):\n  File "x"\nsightline.errors.Odd: no\nKeyError: "x"\n'
    assert last_error(trace) == ['KeyError: "x"']
    assert last_error("KeyError: not an end\n") == []
    assert re.search("status", last_of_go(log))
