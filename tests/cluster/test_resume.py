"""A training that loses its pod goes on in another one, from its last checkpoint."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from pipelines.compile import compiled
from pipelines.options import Options
from sightline.documents import Attempt
from tests.helpers.cluster import SIGHTLINE, SMALL, Cluster, Run, overrides, wait
from tests.helpers.cluster_faults import drain, force_delete, run_out_of_memory, train_pod

EPOCH = re.compile(r"^(\S+) epoch (\d+)/\d+ · .*val mAP50", re.MULTILINE)
ONCE = "a training that is not repeated"
EPOCHS = 100  # of about a second
FAULTS: dict[str, Callable[[Cluster, str], None]] = {
    "drained": drain,
    "out of memory": run_out_of_memory,
    "deleted by force": force_delete,
}


class Hit(NamedTuple):
    """What befell a pod, and how the training went on."""

    fault: str
    pod: str
    seen: int  # epochs that its log had just before
    seconds: float  # from the fault to the first step in the next pod


def epochs(cluster: Cluster, pod: str) -> list[tuple[datetime, int]]:
    """The epochs in a pod's log, with the times of their ends."""
    text = cluster.kubectl("logs", pod, "-c", "main", "--timestamps")
    return [(datetime.fromisoformat(time), int(number)) for time, number in EPOCH.findall(text)]


def at_work(run: Run, but: str = "") -> tuple[str, str, list[tuple[datetime, int]]]:
    """Wait until a pod with another uid than `but` has finished three epochs; returns its name, uid and epochs."""
    found = train_pod(run, but)["metadata"]
    pod = found["name"]
    wait(lambda: len(epochs(run.cluster, pod)) >= 3, f"three epochs in {pod}")
    return pod, found["uid"], epochs(run.cluster, pod)


def attempts(run: Run) -> list[Attempt]:
    """The attempts in train's document."""
    document = json.loads(run.left("train.json"))["documents"]["train.json"]
    return [Attempt.model_validate(item) for item in document["attempts"]]


@pytest.fixture(scope="module")
def repeats(ready: Cluster, unconfigured: Run) -> Cluster:
    """A server that repeats a task whose pod failed."""
    spec = ready.server.workflow(unconfigured.run_id)["spec"]
    if spec.get("templateDefaults", {}).get("retryStrategy", {}).get("retryPolicy") != "Always":
        pytest.skip("Kubeflow Pipelines runs without the patch of manifests/components/kfp-retry")
    return ready


@pytest.fixture(scope="module")
def struck(repeats: Cluster) -> tuple[Run, list[Hit]]:
    """A run whose training loses three pods, each in another way."""
    run = repeats.submit("three pods lost", overrides=overrides(train__epochs=EPOCHS), train_seed="11", **SMALL)
    hits: list[Hit] = []
    pod, uid, seen = at_work(run)
    for fault, strike in FAULTS.items():
        at = datetime.now(UTC)
        strike(repeats, pod)
        following, new, later = at_work(run, uid)
        step = later[0][0] - (later[1][0] - later[0][0])
        hits.append(Hit(fault, pod, seen[-1][1], (step - at).total_seconds()))
        print(hits[-1])
        pod, uid, seen = following, new, later
    return run, hits


def test_a_training_survives_a_drain_its_memory_limit_and_a_lost_pod(struck: tuple[Run, list[Hit]]) -> None:
    run, hits = struck
    assert run.ended["state"] == "SUCCEEDED"  # what so small a training scores is another question
    assert run.statuses()["train"] == "done"
    assert len({hit.pod for hit in hits}) == len(hits)
    made = attempts(run)
    assert made[0].ending in ("preempted", "killed")  # on a busy machine one second is too short to say so
    assert made[1].ending == "host_memory"
    assert made[2].ending in ("killed", "preempted")
    assert made[-1].ending == "finished"
    for hit, lost, following in zip(hits, made, made[1:], strict=False):
        assert hit.seen - following.resumed_from <= 1, (hit, lost)
    assert made[2].changed  # less memory, after the end for memory
    assert run.summary["train"]["recovered"] == [attempt.ending for attempt in made[:-1]]


@pytest.fixture(scope="module")
def resubmitted(ready: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any], str]:
    """A run whose training is not repeated, and `sightline submit --resubmit` that starts it again."""
    folder = tmp_path_factory.mktemp("resubmitted")
    pipeline = folder / "once.yaml"
    pipeline.write_text(compiled(Options(train_retries=0)))
    parameters = {**SMALL, "train_seed": "12", "overrides": overrides(train__epochs=30)}
    given = [text for item in parameters.items() for text in ("--param", "=".join(item))]
    options = ("--pipeline", str(pipeline), "--run-name", ONCE, "--wait", "--resubmit", "1", "--json")
    with open(folder / "out.json", "wb") as out, open(folder / "told.txt", "wb") as told:
        command = subprocess.Popen(
            [*SIGHTLINE, "submit", *options, *given],
            cwd=folder, env=ready.variables(), stdout=out, stderr=told,
        )  # fmt: skip
        try:
            first = _started(ready)
            pod, *_ = at_work(first)
            run_out_of_memory(ready, pod)
            command.wait(1200)
        finally:
            command.kill()
            command.wait()
    result = dict(json.loads((folder / "out.json").read_text()))
    return first, result, (folder / "told.txt").read_text()


def _started(cluster: Cluster) -> Run:
    """The run that a command has started."""
    wait(lambda: bool(cluster.server.runs_named(ONCE)), "a run of its own")
    run = Run(cluster, ONCE, cluster.server.runs_named(ONCE)[0].run_id, {})
    cluster.runs.append(run)
    return run


def test_a_run_that_the_cluster_ended_is_started_again_and_its_training_goes_on(
    resubmitted: tuple[Run, dict[str, Any], str], ready: Cluster
) -> None:
    first, result, told = resubmitted
    assert result["state"] == "SUCCEEDED", told
    assert first.state == "FAILED"
    assert first.summary["cause"]["kind"] == "memory"
    assert result["run_id"] != first.run_id
    assert result["resubmitted"] == [{"run_id": first.run_id, "why": first.summary["cause"]["sentence"]}]
    run = Run(ready, ONCE, result["run_id"], {})
    made = attempts(run)
    assert (made[0].ending, made[-1].ending) == ("host_memory", "finished")
    assert made[1].resumed_from >= made[0].epochs - 1 > 0
    assert run.statuses()["train"] == "done"
