"""What is asked to name a cause, and what comes out where some of it is missing."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sightline import cluster, why
from sightline.documents import AttemptSettings, ErrorReport
from sightline.documents.cause import Cause
from sightline.documents.signs import Attempts, Heartbeat, Pulse, Running
from sightline.run_store import RunStore
from sightline.storage import Store, open_store
from sightline.why.kfp import PlainServer
from tests.helpers.compiled import RUN as WORKFLOW
from tests.helpers.compiled import nodes, pod_of
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble

RUN = "2a4d9a05-0000-4000-8000-000000000001"
GONE = "pod deleted"
PATIENCE = 30.0  # seconds that a question to doubles may take, at most


def pod(**status: Any) -> dict[str, Any]:
    """Train's pod as Kubernetes has it."""
    limits = {"limits": {"memory": "3Gi", "nvidia.com/gpu": "1"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod_of("train"), "namespace": "kubeflow", "labels": {"pipeline/runid": RUN}},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "main", "resources": limits}],
            "activeDeadlineSeconds": 3600,
        },
        "status": status,
    }


def node() -> dict[str, Any]:
    """The node on which train's pod is."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}, "status": ready}


def event(reason: str, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{reason}-1", "namespace": "kubeflow"},
        "involvedObject": {"kind": "Pod", "name": pod_of("train")},
        "reason": reason,
        "message": message,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def goes(server: StandIn, found: dict[str, Any], state: str = "RUNNING") -> PlainServer:
    """Let the server have the run, with the nodes of its workflow."""
    server.runs[RUN], server.frames[RUN] = object(), [(state, found)]
    return PlainServer(server.address, None)


def ended(server: StandIn, message: str) -> PlainServer:
    return goes(server, nodes(train=("Failed", message), conclude="Running"))


def trains(store: Store, *, ago: float = 10.0, peak: int = 3_200_000_000) -> None:
    """Leave what a training in a container of 3Gi leaves while it goes on."""
    beat = Heartbeat(time=1.0, rank=0, pid=7, phase="train", epoch=3, step=40, slowest=0.1, images=640)
    seen = {"limit": 3 << 30, "peak": peak, "held": peak, "boot": None}
    seen |= dict.fromkeys(("kills", "machine_kills", "refusals"), 0)
    pulse = Pulse(time=time.time() - ago, machine="m", beats=(beat,), **seen)
    settings = AttemptSettings(batch=8, accumulation=1, workers=0, cache="off", image_size=320, lr0=0.01)
    running = Running(number=1, started_at="", machine="m", settings=settings, changed=[], resumed_from=0, pulse=pulse)
    log = Attempts(running=running).model_dump_json().encode()
    store.put_bytes("checkpoints/k/lease-000002.json", json.dumps({"token": "t", "run": RUN}).encode())
    store.put_bytes("checkpoints/other/lease-000001.json", json.dumps({"token": "t", "run": "other"}).encode())
    store.put_bytes("checkpoints/k/000002/attempts.json", log)
    RunStore(store, RUN).store.put_bytes(f"runs/{RUN}/page", b"")


def cause(found: why.Seen) -> Cause:
    named = why.cause(found)
    assert named
    return named


def test_pods_and_events_say_more_than_the_workflow(kfp_server: StandIn, kubernetes_server: KubernetesDouble) -> None:
    kubernetes_server.add(
        pod(
            phase="Failed",
            conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
        )
    )
    server = ended(kfp_server, GONE)
    assert cause(why.look(RUN, server=server)).kind == "vanished"
    seen = why.look(RUN, server=server, kubernetes=cluster.reach())
    named = cause(seen)
    assert named.sentence == "train was preempted: a pod of higher priority took its place on the node n1."
    assert named.evidence[0] == "condition DisruptionTarget: PreemptionByScheduler"
    assert seen.unasked == ()


def test_a_limit_is_named_by_container_with_what_was_used_and_what_to_set(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble, store: Store
) -> None:
    state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    kubernetes_server.add(node(), pod(phase="Failed", containerStatuses=[{"name": "main", "state": state}]))
    trains(store)
    RunStore(store, RUN).fail(ErrorReport(stage="train", kind="interrupted", message="", exit_code=130))
    server = ended(kfp_server, "main: OOMKilled (exit code 137)")
    named = cause(why.look(RUN, store=store, server=server, kubernetes=cluster.reach()))
    assert named.sentence.startswith(
        "train ran out of memory: its container main was killed at its memory limit of 3Gi (3.2 GB of 3.2 GB used at "
        "most, at the last sign of "
    )
    assert named.do == "Set train_memory in the form to 6Gi (it was 3Gi), or make train_batch smaller."
    assert named.evidence[1] == "container main: OOMKilled, exit code 137, memory limit 3Gi"
    assert "process 0: train, epoch 3, step 40" in named.evidence[2]


@pytest.mark.parametrize(("peak", "kind"), [(3_200_000_000, "memory"), (1_000_000_000, "vanished")])
def test_a_pod_that_vanished_with_its_memory_full_most_likely_ran_out_of_it(
    kfp_server: StandIn, store: Store, peak: int, kind: str
) -> None:
    trains(store, peak=peak)
    RunStore(store, RUN).fail(ErrorReport(stage="train", kind="lost", message="", exit_code=1))
    named = cause(why.look(RUN, store=store, server=ended(kfp_server, GONE)))
    assert named.kind == kind
    assert any("last sign of the training at" in line for line in named.evidence)


def test_a_task_that_gives_no_sign_is_named_and_one_that_does_is_not(kfp_server: StandIn, store: Store) -> None:
    found = nodes(validate="Succeeded", train="Running")
    for node in found.values():
        node["startedAt"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    server = goes(kfp_server, found)
    RunStore(store, RUN).fail(ErrorReport(stage="train", kind="lost", message="", exit_code=1))
    trains(store, ago=15)
    seen = why.look(RUN, store=store, server=server)
    assert why.cause(seen) is None
    assert "last sign 15 s ago (process 0: train, epoch 3, step 40)" in why.standing(seen)
    trains(store, ago=42 * 60)
    named = cause(why.look(RUN, store=store, server=server))
    assert (named.kind, named.ended) == ("silent", False)
    assert named.sentence == "train runs, and has given no sign for 42 min."


def test_without_a_training_the_time_of_the_last_line_of_a_log_counts(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    name = pod_of("train")
    running = pod(phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}])
    kubernetes_server.add(node(), running)
    kubernetes_server.logs[name] = f"{(datetime.now(UTC) - timedelta(hours=2)).isoformat()} still here\n"
    named = cause(why.look(RUN, server=goes(kfp_server, nodes(train="Running")), kubernetes=cluster.reach()))
    assert named.sentence == "train runs, and has given no sign for 2 h."
    assert named.do.endswith("Its time limit of 1 h ends it.")
    assert any(line.startswith("log: last line at ") for line in named.evidence)


def test_a_pod_that_waits_for_long_with_no_reason_is_said_with_what_would_say_it(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    found = nodes(train="Pending")
    for node in found.values():
        node["startedAt"] = (datetime.now(UTC) - timedelta(minutes=12)).isoformat()
    server = goes(kfp_server, found)
    named = cause(why.look(RUN, server=server))
    assert named.sentence == "train has been waiting for a node for 12 min, and nothing says why."
    assert pod_of("train") in named.do
    kubernetes_server.add(pod(phase="Pending"))
    kubernetes_server.add(event("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "keys" not found'))
    named = cause(why.look(RUN, server=server, kubernetes=cluster.reach()))
    assert (named.kind, named.sentence) == ("missing", "train is waiting: there is no Secret keys.")


def test_a_node_that_is_gone_or_not_ready_is_named(kfp_server: StandIn, kubernetes_server: KubernetesDouble) -> None:
    kubernetes_server.add(pod(phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}]))
    server = ended(kfp_server, GONE)
    named = cause(why.look(RUN, server=server, kubernetes=cluster.reach()))
    assert (named.kind, named.again) == ("node_lost", True)
    assert named.evidence[0] == "node n1: is gone"
    assert "lost the node n1" in named.sentence
    kubernetes_server.add(event("NodeNotReady", "Node is not ready"))
    named = cause(why.look(RUN, server=goes(kfp_server, nodes(train="Running")), kubernetes=cluster.reach()))
    assert (named.kind, named.ended) == ("node_lost", False)
    assert "kubectl delete node" in named.do


def test_a_pod_that_ended_before_argo_noted_that_the_run_was_terminated_is_no_deleted_one(kfp_server: StandIn) -> None:
    seen = why.look(RUN, server=ended(kfp_server, "main: Error (exit code 143)"))
    assert cause(seen).kind == "deleted"
    named = cause(replace(seen, workflow=seen.workflow | {"spec": {"activeDeadlineSeconds": 0}}))
    assert (named.kind, named.sentence) == ("terminated", "The run was terminated by a person while train was at work.")


def test_an_image_that_no_time_was_enough_for_is_the_cause(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    late = "Pod was active on the node longer than the specified deadline"
    state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "a/b:1": not found'}}
    statuses = [{"name": "main", "state": state}]
    kubernetes_server.add(pod(phase="Failed", reason="DeadlineExceeded", message=late, containerStatuses=statuses))
    named = cause(why.look(RUN, server=ended(kfp_server, late), kubernetes=cluster.reach()))
    assert named.sentence == (
        "train never started, and its time limit of 1 h ended it: its image a/b:1 cannot be fetched: the registry has "
        "no such image."
    )


def test_a_task_that_has_failed_is_the_cause_before_the_last_task_begins(kfp_server: StandIn) -> None:
    found = nodes(validate="Succeeded", train=("Failed", "main: OOMKilled (exit code 137)"), export="Running")
    named = cause(why.look(RUN, server=goes(kfp_server, found)))
    assert (named.kind, named.task, named.ended) == ("memory", "train", True)


def test_a_hindrance_that_is_over_is_no_cause(kfp_server: StandIn, kubernetes_server: KubernetesDouble) -> None:
    state = {"terminated": {"reason": "Error", "exitCode": 143}}
    kubernetes_server.add(pod(phase="Failed", containerStatuses=[{"name": "main", "state": state}]))
    kubernetes_server.add(event("FailedScheduling", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
    named = cause(why.look(RUN, server=ended(kfp_server, "main: Error (exit code 143)"), kubernetes=cluster.reach()))
    assert named.kind == "deleted"
    assert not any("Insufficient" in line for line in named.evidence)


def test_what_an_account_may_not_see_is_said_in_a_line_each_and_the_rest_counts(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    kubernetes_server.add(pod(phase="Failed", message='Usage of EmptyDir volume "tmp" exceeds the limit "20Gi".'))
    kubernetes_server.forbidden = {"list events", "get nodes", "list nodes"}
    seen = why.look(RUN, server=ended(kfp_server, GONE), kubernetes=cluster.reach())
    assert cause(seen).kind == "disk"
    assert [line.split(":")[0] for line in seen.unasked] == ["Kubernetes", "Kubernetes"]
    assert "may not get /api/v1/namespaces/kubeflow/events" in seen.unasked[0]


def test_kubernetes_alone_is_enough(kubernetes_server: KubernetesDouble) -> None:
    found = nodes(validate="Succeeded", train=("Failed", "main: OOMKilled (exit code 137)"))
    labels = {"pipeline/runid": RUN}
    kubernetes_server.add(
        pod(phase="Failed"),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": WORKFLOW, "namespace": "kubeflow", "labels": labels},
            "status": {"phase": "Failed", "nodes": found},
        },
    )
    assert "its memory limit of 3Gi" in cause(why.look(RUN, kubernetes=cluster.reach())).sentence
    kubernetes_server.objects.pop(("argoproj.io", "workflows"))
    kubernetes_server.add(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))
    named = cause(why.look(RUN, kubernetes=cluster.reach()))
    assert named.sentence.endswith("was evicted: the node n1 ran low on memory.")


def test_servers_that_hang_cost_seconds_and_leave_what_the_store_says(
    kfp_server: StandIn,
    kubernetes_server: KubernetesDouble,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_KFP_WAIT", "1")
    kfp_server.faults[f"GET /apis/v1beta1/runs/{RUN}"] = ["hang"]
    kubernetes_server.faults["GET /apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows"] = ["hang"]
    RunStore(store, RUN).fail(ErrorReport(stage="train", kind="lost", message="It left nothing.", exit_code=1))
    began = time.monotonic()
    seen = why.look(RUN, store=store, server=PlainServer(kfp_server.address, None), kubernetes=cluster.reach(wait=1.0))
    assert time.monotonic() - began < PATIENCE / 3
    assert len(seen.unasked) == 2
    named = cause(seen)
    assert (named.kind, named.task) == ("unknown", "train")
    assert named.sentence.endswith("neither Kubeflow Pipelines nor Kubernetes could be asked why.")
    assert f"sightline why {RUN}" in named.do


def test_evidence_that_has_expired_leaves_what_was_kept_or_that_nothing_is_left(
    kfp_server: StandIn, store: Store
) -> None:
    RunStore(store, RUN).fail(ErrorReport(stage="train", kind="lost", message="It left nothing.", exit_code=1))
    server = goes(kfp_server, {}, "FAILED")
    named = cause(why.look(RUN, store=store, server=server))
    assert (named.kind, named.task, named.again) == ("vanished", "train", True)
    assert "nothing is left that says why" in named.sentence
    seen = why.look(RUN, store=store, server=ended(kfp_server, GONE))
    before = why.Cause(
        kind="preempted", task="train", sentence="It was preempted.", evidence=[], do="", again=True,
        seen_at=datetime.now(UTC).isoformat(),
    )  # fmt: skip
    assert why.cause(seen, before) == before
    old = before.model_copy(update={"seen_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()})
    newer = why.cause(seen, old)
    assert newer, "`Retry` made another end"
    assert newer.kind == "vanished"


def test_a_stage_that_says_itself_why_it_failed_is_believed_and_no_server_is_asked(
    kfp_server: StandIn, store: Store
) -> None:
    run = RunStore(store, RUN)
    run.fail(ErrorReport(stage="train", kind="train", message="The loss is NaN.\n  - lower train.lr0", exit_code=1))
    goes(kfp_server, nodes(train=("Failed", "main: Error (exit code 1)")))
    named = cause(why.ask(RUN, store))
    assert (named.kind, named.sentence, named.evidence) == (
        "stage",
        "train failed: The loss is NaN.",
        ["lower train.lr0"],
    )
    run.fail(ErrorReport(stage="validate", kind="storage", message="The store does not answer.", exit_code=1))
    assert cause(why.ask(RUN, store)).again, "an outage passes by itself"
    run.fail(ErrorReport(stage="validate", kind="data-rejected", message="cells has 2 errors", exit_code=3))
    named = cause(why.ask(RUN, store))
    assert (named.kind, named.sentence) == ("rejected", "The data gate refused the data: cells has 2 errors.")
    assert kfp_server.requests == []


def test_the_log_of_a_stage_that_reached_no_store_says_why(kfp_server: StandIn) -> None:
    server = ended(kfp_server, "main: Error (exit code 1)")
    kfp_server.logs[pod_of("train")] = "epoch 1\nerror: The run cannot start:\n  - SIGHTLINE_STORE is not set\n"
    named = cause(why.look(RUN, server=server))
    assert (named.kind, named.sentence) == ("stage", "train failed: The run cannot start: SIGHTLINE_STORE is not set.")
    assert named.evidence[:2] == ["log: The run cannot start:", "workflow: main: Error (exit code 1)"]
    assert "log: - SIGHTLINE_STORE is not set" in named.evidence
