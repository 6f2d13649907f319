"""The service that starts runs: as its manifest starts it, with what `make trigger` gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3
import yaml

from pipelines.compile import compiled
from pipelines.options import HOUR, Options
from sightline.runtime import kfp_server
from tests.helpers.manifests import ROOT, Objects, container, named, rendered, tool
from tests.helpers.servers import free_port, wait_until

COMPONENTS = ROOT / "manifests" / "components"


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """Base with the component."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    text = {
        "resources": [os.path.relpath(ROOT / "manifests" / "base", folder)],
        "components": [os.path.relpath(COMPONENTS / "trigger", folder)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return rendered(folder)


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A folder with what is in the ConfigMap."""
    triggers, pipeline = tmp_path / "triggers.yaml", tmp_path / "compiled.yaml"
    triggers.write_text((ROOT / "pipelines" / "triggers.yaml").read_text().replace("enabled: false", "enabled: true"))
    pipeline.write_text(compiled(Options(deadline=HOUR)))
    done = subprocess.run(
        [ROOT / "manifests" / "trigger.sh", triggers, pipeline],
        env={"PATH": os.environ["PATH"], "KUBECTL": tool("kubectl"), "PRINT": "1", "NAMESPACE": "team"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert (made["kind"], made["metadata"]["name"], made["metadata"]["namespace"]) == (
        "ConfigMap", "sightline-trigger", "team",
    )  # fmt: skip
    folder = tmp_path / "etc"
    folder.mkdir()
    for name, text in made["data"].items():
        (folder / name).write_text(text)
    return folder


def test_it_starts_by_its_manifest_and_answers_its_probes(objects: Objects, declared: Path, tmp_path: Path) -> None:
    found = container(objects, "Deployment", "sightline-trigger")
    port, answers = free_port(), {}
    changes = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=8080": f"--port={port}"}
    arguments = [changes.get(each, each.replace("/etc/sightline", str(declared))) for each in found["args"]]
    settings = named(objects, "ConfigMap", "sightline")["data"] | {"KFP_ENDPOINT": "http://127.0.0.1:1"}
    secret = {each["name"]: "a-secret" for each in found["env"] if "valueFrom" in each}
    assert set(secret) == {"SIGHTLINE_TRIGGER_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    images = ",".join(f"r/sightline-{name}:1" for name in ("data", "train", "infer"))
    log = tmp_path / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *found["command"], *arguments],
            env={**os.environ, **settings, **secret, "SIGHTLINE_IMAGES": images},
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        wait_until(lambda: "Trying again." in log.read_text(), process, seconds=60, log=log)
        for probe in ("livenessProbe", "readinessProbe"):
            path = found[probe]["httpGet"]["path"]
            answers[probe] = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", retries=False).status
    finally:
        process.kill()
        process.wait()
    assert answers == {"livenessProbe": 200, "readinessProbe": 503}  # no server of Kubeflow Pipelines is there
    assert "a-secret" not in log.read_text()


def test_its_token_for_a_server_of_several_users_lies_where_it_is_read(objects: Objects) -> None:
    pod = named(objects, "Deployment", "sightline-trigger")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "token"]
    (source,) = volume["projected"]["sources"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "token"]
    assert Path(mount["mountPath"], source["serviceAccountToken"]["path"]) == kfp_server.MOUNTED
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"


def test_two_never_run_at_a_time(objects: Objects) -> None:
    spec = named(objects, "Deployment", "sightline-trigger")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
