"""`sightline cluster check` on a real cluster: what stands in a run's way there, by name, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.cluster import ROOT, SIGHTLINE, Cluster, wait

GPU = "nvidia.com/gpu"
COMPONENT = ROOT / "manifests" / "components" / "cluster-check"
WATCHER = "sightline-check-tests"  # a service account with few rights


def check(cluster: Cluster, *arguments: str, **environment: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code of a check, and level and words of its findings by check."""
    done = cluster.sightline("cluster", "check", "--json", *arguments, **environment)
    assert done.stdout, done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for each in json.loads(done.stdout)["checks"]:
        found.setdefault(each["check"], []).append((each["level"], each["words"]))
    assert jobs(cluster) == []
    return done.returncode, found


def jobs(cluster: Cluster) -> list[str]:
    """The Jobs of checks that are there."""
    return cluster.kubectl("get", "jobs", "-l", "sightline.ml/check", "-o", "name").split()


def words(found: dict[str, list[tuple[str, str]]], name: str, level: str = "problem") -> str:
    """What a check says at a level."""
    assert name in found, found
    told = [text for given, text in found[name] if given == level]
    assert told, found
    return "\n".join(told)


@contextlib.contextmanager
def applied(cluster: Cluster, *objects: dict[str, Any]) -> Iterator[None]:
    cluster.apply(list(objects))
    try:
        yield
    finally:
        cluster.remove(list(objects))


@pytest.fixture(scope="module")
def node(ready: Cluster) -> str:
    (found, *_) = json.loads(ready.kubectl("get", "nodes", "-o", "json"))["items"]
    return str(found["metadata"]["name"])


def patched(cluster: Cluster, node: str, what: str, count: str) -> None:
    """Let a node claim GPUs, or no longer."""
    patch = [{"op": what, "path": f"/status/capacity/{GPU.replace('/', '~1')}", "value": count}]
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def test_a_cluster_that_is_set_up_has_no_problem_seen_from_outside_and_inside(ready: Cluster) -> None:
    began = time.monotonic()
    code, found = check(ready, "--outside", "--param", "preset=quickstart")
    assert time.monotonic() - began < 60  # 15 for the questions
    assert code == 0, found
    code, found = check(ready, "--param", "preset=quickstart")
    assert code == 0, found
    assert words(found, "pod security", "ok").endswith("the level restricted")
    assert words(found, "store", "ok") == f"{ready.at.store}: written, listed, read and deleted"
    for name in (
        "kfp",
        "kubernetes",
        "namespace",
        "account",
        "clock",
        "tracking",
        "rights",
        "quota",
        "limits",
        "nodes",
    ):
        assert {level for level, _ in found[name]} == {"ok"}, found[name]
    assert ready.at.s3["AWS_SECRET_ACCESS_KEY"] not in json.dumps(found)


def test_gpus_that_no_node_has_and_a_quota_of_none_are_named_together(ready: Cluster, node: str) -> None:
    arguments = ("--outside", "--param", "train_gpus=1", "--param", "train_cpu=1", "--param", "train_memory=1Gi")
    code, found = check(ready, *arguments)
    assert code == 2
    assert f"without any {GPU}" in words(found, "nodes")
    assert f"1 of requests.{GPU} (train_gpus) are more than the 0 of the ResourceQuota sightline" in words(
        found, "quota"
    )
    done = ready.sightline("submit", "--param", "train_gpus=1")
    assert done.returncode == 2
    assert f"without any {GPU}" in done.stderr
    patched(ready, node, "add", "1")
    try:
        wait(lambda: f"without any {GPU}" not in json.dumps(check(ready, *arguments)[1]), "the node claims a GPU", 60)
        user = {"image": "registry.invalid/x:1", "name": "x", "resources": {"limits": {GPU: "1"}}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "uses-the-gpu"}, "spec": {"containers": [user]}}
        ready.kubectl("apply", "--namespace=default", "-f", "-", stdin=json.dumps(pod))
        wait(lambda: "default/uses-the-gpu" in json.dumps(check(ready, *arguments)[1]), "the GPU is in use", 60)
        told = words(check(ready, *arguments)[1], "nodes", "warning")
        assert f"{node} has 0 of 1 {GPU} free, used by default/uses-the-gpu" in told
    finally:
        ready.kubectl("delete", "pod", "uses-the-gpu", "--namespace=default", "--ignore-not-found", "--wait=false")
        patched(ready, node, "remove", "1")


def test_a_selector_that_fits_none_and_too_much_memory_are_named(ready: Cluster) -> None:
    arguments = ("--param", 'train_node_selector={"gpu": "a100"}', "--param", "train_memory=900Gi")
    code, found = check(ready, "--outside", *arguments)
    assert code == 2
    told = words(found, "nodes")
    assert "1 without the label gpu=a100" in told
    assert "of memory at most" in told
    assert "900Gi of memory (train_memory)" in told


def test_a_taint_is_named_from_outside_and_by_the_pod_that_no_node_takes(ready: Cluster, node: str) -> None:
    ready.kubectl("taint", "node", node, "sightline.ml/tests=here:NoSchedule")
    try:
        code, found = check(ready, "--wait", "10s")
    finally:
        ready.kubectl("taint", "node", node, "sightline.ml/tests-")
    assert code == 2
    assert "with the taint sightline.ml/tests=here:NoSchedule, which it does not tolerate" in words(found, "nodes")
    assert "Unschedulable: 0/1 nodes are available" in words(found, "pod")


def test_limits_and_a_quota_that_is_used_up_are_named(ready: Cluster) -> None:
    rules = [{"type": "Container", "max": {"memory": "2Gi"}, "maxLimitRequestRatio": {"cpu": "4"}}]
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "tests"}, "spec": {"limits": rules}}
    with applied(ready, limits):
        code, found = check(ready, "--outside")
    assert code == 2
    told = words(found, "limits")
    assert "train: 3Gi of memory (train_memory) are more than the maximum 2Gi for a container of the LimitRange" in told
    assert "validate: its limit of cpu, 4, is 8 times its request 500m, more than the ratio 4" in told
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tests"},
        "spec": {"hard": {"pods": "0"}},
    }
    with applied(ready, quota):
        wait(lambda: "tests" in json.dumps(check(ready, "--outside")[1].get("quota")), "the quota is counted", 30)
        code, found = check(ready, "--wait", "30s")
    assert code == 2
    assert "are more than the 0 of the ResourceQuota tests" in words(found, "quota")
    assert "FailedCreate" in words(found, "pod")
    assert "exceeded quota: tests" in words(found, "pod")


def test_a_key_that_is_missing_is_named_by_the_pod(ready: Cluster) -> None:
    key = "AWS_SECRET_ACCESS_KEY"
    ready.kubectl(
        "patch", "secret", "sightline-s3", "--type=json", "-p", f'[{{"op": "remove", "path": "/data/{key}"}}]'
    )
    try:
        code, found = check(ready)
    finally:
        value = {"stringData": {key: ready.at.s3[key]}}
        ready.kubectl("patch", "secret", "sightline-s3", "-p", json.dumps(value))
    assert code == 2
    assert f"the Secret sightline-s3 has no key {key}" in words(found, "secrets")
    assert f"set {key}" in words(found, "store")


def test_an_image_that_is_nowhere_is_named(ready: Cluster) -> None:
    images = ready.at.images.split(",")
    images = ["registry.invalid/sightline-data:gone" if "sightline-data" in image else image for image in images]
    code, found = check(ready, SIGHTLINE_IMAGES=",".join(images))
    assert code == 2
    told = words(found, "pod")
    assert "registry.invalid/sightline-data:gone: its pod has not started" in told
    assert "ErrImagePull" in told


def test_an_account_with_less_rights_is_told_what_it_may_not_see(ready: Cluster, tmp_path: Path) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": WATCHER}}
    with applied(ready, account):
        given = {"KUBECONFIG": kubeconfig(ready, tmp_path)}
        code, found = check(ready, **given)
        assert code == 0, found
        assert words(found, "nodes", "unknown") == "not checked: you may not list nodes"
        assert words(found, "limits", "unknown").startswith("not checked: you may not list limitranges in")
        assert words(found, "pod", "unknown").startswith("nothing was asked from inside: you may not ")
        assert words(found, "kfp", "ok")
        role = [rebound(each, ready.at.namespace) for each in ready.rendered(component(tmp_path))]
        with applied(ready, *role):
            wait(lambda: words_or_none(check(ready, "--outside", **given)[1], "nodes"), "the rights are given", 30)
            code, found = check(ready, "--param", "preset=quickstart", **given)
        assert code == 0, found
        hidden = {name for name, lines in found.items() for level, _ in lines if level == "unknown"}
        assert hidden <= {"images"}, found  # nothing else is hidden


def component(folder: Path) -> Path:
    """A kustomization of the component alone, in the namespace of runs."""
    text = {"components": [os.path.relpath(COMPONENT, folder.resolve())]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def rebound(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Bind to the account of these tests what the component gives to a group."""
    who = [{"kind": "ServiceAccount", "name": WATCHER, "namespace": namespace}]
    return item | {"subjects": who} if "subjects" in item else item


def words_or_none(found: dict[str, list[tuple[str, str]]], name: str) -> bool:
    return any(level == "ok" for level, _ in found.get(name, []))


def kubeconfig(cluster: Cluster, folder: Path) -> str:
    """A kubeconfig of that account."""
    view = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    token = cluster.kubectl("create", "token", WATCHER, "--duration=1h").strip()
    view["users"] = [{"name": view["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(view))
    return str(path)


def test_a_check_that_is_interrupted_leaves_nothing(ready: Cluster, node: str) -> None:
    ready.kubectl("taint", "node", node, "sightline.ml/tests=here:NoSchedule")
    try:
        process = subprocess.Popen(
            [*SIGHTLINE, "cluster", "check"], env=ready.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait(lambda: bool(jobs(ready)), "the check's Job", 60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        ready.kubectl("taint", "node", node, "sightline.ml/tests-")
    assert process.returncode == 130
    assert jobs(ready) == []
    wait(lambda: not ready.pods("sightline.ml/check"), "the pod is gone", 60)
