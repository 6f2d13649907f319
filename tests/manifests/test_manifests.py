"""What the manifests install: rights, network, settings, and patches of what KFP and Argo run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from sightline.cluster.ranks import NEEDED
from tests.helpers.manifests import ROOT, Objects, container, named, rendered

MANIFESTS = ROOT / "manifests"
OVERLAYS = ("cpu", "gpu")


def kustomized(folder: Path, resources: list[Path], components: list[str]) -> Objects:
    """Render these resources with these components."""
    text = {
        "namespace": "kubeflow",
        "resources": [os.path.relpath(each, folder) for each in resources],
        "components": [os.path.relpath(MANIFESTS / "components" / each, folder) for each in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return rendered(folder)


def test_the_account_may_do_what_kfp_and_argo_do_in_a_pod_and_no_more() -> None:
    role = named(rendered(MANIFESTS / "base"), "Role", "sightline")
    assert {(*rule["resources"], *rule.get("resourceNames", []), *rule["verbs"]) for rule in role["rules"]} == {
        ("workflowtaskresults", "create", "patch"),
        ("workflows", "get"),
        ("pods", "get"),
        ("configmaps", "kfp-launcher", "get"),
        ("secrets", "mlpipeline-minio-artifact", "get"),
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_the_manifests(overlay: str) -> None:
    assert {each["kind"] for each in rendered(MANIFESTS / "overlays" / overlay)} & {"Secret"} == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_task_finds_store_tracking_and_kfp_in_the_config_map(overlay: str) -> None:
    assert named(rendered(MANIFESTS / "overlays" / overlay), "ConfigMap", "sightline")["data"] == {
        "AWS_REGION": "us-east-1",
        "KFP_ENDPOINT": "http://ml-pipeline.kubeflow.svc.cluster.local:8888",
        "MLFLOW_TRACKING_URI": "http://sightline-mlflow:5000",
        "SIGHTLINE_S3_ENDPOINT": "http://seaweedfs.kubeflow:9000",
        "SIGHTLINE_STORE": "s3://sightline/store",
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_pods_of_our_tasks_are_kept_from_connecting(overlay: str) -> None:
    policies = [each["spec"] for each in rendered(MANIFESTS / "overlays" / overlay) if each["kind"] == "NetworkPolicy"]
    outward = [each for each in policies if "Egress" in each["policyTypes"]]
    ours = {"matchExpressions": [{"key": "sightline.ml/stage", "operator": "Exists"}]}
    assert [each["podSelector"] for each in outward] == [ours] * 3
    ports = {port["port"] for each in outward for rule in each["egress"] for port in rule["ports"]}
    assert ports == {53, 5353, 443, 6443, 8887, 8888, 8080, 8333, 9000, 5000}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_names_its_version(overlay: str) -> None:
    objects = rendered(MANIFESTS / "overlays" / overlay)
    for kind, name in (("Deployment", "mlflow"), ("StatefulSet", "postgres"), ("Job", "bucket")):
        image = container(objects, kind, f"sightline-{name}")["image"]
        assert image.rpartition(":")[2] not in {image, "latest"}


def test_several_nodes_bring_the_least_rights_and_let_the_nodes_reach_each_other_alone(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, [MANIFESTS / "base"], ["several-nodes"])
    role = named(objects, "Role", "sightline-several-nodes")
    allowed = {(verb, kind) for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]}
    assert allowed == {(verb, kind) for verb, kind, _ in NEEDED}
    policy = named(objects, "NetworkPolicy", "sightline-several-nodes")["spec"]
    nodes = {"matchExpressions": [{"key": "sightline.ml/stage", "operator": "In", "values": ["train", "rank"]}]}
    assert policy["podSelector"] == nodes
    assert policy["ingress"] == [{"from": [{"podSelector": nodes}]}]
    assert policy["egress"] == [{"to": [{"podSelector": nodes}]}]


def test_base_and_components_name_no_version() -> None:
    for path in [*MANIFESTS.glob("base/*.yaml"), *MANIFESTS.glob("components/*/*.yaml")]:
        lines = [line.split("#")[0].split() for line in path.read_text().splitlines()]
        images = [words[-1] for words in lines if "image:" in words]
        assert [image for image in images if ":" in image or "@" in image] == [], path


THEIRS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers: [{name: CONTAINER, image: theirs, env: [{name: THEIRS, value: kept}]}]
"""


@pytest.mark.parametrize(
    ("component", "deployment", "name", "variable", "value"),
    [
        (
            "kfp-retry",
            "ml-pipeline",
            "ml-pipeline-api-server",
            "COMPILED_PIPELINE_SPEC_PATCH",
            '{"templateDefaults":{"retryStrategy":{"limit":"0","retryPolicy":"Always"}}}',
        ),
        ("argo-requeue", "workflow-controller", "workflow-controller", "DEFAULT_REQUEUE_TIME", "1s"),
        ("trigger-seaweedfs", "seaweedfs", "seaweedfs", "WEED_NOTIFICATION_WEBHOOK_ENABLED", "true"),
    ],
)
def test_a_patch_adds_its_variable_to_what_kfp_and_argo_run(
    component: str, deployment: str, name: str, variable: str, value: str, tmp_path: Path
) -> None:
    (tmp_path / "theirs.yaml").write_text(THEIRS.replace("NAME", deployment).replace("CONTAINER", name))
    patched = container(kustomized(tmp_path, [tmp_path / "theirs.yaml"], [component]), "Deployment", deployment)
    values = {each["name"]: each.get("value") for each in patched["env"]}
    assert (values["THEIRS"], values[variable]) == ("kept", value)


def test_the_policy_for_gpus_has_a_form_for_older_clusters(tmp_path: Path) -> None:
    for components, version in ((["gpu"], "v1"), (["gpu", "gpu-v1beta1"], "v1beta1")):
        objects = kustomized(tmp_path, [MANIFESTS / "base"], components)
        policies = [each for each in objects if each["kind"].startswith("MutatingAdmissionPolicy")]
        assert {each["apiVersion"] for each in policies} == {f"admissionregistration.k8s.io/{version}"}
        assert len(policies) == 2


def test_minio_takes_the_place_of_seaweedfs(tmp_path: Path) -> None:
    objects = kustomized(tmp_path, [MANIFESTS / "base"], ["bucket-minio", "mlflow"])
    settings = named(objects, "ConfigMap", "sightline")["data"]
    assert settings["SIGHTLINE_S3_ENDPOINT"] == "http://minio.minio:9000"
    assert [each["port"] for each in _to(objects, "sightline-tasks-minio")] == [9000]


def _to(objects: Objects, policy: str) -> list[dict[str, int]]:
    (rule,) = named(objects, "NetworkPolicy", policy)["spec"]["egress"]
    ports: list[dict[str, int]] = rule["ports"]
    return ports
