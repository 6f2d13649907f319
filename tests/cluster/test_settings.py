"""What an administrator has not done yet, and what GPUs need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.helpers import cluster_gpus
from tests.helpers.cluster import ROOT, SMALL, Cluster, Run, overrides, wait
from tests.helpers.cluster_gpus import GPU

POOL = "sightline.ml/tests"


def test_without_settings_validate_says_so_at_once_and_the_run_has_its_page(unconfigured: Run) -> None:
    run = unconfigured
    assert (run.ended["state"], run.exit_code) == ("FAILED", 1)
    states = {name: task.state for name, task in run.tasks().items()}
    assert states == {"validate": "failed", "gate": "skipped", "conclude": "done"}
    (log,) = run.ended["logs"]
    text = "\n".join(log["lines"])
    assert "SIGHTLINE_STORE" in text
    assert "MLFLOW_TRACKING_URI" in text
    assert "ConfigMap" in text
    assert "SIGHTLINE_STORE" in run.artifact("conclude", "final_report").decode()


@pytest.fixture(scope="module")
def gpu_node(ready: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that claims a GPU, the policy that gives its tasks NVIDIA's runtime, and a quota that allows one."""
    groups = ready.kubectl("api-versions").split()
    versions = [name for name in ("v1", "v1beta1") if f"admissionregistration.k8s.io/{name}" in groups]
    kinds = ready.kubectl("api-resources", "-o", "name")
    if "mutatingadmissionpolicies" not in kinds:
        pytest.skip("this cluster has no MutatingAdmissionPolicy")
    version = ready.kubectl("explain", "mutatingadmissionpolicies").split("VERSION:")[1].split()[0]
    assert version in versions
    folder = tmp_path_factory.mktemp("overlay")
    names = ["gpu"] if version == "v1" else ["gpu", "gpu-v1beta1"]
    components = [os.path.relpath(ROOT / "manifests" / "components" / name, folder.resolve()) for name in names]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"components": components}))
    policy = ready.rendered(folder)
    name = cluster_gpus.a_node(ready)
    ready.apply(policy)
    ready.kubectl("label", "node", name, f"{POOL}=gpu", "--overwrite")
    try:
        with cluster_gpus.claimed(ready, name), cluster_gpus.allowed(ready):
            yield name
    finally:
        ready.kubectl("label", "node", name, f"{POOL}-")
        ready.remove(policy)


def test_gpus_selector_tolerations_and_runtime_arrive_on_train_alone(ready: Cluster, gpu_node: str) -> None:
    """The node has neither GPU nor runtime, so the pod never starts: what it asks for is what counts."""
    run = ready.submit(
        "gpus", train_gpus="1", train_node_selector=json.dumps({POOL: "gpu"}), train_seed="7",
        overrides=overrides(train__epochs=1), **SMALL,
    )  # fmt: skip
    wait(lambda: run.stage_pod("train") is not None, "a pod of train")
    pods = {pod["metadata"]["labels"].get("sightline.ml/stage", ""): pod["spec"] for pod in run.pods()}
    ready.server.terminate(run.run_id)
    train = pods.pop("train")
    (main,) = [each for each in train["containers"] if each["name"] == "main"]
    assert main["resources"]["limits"][GPU] == "1"
    assert train["nodeSelector"] == {POOL: "gpu"}
    assert train["runtimeClassName"] == "nvidia"
    assert asked(train) == [(GPU, "Exists", "NoSchedule")]
    assert len(pods) >= 2
    for name, spec in pods.items():
        assert (spec.get("nodeSelector"), spec.get("runtimeClassName"), asked(spec)) == (None, None, []), name
        assert all(GPU not in each["resources"].get("limits", {}) for each in spec["containers"]), name
    assert run.ended["state"] == "FAILED"
    assert run.exit_code == 1


def asked(spec: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The tolerations that the pod's author set: Kubernetes adds two of its own."""
    own = [each for each in spec.get("tolerations", []) if not each["key"].startswith("node.kubernetes.io/")]
    return [(each["key"], each["operator"], each.get("effect", "")) for each in own]
