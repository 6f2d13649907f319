"""What a run took, compared with what Kubernetes itself says of its pods."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import cluster_gpus
from tests.helpers.cluster import SMALL, Cluster, Run, overrides, wait
from tests.helpers.cluster_records import recorded

ROUNDED = 2  # seconds: the pods' times and Argo's are whole ones, each cut off
WITHOUT = 15  # seconds in which no node has a GPU


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def by_hand(pod: dict[str, Any]) -> tuple[float, float]:
    """How long a pod lasted, and how long it waited for a node."""
    made = moment(pod["metadata"]["creationTimestamp"])
    conditions = {each["type"]: each for each in pod["status"]["conditions"]}
    ends = [each["state"]["terminated"]["finishedAt"] for each in pod["status"]["containerStatuses"]]
    return max(map(moment, ends)) - made, moment(conditions["PodScheduled"]["lastTransitionTime"]) - made


def tasks(run: Run) -> dict[str, dict[str, Any]]:
    return {task["name"]: task for task in run.summary["cost"]["tasks"]}


def test_a_good_run_has_the_times_of_its_pods_and_asked_for_no_gpu(first: SimpleNamespace, cluster: Cluster) -> None:
    run = first.quickstart
    assert run.ended["state"] == "SUCCEEDED"
    found = tasks(run)
    assert list(found) == ["validate", "gate", "train", "export", "evaluate", "sample", "report", "verdict", "register"]
    pods = {pod["metadata"]["name"]: pod for pod in run.pods()}
    for task in found.values():
        (attempt,) = task["pods"]
        lasted, waited = by_hand(pods[attempt["name"]])
        assert attempt["seconds"] == pytest.approx(lasted, abs=ROUNDED), task
        assert attempt["waiting_seconds"] == pytest.approx(waited, abs=ROUNDED), task
        assert (task["attempts"], task["gpus"], task["gpu_seconds"]) == (1, 0, 0)
    cost = run.summary["cost"]
    assert max(task["seconds"] for task in found.values()) < cost["seconds"] <= run.seconds
    assert "no GPU was asked for" in run.page
    (record,) = recorded(cluster, run.run_id)
    assert (record.data.metrics["gpu_hours"], record.info.status) == (0, "FINISHED")
    assert record.data.metrics["waiting_seconds"] == cost["waiting_seconds"]


def test_a_cached_training_took_nothing(again: SimpleNamespace) -> None:
    assert again.tonight.ended["state"] == "SUCCEEDED"
    train = tasks(again.tonight)["train"]
    assert (train["attempts"], train["seconds"], train["gpu_seconds"]) == (0, None, None)


@pytest.fixture(scope="module")
def with_a_gpu(ready: Cluster) -> Iterator[Run]:
    """A run whose training waits for a GPU, gets one that the node only claims to have, and fails."""
    node = cluster_gpus.a_node(ready)
    with cluster_gpus.allowed(ready):
        run = ready.submit(
            "a claimed GPU", train_gpus="1", train_seed="9", overrides=overrides(train__epochs=1), **SMALL
        )
        wait(lambda: run.stage_pod("train") is not None, "a pod of train")
        time.sleep(WITHOUT)
        with cluster_gpus.claimed(ready, node, 8):  # more than others hold
            assert run.ended["state"] == "FAILED"
        yield run


def test_waiting_for_a_gpu_is_seen_and_gpus_count_from_when_a_node_has_the_pod(with_a_gpu: Run) -> None:
    run = with_a_gpu
    train = tasks(run)["train"]
    pods = {pod["metadata"]["name"]: pod for pod in run.pods("sightline.ml/stage=train")}
    assert train["attempts"] == len(pods), "several where the retry patch is in force"
    times = [by_hand(pods[attempt["name"]]) for attempt in train["pods"]]
    lasted, waited = (sum(each) for each in zip(*times, strict=True))
    rounded = ROUNDED * len(pods)
    assert train["gpus"] == 1
    assert train["waiting_seconds"] == pytest.approx(waited, abs=rounded)
    assert train["waiting_seconds"] >= WITHOUT - ROUNDED
    assert train["gpu_seconds"] == pytest.approx(lasted - waited, abs=2 * rounded)
    assert train["gpu_seconds"] == sum(each["seconds"] - each["waiting_seconds"] for each in train["pods"])
    assert f"{run.summary['cost']['gpu_seconds'] / 3600:.2g} GPU hours were asked for" in run.page


def test_finishing_a_run_by_hand_changes_nothing_of_it(with_a_gpu: Run, cluster: Cluster) -> None:
    before = with_a_gpu.summary
    done = cluster.sightline("report", "--run", with_a_gpu.run_id, "--json", KUBECONFIG="/nowhere")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cost"] == before["cost"]


def test_the_newest_runs_are_listed_without_a_cluster(with_a_gpu: Run, cluster: Cluster) -> None:
    done = cluster.sightline("runs", "--json", "--limit", "50", KFP_ENDPOINT="", KUBECONFIG="/nowhere")
    assert done.returncode == 0, done.stderr
    found = {run["run_id"]: run for run in json.loads(done.stdout)["runs"]}
    line = found[with_a_gpu.run_id]
    assert (line["name"], line["status"], line["model_name"]) == ("a claimed GPU", "failed", "quickstart-smear")
    assert line["gpu_hours"] == with_a_gpu.summary["cost"]["gpu_seconds"] / 3600
    assert line["cause"]["sentence"]
