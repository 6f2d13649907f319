"""The pods of a training's other nodes: each is looked after, and none is left."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline import rank_pods
from sightline.cluster import reach
from sightline.cluster.ranks import Ranks, lacking
from sightline.config import TrainConfig
from sightline.config.presets import resolve
from sightline.config.train_config import Augmentation
from sightline.documents import AttemptSettings
from sightline.documents.stage_record import read_records
from sightline.errors import ClusterUsageError, ConfigError, NodesMissing, SightlineError
from sightline.run_store import RunStore
from sightline.storage import open_store
from sightline.train.decisions import Judgement
from sightline.train.launch import free_port
from sightline.train.nodes import Coordinator, Limits, Node, identity
from sightline.train.nodes.judging import by_all
from sightline.train.rank import Share
from tests.helpers.command import sightline
from tests.helpers.job_of_processes import Jobs, running, until
from tests.helpers.kubernetes_double import KubernetesDouble, serving
from tests.helpers.left_in_store import leave

RUN = "8d74825c-3229-43b8-b0fb-f1b5272ffe3a"
RECORDED = json.loads((Path(__file__).parents[1] / "helpers" / "train_pod.json").read_text())  # of a real cluster
SAME = {"snapshot": "5" * 64}
QUICK = Limits(beat=0.1, answer=5, silent=2, grace=0.5, ending=3, gather=20, leader=3, remind=1)


def named(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in items}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesDouble]:
    """A Kubernetes with train's pod in it, which `reach` finds."""
    pod = copy.deepcopy(RECORDED)
    pod["status"]["podIP"] = "127.0.0.1"
    with serving() as server:
        server.add(pod)
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        yield server


def ranks(command: list[str] = ["sleep", "60"], pause: float = 0.0) -> Ranks:  # noqa: B006
    kubernetes = reach()
    assert kubernetes
    return Ranks(kubernetes, RECORDED, run_id=RUN, count=1, command=command, variables={}, pause=pause)


def jobs_of(server: KubernetesDouble) -> list[str]:
    return [each["metadata"]["name"] for each in server.of("Job", "batch")]


def test_a_job_is_made_once_and_again_when_it_is_over_or_gone(
    server: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.cluster.ranks.LOOK", 0.0)
    started = ranks()
    started.tend([1])
    started.tend([1])
    (first,) = jobs_of(server)
    server.of("Job", "batch")[0]["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    started.tend([1])
    (second,) = jobs_of(server)
    server.objects[("batch", "jobs")].clear()
    started.tend([1])
    assert (first[-2:], second[-2:], jobs_of(server)[0][-2:]) == ("-1", "-2", "-3")
    server.of("Job", "batch")[0]["status"] = {"completedIndexes": "0"}  # and this node is away: nobody replaces it
    started.tend([1])
    assert jobs_of(server)[0].endswith("-4")
    started.remove()
    assert jobs_of(server) == []


def test_an_outage_of_kubernetes_costs_time_and_a_refusal_ends_the_training(
    server: KubernetesDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.cluster.ranks.LOOK", 0.0)
    path = "/apis/batch/v1/namespaces/kubeflow/jobs"
    server.faults[f"POST {path}"] = [(503, "etcd is away")]
    started = ranks()
    started.tend([1])
    assert "cannot be started or looked at now" in capsys.readouterr().err
    started.tend([1])
    assert len(jobs_of(server)) == 1
    server.faults[f"POST {path}"] = [(403, "exceeded quota: jobs")]
    with pytest.raises(ClusterUsageError, match="exceeded quota: jobs"):
        ranks().tend([1])


def test_jobs_of_the_run_are_removed_and_those_of_other_runs_are_not(server: KubernetesDouble) -> None:
    ranks().tend([1])
    other = copy.deepcopy(server.of("Job", "batch")[0])
    other["metadata"] |= {"name": "of-another-run", "labels": {"sightline.ml/run": "b2", "sightline.ml/stage": "rank"}}
    server.add(other)
    ranks().remove()  # as the next attempt of the same run does, in another pod
    assert jobs_of(server) == ["of-another-run"]


def test_what_the_account_may_not_do_is_named(server: KubernetesDouble) -> None:
    kubernetes = reach()
    assert kubernetes
    assert lacking(kubernetes) == []
    server.rights = lambda user, asked: asked["verb"] == "get"
    assert lacking(kubernetes) == ["create jobs", "list jobs", "delete jobs", "list pods"]


def test_a_pipeline_on_this_machine_refuses_several_nodes_before_it_starts(tmp_path: Path) -> None:
    done = sightline("run", "--set", "train.nodes=2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: train.nodes: got 2, expected 1 for a pipeline on one machine, which is one node."
    )
    assert "sightline submit --param train_nodes=" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_right_to_start_pods_validate_ends_and_names_the_component(
    server: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_pods.check(TrainConfig(nodes=1))
    monkeypatch.setenv("KFP_POD_NAME", RECORDED["metadata"]["name"])
    monkeypatch.setenv("KFP_POD_UID", RECORDED["metadata"]["uid"])
    rank_pods.check(TrainConfig(nodes=2))
    server.rights = lambda user, asked: asked["resource"] == "pods"
    with pytest.raises(ConfigError) as refused:
        rank_pods.check(TrainConfig(nodes=4, batch=16))
    assert str(refused.value).startswith("train_nodes: 4 nodes are asked for, of which train starts 3 as pods of a Job")
    assert "may not create jobs, get jobs, list jobs, delete jobs. Install the component several-nodes" in str(
        refused.value
    )


def test_a_start_removes_what_an_earlier_attempt_left_and_leaves_nothing_itself(
    server: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", RECORDED["metadata"]["name"])
    monkeypatch.setenv("KFP_POD_UID", RECORDED["metadata"]["uid"])
    ranks().tend([1])
    config = TrainConfig(nodes=2)

    def interrupted() -> None:
        with rank_pods.started(RUN, "s3://b/5d", "architecture:yolo11n.yaml", config, "c0") as (node, launcher):
            assert jobs_of(server) == []
            assert node == Node(rank=0, count=2, address="127.0.0.1")
            assert launcher
            launcher.tend([1])
            (made_,) = server.of("Job", "batch")
            (container,) = made_["spec"]["template"]["spec"]["containers"]
            assert container["command"] == [sys.executable, "-m", "sightline.train.rank"]
            given = Share.model_validate_json(named(container["env"])["SIGHTLINE_RANK"]["value"])
            assert (given.config, given.address, given.code, given.silence) == (config, "127.0.0.1", "c0", 60.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert jobs_of(server) == []


def test_conclude_removes_what_a_run_of_several_nodes_left_or_says_that_it_may_not(
    server: KubernetesDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunStore(open_store(str(tmp_path / "store")), RUN)
    config = resolve("fast", {"train.nodes": 2})
    leave(run, tmp_path / "made", ["validate"], config=config)
    ranks().tend([1])
    server.forbidden = {"list jobs"}
    rank_pods.sweep(run)
    assert (
        "may have left could not be removed, and end by themselves within a minute or two:" in capsys.readouterr().err
    )
    server.forbidden = set()
    rank_pods.sweep(run)
    assert "Removed 1 Job of other nodes that the run had left." in capsys.readouterr().out
    assert jobs_of(server) == []
    requests = len(server.requests)
    alone = RunStore(run.store, "of-one-node")
    leave(alone, tmp_path / "alone", ["validate"])
    rank_pods.sweep(alone)
    assert len(server.requests) == requests


def test_a_job_without_a_pod_says_why_as_far_as_it_may_be_known(server: KubernetesDouble) -> None:
    started = ranks()
    started.tend([1])
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "kubeflow"},
        "involvedObject": {"kind": "Job", "name": started.name},
        "type": "Warning",
        "message": "exceeded quota: sightline, requested: nvidia.com/gpu=4",
    }
    server.add(event)
    assert started.say(1) == "It has no pod: exceeded quota: sightline, requested: nvidia.com/gpu=4"
    server.forbidden = {"list events"}
    assert started.say(1) == f"It has no pod: `kubectl describe job {started.name}` says why (a quota, a rule)."
    (made_,) = server.of("Job", "batch")
    made_["status"] = {"uncountedTerminatedPods": {"failed": ["5f"]}}
    words = f"Its pod is gone: it was deleted, or its machine was lost. The Job {started.name} makes another one."
    assert started.say(1) == words
    made_["spec"]["suspend"] = True
    made_["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    assert started.say(1) == f"Its Job {started.name} is suspended: the queue gpus has not admitted it."


@pytest.fixture
def processes(server: KubernetesDouble) -> Iterator[Jobs]:
    with running(server) as jobs:
        yield jobs


Leading = Callable[..., Coordinator]


def follower(port: int, **more: Any) -> list[str]:
    node = {"rank": 1, "count": 2, "address": "127.0.0.1", "port": port}
    settings = {"identity": SAME, "node": node, "attempts": [], **more}
    return [sys.executable, "-m", "tests.helpers.node_process", json.dumps(settings)]


def test_a_rank_that_is_killed_is_replaced_named_and_judged_by_kubernetes(
    server: KubernetesDouble, processes: Jobs
) -> None:
    port = free_port()
    launcher = ranks(follower(port))
    with Coordinator(Node(rank=0, count=2, address="127.0.0.1", port=port), SAME, QUICK, launcher) as leader:
        leader.call()
        leader.start_attempt(1, {"commands": [[], ["sleep", "60"]]})
        (first,) = processes.pods()
        until(lambda: leader.progress()[1], "no progress")
        os.kill(processes.processes[first].pid, signal.SIGKILL)
        until(leader.stop, "the loss was not seen")
        ends = leader.collect(patience=0)
        assert f"Its pod {first} was ended by its memory limit (2Gi): OOMKilled, exit code 137." in ends.lost[1]
        assert ends.ends[1].ending == "host_memory"
        config = TrainConfig(nodes=2)
        settings = AttemptSettings(batch=16, accumulation=1, workers=2, cache="off", image_size=640, lr0=0.01)
        judged = by_all(Judgement("lost_peer", "a peer is gone"), ends, config, settings)
        assert (judged.ending, judged.nodes) == ("host_memory", (1,))
        assert "Lower train.batch" in judged.reason
        leader.start_attempt(2, {"commands": [[], ["true"]]})
        assert len(jobs_of(server)) == 1
        assert not leader.collect(patience=5).lost
    until(lambda: len(processes.ended) == 2, "the rank did not end with its leader")
    assert [code for code, _ in processes.ended.values()] == [-9, 0]
    launcher.remove()
    assert jobs_of(server) == []


def test_a_start_without_all_ranks_ends_with_kubernetes_words_and_their_last_lines(
    server: KubernetesDouble, processes: Jobs
) -> None:
    port = free_port()
    launcher = ranks(["sh", "-c", "echo it is not here >&2; exit 3"], pause=60)
    limits = Limits(beat=0.1, gather=2.0, remind=0.5)
    with (
        pytest.raises(NodesMissing) as missing,
        Coordinator(Node(rank=0, count=2, address="127.0.0.1", port=port), SAME, limits, launcher) as leader,
    ):
        leader.start_attempt(1, {})
    assert str(missing.value).startswith(
        "Node 0 waited 2 s (SIGHTLINE_NODES_WAIT) for all 2 nodes, and 1 did not come:"
    )
    assert "node 1 has not been heard of (its pod sightline-ranks-8d74825c-db0d0-1-0-" in str(missing.value)
    assert "ended (Error, exit code 3)" in str(missing.value)


def share(port: int, uri: str, silence: float = 2.0) -> dict[str, str]:
    config = TrainConfig(nodes=2, epochs=1, image_size=32, batch=2, workers=0)
    values = {"snapshot": uri, "weights": "architecture:yolo11n.yaml", "config": config.model_dump(), "code": "c0"}
    values |= {"address": "127.0.0.1", "port": port, "silence": silence}
    return {"SIGHTLINE_RANK": json.dumps(values), "JOB_COMPLETION_INDEX": "0"}


def test_a_rank_whose_node_0_is_silent_ends_with_0_so_that_no_job_starts_it_again(
    tmp_path: Path, sets: Any, validate: Callable[..., Any]
) -> None:
    uri = validate(sets.yolo()).snapshot
    command = [sys.executable, "-m", "sightline.train.rank"]
    done = subprocess.run(
        command, env={**os.environ, **share(free_port(), uri)}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "has not answered for 2 s (connection refused). The pod of train has ended, or a network" in done.stderr


def test_a_rank_that_cannot_train_tells_node_0_why(sets: Any, validate: Callable[..., Any]) -> None:
    uri, port = f"{validate(sets.yolo()).snapshot[:-4]}0000", free_port()
    given = Share.model_validate_json(share(port, uri)["SIGHTLINE_RANK"])
    same = identity(snapshot=uri, weights="yolo11n.yaml", config=given.config, code=given.code)
    command = [sys.executable, "-m", "sightline.train.rank"]
    with subprocess.Popen(command, env={**os.environ, **share(port, uri)}, stderr=subprocess.PIPE, text=True) as rank:
        with (
            pytest.raises(SightlineError) as told,
            Coordinator(Node(rank=0, count=2, address="127.0.0.1", port=port), same, QUICK) as leader,
        ):
            leader.start_attempt(1, {})
        _, said = rank.communicate(timeout=60)
    assert rank.returncode == told.value.exit_code == 2
    assert str(told.value).startswith("Node 1 (")
    assert uri.rpartition("/")[2] in str(told.value)
    assert uri.rpartition("/")[2] in said


@pytest.mark.slow
def test_the_task_train_trains_on_two_nodes_and_leaves_nothing(
    server: KubernetesDouble, tmp_path: Path, sets: Any, validate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = validate(sets.yolo()).snapshot
    monkeypatch.delenv("SIGHTLINE_RUNS")
    monkeypatch.setenv("SIGHTLINE_RUN_ID", RUN)
    monkeypatch.setenv("KFP_POD_NAME", RECORDED["metadata"]["name"])
    monkeypatch.setenv("KFP_POD_UID", RECORDED["metadata"]["uid"])
    augment = Augmentation(mosaic=0)
    config = TrainConfig(nodes=2, epochs=2, image_size=64, batch=2, workers=0, augment=augment)
    given = {
        "snapshot": snapshot,
        "weights": "architecture:yolo11n.yaml",
        "config": config.model_dump_json(),
        "code": "c0" * 32,
    }
    artifact = f"class Made: path, metadata = {str(tmp_path / 'made')!r}, {{}}"
    code = f"from sightline import tasks\n{artifact}\ntasks.train(**{given!r}, checkpoint=Made)"
    with running(server) as jobs:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        until(lambda: not jobs.pods(), "a rank is left")
    assert len(jobs.ended) == 1  # it ended by itself, or train removed it first
    assert jobs_of(server) == []
    record = read_records(tmp_path / "made")["train"].documents["train.json"]
    assert (record["world_size"], record["epochs_completed"], len(record["attempts"])) == (2, 2, 1)
    assert "node 1: process 1 of 2: " in done.stdout
    digests = [line.split()[-1] for line in done.stdout.splitlines() if "ends with weights" in line]
    assert len(digests) == 2
    assert len(set(digests)) == 1
