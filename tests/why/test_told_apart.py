"""What looks like the cause of an end and is not: a trouble that is over, words of somebody else, signs of another pod.

Each case is the recording of a real end, with the one thing changed that misleads.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sightline import why
from sightline.documents import Attempt
from sightline.documents.signs import Heartbeat, Pulse
from sightline.why import Seen
from sightline.why.training import Sign, Training
from tests.helpers.recorded_ends import named, seen

BY_LAUNCHER = "failed in Kubeflow Pipelines' launcher"
EXECUTE = "failed to execute component"
LATE = "train ran into its time limit of 10 s."
AWAY = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
STOOD = "train is waiting: 0 of 3 nodes have a free nvidia.com/gpu."
NOT_READY = {"reason": "NodeNotReady", "message": "Node is not ready"}
DENIED = 'is forbidden: User "system:serviceaccount:kubeflow:x" cannot get resource "pods" in API group ""'
UPLOAD = 'failed to upload output artifact "x": dial tcp 10.0.0.1:9000: connect: connection refused'


def before(kind: Any, sentence: str) -> why.Cause:
    """What stood in the way, twelve hours before an end."""
    at = (seen("term").at - timedelta(hours=12)).isoformat()
    return why.Cause(
        kind=kind, task="train", sentence=sentence, evidence=["x"], do="y", again=False, ended=False, seen_at=at
    )


def go(word: str) -> str:
    """Write a line as KFP's driver and launcher end with it."""
    return f"I1129 12:40:39.067752      15 main.go:67] x\nF1129 12:41:00.692159      17 main.go:59] {word}\n"


def logged(name: str, log: str) -> Seen:
    found = seen(name)
    return replace(found, logs=dict.fromkeys(found.logs, log))


def with_message(name: str, message: str) -> Seen:
    """Let Argo say something else of train's pod, and of Kubernetes know nothing."""
    found = replace(seen(name), pods={}, events={}, nodes={}, logs={})
    for node in found.workflow["status"]["nodes"].values():
        if node["type"] == "Pod" and node.get("message"):
            node["message"] = message
    return found


def told(name: str, *events: dict[str, Any], ready: str | None = "True", condition: str | None = None) -> Seen:
    """Let these be all events of train's pod; its node is ready, or not, or not seen."""
    found = seen(name)
    (pod,) = (name for name in found.pods if "impl" in name)
    node = {"metadata": {"name": "rig"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}
    if condition:
        found.pods[pod]["status"]["conditions"] = [{"type": "Ready", "status": condition}]
    return replace(found, events={pod: events}, nodes={"rig": node} if ready else {})


def trained(found: Seen, *endings: tuple[str, str], ago: float = 20.0, peak: int = 1_000_000_000) -> Seen:
    """Leave attempts that ended, and the sign of one that was not seen to end."""
    attempts = [
        Attempt(number=number, ending=ending, reason=reason, exit_code=1, seconds=60.0)  # type: ignore[arg-type]
        for number, (ending, reason) in enumerate(endings, start=1)
    ]
    beat = Heartbeat(time=1.0, rank=0, pid=7, phase="train", epoch=3, step=40, slowest=0.1, images=640)
    amounts = {"limit": 3 << 30, "peak": peak, "held": peak}
    counts = dict.fromkeys(("kills", "machine_kills", "refusals"), 0)
    pulse = Pulse(time=found.at.timestamp() - ago, machine="m", boot=None, beats=(beat,), **amounts, **counts)
    return replace(found, training=Training(attempts, Sign(pulse), running=True))


# --- a wait that is over


@pytest.mark.parametrize("name", ["term", "timeout"])
@pytest.mark.parametrize("sentence", [STOOD, STOOD.replace("train is", "The driver of train is")])
def test_what_a_pod_waited_for_before_a_node_took_it_ended_nothing(name: str, sentence: str) -> None:
    found = replace(seen(name), pods={}, events={})
    expected = LATE if name == "timeout" else "The run was terminated by a person while train was at work."
    for kind in ("unschedulable", "quota"):
        named_again = why.cause(found, before(kind, sentence))
        assert named_again
        assert named_again.sentence == expected
    for node in found.workflow["status"]["nodes"].values():
        node.pop("hostNodeName", None)
    late = why.cause(found, before("unschedulable", STOOD))
    assert late
    assert (STOOD.partition(": ")[2] in late.sentence) == (name == "term"), "a time limit counts on a node alone"


def test_what_keeps_a_pod_waiting_on_its_node_is_the_cause_of_its_time_limit() -> None:
    waited = before("image", "train is waiting: its image a/b:1 cannot be fetched: no such registry is known.")
    late = why.cause(replace(seen("timeout"), pods={}, events={}), waited)
    assert late
    assert late.sentence == (
        "train never started, and its time limit of 10 s ended it: its image a/b:1 cannot be fetched: no such registry "
        "is known."
    )
    late = why.cause(replace(seen("timeout"), pods={}, events={}), before("image", f"The driver of {waited.sentence}"))
    assert late
    assert late.sentence == LATE, "its driver waited, not it"


# --- words of somebody else


@pytest.mark.parametrize(
    "words",
    [
        "Access to s3://b/x is forbidden: AccessDenied",
        "The bucket has exceeded quota of 5 GiB",
        "The tracking server answers: DeadlineExceeded",
        "The node was low on resource: memory, says the store",
        'secret "x" not found',
    ],
)
def test_an_error_in_words_of_kubernetes_is_the_tasks_own(words: str) -> None:
    cause = named(logged("fails", f"error: {words}.\n"))
    assert (cause.kind, cause.sentence) == ("stage", f"train failed: {words}.")


@pytest.mark.parametrize(
    ("log", "kind", "again", "sentence"),
    [
        (f"{EXECUTE}: {UPLOAD}", "driver", True, f"{BY_LAUNCHER}: {UPLOAD}"),
        (f"{EXECUTE}: {AWAY}", "driver", True, f"{BY_LAUNCHER}: {AWAY}"),
        (f"{EXECUTE}: no such field", "driver", False, f"{BY_LAUNCHER}: no such field"),
        (f'failed: pods "x" {DENIED}', "missing", False, "failed: the account kubeflow/x may not get pods"),
        (f"{EXECUTE}: exit status 3", "unknown", False, "ended without a result: main: Error (exit code 1)"),
    ],
)
def test_what_the_launcher_failed_by_is_said(log: str, kind: str, again: bool, sentence: str) -> None:
    cause = named(logged("fails", go(log)))
    assert (cause.kind, cause.again, cause.sentence) == (kind, again, f"train {sentence}.")


@pytest.mark.parametrize(
    ("log", "kind", "again", "sentence"),
    [
        (AWAY, "driver", True, None),
        ("rpc error: code = Unavailable desc = connection refused", "driver", True, None),
        (f'failed to get pod: pods "x" {DENIED}', "missing", False, "the account kubeflow/x may not get pods"),
    ],
)
def test_what_a_driver_failed_by_is_said(log: str, kind: str, again: bool, sentence: str | None) -> None:
    cause = named(logged("broken", go(f"KFP driver: driver.Container(pipelineName=x) failed: {log}")))
    assert (cause.kind, cause.again, cause.sentence) == (kind, again, f"The driver of train failed: {sentence or log}.")


def test_a_pod_that_ran_is_refused_by_nobody() -> None:
    denied = 'workflowtaskresults.argoproj.io is forbidden: User "system:serviceaccount:kubeflow:x" cannot create'
    said = f'wait: Error (exit code 64): {denied} resource "workflowtaskresults" in API group "argoproj.io"'
    cause = named(with_message("fails", said))
    assert (cause.kind, cause.again) == ("missing", False)
    assert cause.sentence == "train failed: the account kubeflow/x may not create workflowtaskresults."
    assert "manifests/base" in cause.do
    assert named(with_message("fails", "wait: Error (exit code 1): pods is forbidden: no")).kind == "unknown"


# --- a node that answers again, or not


def test_a_node_that_is_ready_again_lost_nothing() -> None:
    cancelled = {"reason": "TaintManagerEviction", "message": "Cancelling deletion of Pod kubeflow/x"}
    assert why.cause(told("forced", NOT_READY, cancelled)) is None
    assert why.cause(told("forced", NOT_READY, cancelled, ready=None, condition="True")) is None
    lost = named(told("forced", NOT_READY, ready=None, condition="False"))
    assert (lost.kind, lost.ended) == ("node_lost", False)
    assert "See whether the node answers again." in lost.do
    for ready in ("True", "Unknown", None):  # whatever became of the node since
        own = named(told("fails", NOT_READY, ready=ready))
        assert (own.kind, own.again) == ("stage", False)
    assert named(replace(told("fails", ready=None), lost=frozenset({"rig"}))).kind == "stage"


def test_a_node_that_is_not_ready_loses_what_runs_on_it_without_any_event() -> None:
    cause = named(told("forced", ready="Unknown"))
    assert (cause.kind, cause.ended) == ("node_lost", False)
    assert cause.evidence[0].startswith("node rig: is not ready since ")
    assert named(replace(told("memory", ready="Unknown"), logs={})).kind == "memory"


def test_a_node_that_started_again_lost_what_ran_on_it() -> None:
    cause = named(with_message("deleted", "main: Unknown (exit code 255)"))
    assert (cause.kind, cause.again) == ("node_lost", True)


@pytest.mark.parametrize("seconds", [None, 60])
def test_a_taint_that_somebody_sets_is_named(seconds: int | None) -> None:
    marked = {"reason": "TaintManagerEviction", "message": "Marking for deletion Pod kubeflow/x"}
    found = told("forced", marked)
    (pod,) = found.pods.values()
    found.nodes["rig"]["spec"] = {"taints": [{"key": "maint", "value": "now", "effect": "NoExecute"}]}
    if seconds:
        pod["spec"]["tolerations"].append({"key": "maint", "operator": "Exists", "tolerationSeconds": seconds})
    cause = named(found)
    assert (cause.kind, cause.ended) == ("deleted", False)
    assert cause.sentence == (
        "train was ended from outside: the node rig has the taint maint=now, which it does not tolerate."
    )
    found.nodes["rig"]["spec"] = {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}
    assert named(found).kind == "node_lost"


def test_what_kubernetes_says_counts_before_what_memory_makes_likely() -> None:
    found = trained(seen("evict"), peak=3_200_000_000)
    pod = next(iter(found.events))
    drained = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "x"}
    ended = {"name": "main", "state": {"terminated": {"reason": "Error", "exitCode": 137}}}
    status = {"phase": "Failed", "conditions": [drained], "containerStatuses": [ended]}
    assert named(found).kind == "memory"
    cause = named(replace(found, pods={pod: {"metadata": {"name": pod}, "status": status}}))
    assert (cause.kind, cause.again) == ("deleted", True)
    assert cause.sentence.startswith("train was drained")


# --- attempts and signs of pods before


@pytest.mark.parametrize("name", ["deleted", "evict", "timeout", "fails"])
def test_how_an_attempt_ended_that_the_training_recovered_from_is_evidence_alone(name: str) -> None:
    endings = [
        ("shared_memory", "DataLoader worker (pid 12) was ended by SIGBUS."),
        ("preempted", "The node was low on resource: memory."),
        ("preempted", "PreemptionByScheduler: pod deleted"),
    ]
    found = seen(name)
    cause = named(trained(found, *endings))
    assert (cause.kind, cause.again, cause.sentence) == (named(found).kind, named(found).again, named(found).sentence)
    if name != "timeout":  # of which nothing says that it began
        assert any("ended by SIGBUS" in line for line in cause.evidence)
    assert why.cause(trained(replace(told("forced"), nodes={}), *endings)) is None


def test_the_sign_of_a_pod_before_is_none_of_this_one() -> None:
    found = told("forced")
    (pod,) = found.pods.values()
    state = pod["status"]["containerStatuses"][0]["state"]
    old = trained(found, ago=3600)
    for began in (timedelta(minutes=1), timedelta(minutes=59)):
        state["running"] = {"startedAt": (found.at - began).isoformat()}
        assert why.cause(old) is None
        assert "last sign" not in why.standing(old)
        assert why.cause(replace(old, pods={}, events={})) is None
    state["running"] = {"startedAt": (found.at - timedelta(hours=2)).isoformat()}
    cause = why.cause(trained(found, ago=3600))
    assert cause
    assert (cause.kind, cause.sentence) == ("silent", "train runs, and has given no sign for 1 h.")
    assert "last sign 1 h ago" in why.standing(old)


def test_memory_that_was_full_in_a_pod_before_ended_no_other() -> None:
    found = with_message("evict", "pod deleted")
    assert named(trained(found, peak=3_200_000_000)).kind == "memory"
    assert named(trained(found, peak=3_200_000_000, ago=7200)).kind == "vanished"


def test_a_pod_that_waits_is_read_by_what_it_is_and_not_by_events_of_one_before_it() -> None:
    found = seen("gpus")
    name = next(iter(found.pods))
    earlier = {"reason": "Started", "message": "Started container main"}
    cause = named(replace(found, pods={}, events={name: (earlier, *found.events[name])}))
    assert (cause.kind, cause.sentence) == ("unschedulable", STOOD.replace("of 3", "of 1"))


# --- other pipelines


def test_each_round_of_a_loop_has_its_own_end() -> None:
    """Argo names them iteration-item(0:0), iteration-item(1:1): the second ends well, after the first."""
    found = seen("memory")
    train = ".train"
    rounds: dict[str, Any] = {}
    for number in (0, 1):
        for node in json.loads(json.dumps(found.workflow["status"]["nodes"])).values():
            if train in node["name"]:
                node["id"] += str(number)
                inside = f".for-loop-1(0).iteration-item({number}:{number})(0).prep"
                node["name"] = node["name"].replace(train, inside)
                node["startedAt"] = (found.at + timedelta(seconds=number)).isoformat()
                if number:
                    node |= {"phase": "Succeeded", "message": ""}
                rounds[node["id"]] = node
    looped = {**found.workflow, "status": {"phase": "Failed", "nodes": rounds}}
    cause = named(replace(found, workflow=looped, pods={}, events={}, nodes={}, logs={}))
    assert (cause.kind, cause.task) == ("memory", "prep")
    assert cause.sentence == "prep ran out of memory: its container main was killed at its memory limit of 100Mi."
    assert cause.do == "Set the memory of prep to 200Mi (it was 100Mi) in its pipeline, and compile."
