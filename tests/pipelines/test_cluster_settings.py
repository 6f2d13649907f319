"""What the compiled pipeline asks of a cluster, task by task."""
# KFP reads the types of a component: no `from __future__ import annotations`

from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from pipelines import resources
from sightline.config.cluster_values import amount
from sightline.orchestrate.images import pipeline_file
from tests.helpers.pipeline_spec import Compiled

ROOT = Path(__file__).parents[2]
HOUR = 3600
CHANNEL = "{{{{$.inputs.parameters['pipelinechannel--train_{}']}}}}"
# CPUs reserved and at most, memory, seconds of an attempt, repetitions and the seconds for all of them, size of /tmp
FROZEN: dict[str, tuple[str, str, str, int, tuple[int, int], str]] = {
    "validate": ("500m", "4", "2Gi", 6 * HOUR, (1, 43220), "20Gi"),
    "gate": ("200m", "1", "512Mi", HOUR, (2, 10860), "1Gi"),
    "train": (CHANNEL.format("cpu"), CHANNEL.format("cpu"), CHANNEL.format("memory"), 72 * HOUR, (3, 1036960), "20Gi"),
    "export": ("500m", "4", "3Gi", 2 * HOUR, (2, 21660), "20Gi"),
    "evaluate": ("500m", "4", "3Gi", 6 * HOUR, (2, 64860), "20Gi"),
    "sample": ("500m", "4", "2Gi", 2 * HOUR, (2, 21660), "20Gi"),
    "report": ("200m", "2", "1Gi", 2 * HOUR, (2, 21660), "20Gi"),
    "verdict": ("200m", "1", "512Mi", HOUR, (2, 10860), "1Gi"),
    "register": ("200m", "2", "2Gi", 2 * HOUR, (2, 21660), "20Gi"),
    "refuse": ("200m", "1", "512Mi", HOUR, (0, 0), "1Gi"),
    "conclude": ("200m", "2", "1Gi", 2 * HOUR, (2, 21660), "20Gi"),
}


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return Compiled(pipeline_file().read_text(encoding="utf-8"))


def test_every_task_asks_for_what_was_agreed(compiled: Compiled) -> None:
    assert set(FROZEN) == set(resources.TABLE)
    assert set(compiled.containers) == set(compiled.pods) == set(compiled.tasks) == set(FROZEN)
    for stage, pod in compiled.pods.items():
        asked = compiled.containers[stage]["resources"]
        retry = compiled.tasks[stage].get("retryPolicy", {})
        assert asked["resourceMemoryRequest"] == asked["resourceMemoryLimit"], stage
        volumes = {volume.mount_path: (volume.medium, volume.size_limit) for volume in pod.empty_dir_mounts}
        assert (
            asked["resourceCpuRequest"],
            asked["resourceCpuLimit"],
            asked["resourceMemoryLimit"],
            pod.active_deadline_seconds,
            (retry.get("maxRetryCount", 0), int(retry.get("backoffMaxDuration", "0s")[:-1])),
            volumes["/tmp"][1],
        ) == FROZEN[stage], stage
        assert volumes.keys() - {"/tmp"} == ({"/dev/shm"} if stage == "train" else set())
        assert [*pod.pvc_mount] == [*pod.image_pull_secret] == []


def test_only_train_can_get_gpus_chosen_nodes_and_shared_memory(compiled: Compiled) -> None:
    for stage, pod in compiled.pods.items():
        accelerator = compiled.containers[stage]["resources"].get("accelerator", {})
        if stage != "train":
            assert (accelerator, [*pod.tolerations], pod.HasField("node_selector")) == ({}, [], False)
            continue
        assert accelerator["resourceType"] == "nvidia.com/gpu"
        assert accelerator["resourceCount"] == CHANNEL.format("gpus")
        (toleration,) = pod.tolerations
        assert toleration.HasField("toleration_json")
        assert pod.node_selector.HasField("node_selector_json")
        (shared,) = [volume for volume in pod.empty_dir_mounts if volume.mount_path == "/dev/shm"]
        assert (shared.medium, shared.size_limit) == ("Memory", "2056Mi")


def test_every_task_takes_settings_and_secrets_that_may_be_missing_and_runs_without_root(compiled: Compiled) -> None:
    for stage, pod in compiled.pods.items():
        (settings,) = pod.config_map_as_env
        assert (settings.config_map_name, settings.optional) == ("sightline", True)
        assert [key.env_var for key in settings.key_to_env] == list(resources.SETTINGS)
        found = {secret.secret_name: [key.env_var for key in secret.key_to_env] for secret in pod.secret_as_env}
        assert found == {secret: list(names) for secret, names in resources.SECRETS.items()}
        assert all(secret.optional for secret in pod.secret_as_env)
        assert pod.security_context.run_as_non_root
        assert not pod.security_context.HasField("run_as_user"), "OpenShift gives its own"
        assert "env" not in compiled.containers[stage], "it would replace the environment of a run on one machine"


def test_pods_say_what_they_are_and_know_their_run(compiled: Compiled) -> None:
    undisturbed = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    annotations = {"train": undisturbed, "validate": {"sightline.ml/train-shm": "2056Mi"}}
    shm = {"SIGHTLINE_TRAIN_SHM": "metadata.annotations['sightline.ml/train-shm']"}
    for stage, pod in compiled.pods.items():
        assert dict(pod.pod_metadata.labels) == {"sightline.ml/stage": stage}
        assert dict(pod.pod_metadata.annotations) == annotations.get(stage, {})
        fields = {field.name: field.field_path for field in pod.field_path_as_env}
        run = {"SIGHTLINE_RUN_ID": "metadata.labels['pipeline/runid']"}
        assert fields == (run | shm if stage == "validate" else run)
    config = compiled.platform.platforms["kubernetes"].pipelineConfig
    assert (config.resource_ttl_on_completion, config.active_deadline_seconds) == (24 * HOUR, 0)


def test_every_input_of_a_task_is_declared_by_the_group_around_it(compiled: Compiled) -> None:
    assert compiled.miswired() == []


def test_a_parameter_that_only_a_setter_uses_is_found(tmp_path: Path) -> None:
    """On a cluster it fails when the task is to start, though it compiles, uploads and runs locally."""

    @dsl.component(base_image="x", install_kfp_package=False)
    def step() -> str:
        return "a"

    @dsl.pipeline(name="small")
    def small(cpu: str = "1", labels: dict = {}) -> None:  # type: ignore[type-arg]  # noqa: B006
        first = step()
        with dsl.If(first.output == "a"):
            second = step()
            second.set_cpu_limit(cpu)
            kubernetes.add_node_selector_json(second, labels)
            kubernetes.set_timeout(second, 1)

    path = tmp_path / "small.yaml"
    compiler.Compiler().compile(small, str(path))
    assert any("cpu, which its group does not declare" in problem for problem in Compiled(path.read_text()).miswired())


def test_choices_are_what_the_api_server_and_the_form_can_read(compiled: Compiled) -> None:
    parameters = compiled.spec.root.input_definitions.parameters
    few = {name: [*parameter.literals] for name, parameter in parameters.items() if parameter.literals}
    assert set(few) == {"data_format", "data_policy", "gpu_tier", "preset", "retrain"}
    for name, literals in few.items():
        assert {literal.WhichOneof("kind") for literal in literals} == {"string_value"}, "the type of the parameter"
        assert parameters[name].default_value in literals, "the form shows nothing otherwise"
        assert len({literal.string_value for literal in literals}) == len(literals)


def manifests() -> list[dict[str, Any]]:
    found = []
    for path in (ROOT / "manifests").rglob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            patches = document.get("patches", []) if isinstance(document, dict) else []
            found += [document, *(yaml.safe_load(patch["patch"]) for patch in patches if "patch" in patch)]
    return [document for document in found if isinstance(document, dict)]


def test_the_manifests_set_what_tasks_read() -> None:
    base = [yaml.safe_load_all(path.read_text()) for path in (ROOT / "manifests" / "base").glob("*.yaml")]
    (settings,) = [each for documents in base for each in documents if each["kind"] == "ConfigMap"]
    assert settings["metadata"]["name"] == resources.CONFIG_MAP
    assert set(settings["data"]) <= set(resources.SETTINGS)
    made = (ROOT / "manifests" / "secrets.sh").read_text(encoding="utf-8")
    assert all(secret in made for secret in resources.SECRETS)


def test_the_manifests_let_a_task_fill_the_disk_that_it_may() -> None:
    limits = [
        limit["default"]["ephemeral-storage"]
        for document in manifests()
        if document.get("kind") == "LimitRange"
        for limit in document["spec"]["limits"]
    ]
    assert len(limits) >= 2, "of the base and of an overlay"
    most = max(amount(row.disk) or 0 for row in resources.TABLE.values())
    assert all((amount(limit) or 0) >= most for limit in limits), limits
