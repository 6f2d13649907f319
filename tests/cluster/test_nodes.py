"""Trainings on several nodes: the pod of train and a Job of the others, on one node of the cluster, without GPUs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compile import compiled
from pipelines.options import Options
from sightline.train.history import Measured
from tests.helpers.cluster import ROOT, Cluster, Run, overrides, wait
from tests.helpers.cluster_faults import run_out_of_memory, train_pod

EPOCHS = 8
TWO = {"train_nodes": "2", "train_cpu": "300m", "train_memory": "2Gi"}
WAIT = "SIGHTLINE_NODES_WAIT"


def equal(number: int, **more: Any) -> str:
    """Settings of trainings that compute the same, and that the store takes for different ones."""
    return overrides(train__epochs=EPOCHS, train__augment__mosaic=0, train__patience=100 + number, **more)


def ranks(run: Run, kind: str = "jobs,pods") -> list[str]:
    """What there is of the other nodes."""
    return run.cluster.kubectl("get", kind, "-l", f"sightline.ml/run={run.run_id}", "-o", "name").split()


def document(run: Run) -> dict[str, Any]:
    """Wait for the end of train, and return its document; what follows would only take time."""
    wait(
        lambda: run.tasks().get("train") is not None and run.tasks()["train"].state in ("done", "failed"), "train over"
    )
    left = json.loads(run.left("train.json"))["documents"]["train.json"]
    run.cluster.server.terminate(run.run_id)
    return dict(left)


def history(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What each epoch came to, without what it took."""
    took = {"seconds", *Measured.model_fields}
    return [{name: value for name, value in epoch.items() if name not in took} for epoch in found["history"]]


def weights(cluster: Cluster, run: Run) -> set[str]:
    """The digests that the processes printed of their weights."""
    record = json.loads(run.left("train.json"))
    (log,) = [file for name, file in record["files"].items() if name == "train.log"]
    text = cluster.bucket.read(log["uri"].removeprefix(f"s3://{cluster.at.bucket}/")).decode()
    return {line.split()[-1] for line in text.splitlines() if "ends with weights" in line}


@pytest.fixture(scope="module")
def unable(ready: Cluster) -> Run:
    """A run that was started before the component was installed."""
    return ready.submit("nodes without a role", **TWO, overrides=equal(0))


@pytest.fixture(scope="module")
def several(ready: Cluster, unable: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with the component."""
    assert unable.ended
    folder = tmp_path_factory.mktemp("several")
    component = os.path.relpath(ROOT / "manifests" / "components" / "several-nodes", folder.resolve())
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"components": [component]}))
    objects = ready.rendered(folder)
    ready.apply(objects)
    yield ready
    ready.remove(objects)


@pytest.fixture(scope="module")
def alone(several: Cluster) -> dict[str, Any]:
    """The training on one node with two processes."""
    run = several.submit("one node", train_cpu="600m", train_memory="3Gi", overrides=equal(1, train__cpu_processes=2))
    found = document(run)
    assert found["world_size"] == 2
    return found | {"digests": weights(several, run)}


def log_of(run: Run) -> str:
    pod = run.stage_pod("train")
    assert pod
    return run.cluster.kubectl("logs", pod["metadata"]["name"], "-c", "main")


def test_without_the_component_validate_ends_and_names_it(unable: Run) -> None:
    assert (unable.ended["state"], unable.exit_code) == ("FAILED", 2)
    message = unable.summary["error"]["message"]
    assert "may not create jobs, get jobs, list jobs, delete jobs, list pods" in message
    assert "Install the component several-nodes of manifests/" in message


def test_two_nodes_train_what_two_processes_of_one_do_and_leave_nothing(
    several: Cluster, alone: dict[str, Any]
) -> None:
    run = several.submit("two nodes", **TWO, overrides=equal(2))
    assert "training   2 nodes, together 0.6 CPUs, 4Gi" in several.sightline(
        "submit", "--dry-run", *(text for item in TWO.items() for text in ("--param", "=".join(item)))
    ).stdout  # fmt: skip
    run.wait_for_work("train", "epoch 2/")
    (pod,) = json.loads(several.kubectl("get", "pods", "-l", f"sightline.ml/run={run.run_id}", "-o", "json"))["items"]
    assert pod["metadata"]["labels"]["sightline.ml/stage"] == "rank"
    assert not [label for label in pod["metadata"]["labels"] if "argoproj" in label]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    found = document(run)
    assert (found["world_size"], len(found["attempts"])) == (2, 1)
    assert history(found) == history(alone)
    assert weights(several, run) == alone["digests"]
    log = log_of(run)
    assert "node 1: process 1 of 2: 9 batches an epoch" in log
    assert f"node 1: epoch {EPOCHS} has begun, memory" in log
    wait(lambda: not ranks(run), "nothing left")


def test_a_rank_that_is_deleted_is_replaced_and_the_training_goes_on(several: Cluster, alone: dict[str, Any]) -> None:
    run = several.submit("rank deleted", **TWO, overrides=equal(3))
    run.wait_for_work("train", "epoch 2/")
    (struck,) = ranks(run, "pods")
    several.kubectl("delete", struck, "--wait=false")
    found = document(run)
    lost, *_, last = found["attempts"]
    assert (lost["ending"], last["ending"]) == ("lost_peer", "finished")
    # By its name while it is there, which it is not for long.
    assert re.search(f"Its pod ({struck.removeprefix('pod/')}|is gone: it was deleted)", lost["reason"])
    assert last["resumed_from"] >= 2
    assert lost["epochs"] == last["resumed_from"]  # no epoch that was finished is lost
    assert history(found) == history(alone)
    assert weights(several, run) == alone["digests"]
    wait(lambda: not ranks(run), "nothing left")


def test_a_train_pod_that_is_killed_for_its_memory_goes_on_with_new_nodes(
    several: Cluster, alone: dict[str, Any]
) -> None:
    run = several.submit("node 0 out of memory", **TWO, overrides=equal(4))
    pod = run.wait_for_work("train", "epoch 3/")  # whose checkpoint may still be on its way to the store
    if "templateDefaults" not in str(several.server.workflow(run.run_id)):
        several.server.terminate(run.run_id)
        pytest.skip("the patch kfp-retry of manifests/ is not in force")
    before = set(ranks(run, "jobs"))
    assert before
    run_out_of_memory(several, pod["metadata"]["name"])
    train_pod(run, pod["metadata"]["uid"])
    wait(lambda: bool(set(ranks(run, "jobs")) - before), "another Job")
    assert not set(ranks(run, "jobs")) & before
    found = document(run)
    # The kernel may take the training before its supervisor: then that pod has another attempt, or the rest of one.
    first, *later = found["attempts"]
    assert (first["ending"], later[-1]["ending"]) == ("host_memory", "finished")
    assert later[-1]["machine"] != first["machine"]
    assert any("OOMKilled" in line for attempt in found["attempts"] for line in attempt["evidence"])
    assert any("images per pass 16 → 8" in words for words in later[0]["changed"])  # so the numbers differ from then on
    kept = later[0]["resumed_from"]
    assert kept >= 2
    assert history(found)[:kept] == history(alone)[:kept]
    assert len(found["history"]) == EPOCHS
    wait(lambda: not ranks(run), "nothing left")


def test_a_start_without_a_place_for_all_ends_with_the_schedulers_words(several: Cluster, tmp_path: Path) -> None:
    once = tmp_path / "once.yaml"
    once.write_text(compiled(Options(train_retries=0)))
    (node, *_) = json.loads(several.kubectl("get", "nodes", "-o", "json"))["items"]
    cpu = int(int(node["status"]["allocatable"]["cpu"]) * 550)  # one fits, two do not
    set_wait(several, "45")
    try:
        run = several.submit("no place for two", **(TWO | {"train_cpu": f"{cpu}m"}), overrides=equal(5), pipeline=once)
        message = str(run.ended and run.summary["error"]["message"])
    finally:
        set_wait(several, None)
    assert run.exit_code == 1
    assert run.summary["error"]["kind"] == "nodes"
    assert "(SIGHTLINE_NODES_WAIT) for all 2 nodes, and 1 did not come:" in message
    assert "node 1 has not been heard of (no node takes its pod sightline-ranks-" in message
    assert "Insufficient cpu" in message
    assert ranks(run) == []


def set_wait(cluster: Cluster, seconds: str | None) -> None:
    patch = json.dumps({"data": {WAIT: seconds}})
    cluster.kubectl("patch", "configmap", "sightline", "--type=merge", "-p", patch)
