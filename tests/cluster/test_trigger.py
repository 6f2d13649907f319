"""New data in the bucket starts one run, whatever happens to the service."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compile import compiled
from pipelines.options import HOUR, Options
from sightline.orchestrate.kfp_api import OVER
from tests.helpers.cluster import ROOT, Cluster, wait

NAME = "sightline-trigger"


def trigger(cluster: Cluster) -> str:
    """The name of this session's trigger."""
    return f"incoming-{cluster.at.session[-6:]}"


@pytest.fixture
def watched(ready: Cluster, tmp_path: Path) -> Iterator[str]:
    """The prefix that the service watches: it runs, as its manifest starts it, from the same images as the tasks."""
    prefix = f"{ready.at.session}/incoming"
    objects = installed(ready, tmp_path)
    try:
        declare(ready, tmp_path, f"s3://{ready.at.bucket}/{prefix}")
        ready.apply(objects)
        yield prefix
    finally:
        ready.remove([*objects, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}}])


def installed(cluster: Cluster, folder: Path) -> list[dict[str, Any]]:
    """The objects of the component, and its Secret."""
    component = os.path.relpath(ROOT / "manifests" / "components" / "trigger", folder)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"components": [component]}))
    objects = cluster.rendered(folder)
    for each in objects:
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            container["image"] = next(image for image in cluster.at.images.split(",") if "sightline-data" in image)
            more = {"SIGHTLINE_IMAGES": cluster.at.images, "KFP_EXPERIMENT": cluster.at.experiment}
            container["env"] += [{"name": name, "value": value} for name, value in more.items()]
        elif each["kind"] == "NetworkPolicy":
            port = int(cluster.at.s3_of_pods.rpartition(":")[2].strip("/"))
            each["spec"]["egress"][0]["ports"].append({"port": port, "protocol": "TCP"})
    data = {"SIGHTLINE_TRIGGER_TOKEN": "a-secret-of-the-tests"}
    return [*objects, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": data}]


def declare(cluster: Cluster, folder: Path, prefix: str) -> None:
    """What `make trigger` does."""
    declared = {"name": trigger(cluster), "prefix": prefix, "enabled": True, "quiet": "5s", "every": "10s"}
    (folder / "triggers.yaml").write_text(
        yaml.safe_dump({"triggers": [declared | {"parameters": {"preset": "quickstart"}}]})
    )
    (folder / "train.yaml").write_text(compiled(Options(deadline=HOUR)))
    subprocess.run(
        [ROOT / "manifests" / "trigger.sh", folder / "triggers.yaml", folder / "train.yaml"],
        env={**os.environ, "KUBECTL": "kubectl", "NAMESPACE": cluster.at.namespace}, check=True,
    )  # fmt: skip


def test_one_run_for_each_state_of_the_data_though_the_service_is_killed(
    ready: Cluster, watched: str, tmp_path: Path
) -> None:
    from sightline.datasets.synthetic import draw

    bad = draw(tmp_path / "bad")
    (bad / "labels" / "train" / "smear_train_003.txt").write_text("x 0.5 0.5 0.1 0.1\n")  # refused within a minute

    beginning = f"trigger-{trigger(ready)}-"

    def runs() -> list[Any]:
        return sorted(ready.server.runs_with(beginning), key=lambda run: run.created_at)

    wait(lambda: serving(ready), "the service is ready")
    ready.bucket.put_folder(bad, watched)
    wait(runs, "new data starts a run")
    ready.bucket.client.put_object(ready.bucket.name, f"{watched}/labels/train/more.txt", BytesIO(b""), 0)
    wait(lambda: f"waiting for the end of {beginning}" in log(ready), "data that changes during a run waits")
    ready.kubectl("delete", "pod", "-l", f"app.kubernetes.io/name={NAME}", "--force", "--grace-period=0")
    wait(lambda: len(runs()) == 2, "a run after the first one")
    wait(lambda: all(run.state in OVER for run in runs()), "both end")
    wait(lambda: "submitted as" in restarted(ready), "a restart finds what was submitted")
    followed = [ready.followed(run.display_name, run.run_id, {}) for run in runs()]
    assert [(run.summary["status"], run.summary["rejected_by"]) for run in followed] == [("rejected", "data")] * 2
    kept = json.loads(ready.bucket.read(f"{ready.at.session}/triggers/{trigger(ready)}.json"))
    assert (kept["run"], kept["run_id"]) == (followed[1].name, followed[1].run_id)
    assert followed[0].name != followed[1].name == f"{beginning}{kept['digest'][:12]}"


def serving(cluster: Cluster) -> bool:
    found = json.loads(cluster.kubectl("get", "deployment", NAME, "-o", "json"))
    return bool(found["status"].get("readyReplicas"))


def log(cluster: Cluster) -> str:
    """What the service has logged since it was started last."""
    running = cluster.pods(f"app.kubernetes.io/name={NAME}")
    return "".join(cluster.kubectl("logs", pod["metadata"]["name"]) for pod in running if _started(pod))


def restarted(cluster: Cluster) -> str:
    """Start it again, wait until it has looked, and return its log."""
    cluster.kubectl("rollout", "restart", f"deployment/{NAME}")
    cluster.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=300s")
    return log(cluster)


def _started(pod: dict[str, Any]) -> bool:
    return any(status.get("started") for status in pod["status"].get("containerStatuses", []))
