"""What the compiled pipeline asks of a cluster, task by task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines import resources
from sightline.orchestrate.images import pipeline_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def platform() -> dict[str, Any]:
    spec, platform = yaml.safe_load_all(pipeline_file().read_text(encoding="utf-8"))
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())  # refuses a field that KFP does not know
    return dict(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"])


def test_every_task_takes_settings_and_secrets_that_may_be_missing_and_runs_without_root(
    platform: dict[str, Any],
) -> None:
    assert {name.removeprefix("exec-") for name in platform} == set(resources.TABLE)
    for name, executor in platform.items():
        parsed = json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        (settings,) = parsed.config_map_as_env
        assert (settings.config_map_name, settings.optional) == ("sightline", True)
        assert [key.env_var for key in settings.key_to_env] == list(resources.SETTINGS)
        found = {secret.secret_name: [key.env_var for key in secret.key_to_env] for secret in parsed.secret_as_env}
        assert found == {secret: list(names) for secret, names in resources.SECRETS.items()}
        assert all(secret.optional for secret in parsed.secret_as_env)
        assert dict(parsed.pod_metadata.labels) == {"sightline.ml/stage": name.removeprefix("exec-")}
        assert parsed.security_context.run_as_non_root
        assert not parsed.security_context.HasField("run_as_user"), "OpenShift gives its own"


def test_the_manifests_set_what_tasks_read(platform: dict[str, Any]) -> None:
    documents = [
        document
        for path in (ROOT / "manifests" / "base").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    (settings,) = [each for each in documents if each["kind"] == "ConfigMap"]
    assert settings["metadata"]["name"] == resources.CONFIG_MAP
    assert set(settings["data"]) <= set(resources.SETTINGS)
    made = (ROOT / "manifests" / "secrets.sh").read_text(encoding="utf-8")
    assert all(secret in made for secret in resources.SECRETS)
