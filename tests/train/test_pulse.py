"""How an attempt whose end nobody saw is judged: by its last pulse and the machine that finds it."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.documents.signs import Heartbeat, Pod, Pulse
from sightline.train import pod_end, pulse
from sightline.train.decisions import Judgement, first
from sightline.train.pulse import judge_unseen

GB = 10**9
BEAT = Heartbeat(time=5.0, rank=0, pid=7, phase="train", epoch=3, step=17, slowest=1.0, images=68)
LAST = Pulse(
    time=1_800_000_000.0, machine="node", boot="b1", beats=(BEAT,), limit=None, peak=None, held=None,
    kills=4, machine_kills=4, refusals=None,
)  # fmt: skip
POD = LAST.model_copy(update={"machine": "pod-1", "limit": 8 * GB, "peak": 3 * GB, "held": 2 * GB, "kills": 0})

AGAIN = POD.model_copy(update={"pod": Pod(name="pod-1", uid="a")})


def judged(last: Pulse | None, **now: object) -> Judgement:
    config = TrainConfig()
    return judge_unseen(last, (last or LAST).model_copy(update={"beats": (), **now}), config, first(config))


@pytest.mark.parametrize(
    ("last", "now", "ending", "words"),
    [
        (LAST, {}, "killed", "were killed after 2027-01-15T08:00:00.000+00:00, by `kill -9` or the like"),
        (LAST, {"boot": "b2", "machine_kills": 9}, "killed", "node was started again"),
        (LAST, {"kills": 5, "machine_kills": 5}, "host_memory", "killed 1 process in this control group for memory"),
        (LAST, {"machine_kills": 6}, "host_memory", "killed 2 processes on this machine for memory"),
        (POD, {"machine": "pod-2", "boot": "b2", "kills": 7}, "killed", "was on pod-1 and gave its last sign at 2027"),
        (AGAIN, {"pod": Pod(name="pod-1", uid="b")}, "killed", "was on pod-1 and gave its last sign at 2027"),
        (POD, {"machine": "pod-2", "machine_kills": 5}, "killed", "that machine or container was stopped or lost"),
    ],
    ids=[
        "same machine",
        "restarted",
        "own group",
        "machine",
        "lost node",
        "pod of the same name",
        "another pod was killed for memory",
    ],
)
def test_an_unseen_end_is_named_as_far_as_that_can_be_known(
    last: Pulse, now: dict[str, object], ending: str, words: str
) -> None:
    judgement = judged(last, **now)
    assert judgement.ending == ending
    assert words in judgement.reason
    assert judgement.evidence[0] == "last sign at 2027-01-15T08:00:00.000+00:00 (process 0: train, epoch 3, step 17)"


@pytest.mark.parametrize(
    ("peak", "held", "ending"), [(7.9, 7.0, "host_memory"), (7.9, 2.0, "killed"), (6.0, 5.9, "killed")],
    ids=["full", "full of cached files", "not full"],
)  # fmt: skip
def test_a_pod_that_had_filled_its_limit_was_probably_killed_for_it(peak: float, held: float, ending: str) -> None:
    """With cgroup version 2 the container goes as a whole, its counters with it."""
    last = POD.model_copy(update={"peak": int(peak * GB), "held": int(held * GB)})
    judgement = judged(last, machine="pod-2", boot="b2", kills=0, machine_kills=0)
    assert judgement.ending == ending
    if ending == "host_memory":
        assert judgement.reason == (
            "Probably memory ran out: nobody saw the training end, but memory: 7.9 GB of the container's 8.0 GB used "
            "at most, 7.0 GB of it not cached files. Lower train.batch (16), train.image_size (640) or "
            "train.workers (2), or give it more memory."
        )


def test_an_attempt_that_never_gave_a_sign_is_only_known_to_be_gone() -> None:
    assert judged(None).ending == "killed"


def test_a_pulse_of_this_machine_survives_being_written() -> None:
    now = pulse.take([BEAT], held=3)
    assert Pulse.model_validate_json(now.model_dump_json()) == now
    assert now.newest == BEAT
    assert now.boot
    assert (now.limit is None) == (now.peak is None) == (now.held is None)


def pod(reason: str | None = None, condition: str | None = None, container: str | None = None) -> dict[str, Any]:
    """A pod as Kubernetes shows it after its end."""
    status: dict[str, Any] = {"phase": "Failed", "reason": reason, "message": "The node was low on resource: memory."}
    if condition:
        status["conditions"] = [
            {"type": "Ready", "status": "False", "reason": "PodFailed"},
            {"type": "DisruptionTarget", "status": "True", "reason": condition, "message": "Eviction API: evicting"},
        ]
    if container:
        ended = {"terminated": {"reason": container, "exitCode": 1}}
        status["containerStatuses"] = [
            {"name": "wait", "state": {"terminated": {"reason": "Completed"}}},
            {"name": "main", "state": ended},
        ]
    return {"metadata": {"name": "pod-1"}, "status": status}


@pytest.mark.parametrize(
    ("found", "ending", "words"),
    [
        (pod(container="OOMKilled"), "host_memory", "its container ran over its memory limit. Lower train.batch"),
        (pod("Evicted", container="Error"), "preempted", "it was evicted from its node"),
        (pod(condition="EvictionByEvictionAPI", container="OOMKilled"), "preempted", "as when a node is drained"),
        (pod(condition="PreemptionByScheduler"), "preempted", "it gave way to a pod of higher priority"),
        (pod("DeadlineExceeded"), "preempted", "it ran longer than an attempt may (TRAIN_TIMEOUT"),
    ],
    ids=["memory", "evicted", "drained after a recovery", "preempted", "time limit"],
)
def test_what_kubernetes_says_of_the_pod_comes_before_what_can_be_inferred(
    found: dict[str, Any], ending: str, words: str
) -> None:
    end = pod_end.read(found)
    config = TrainConfig()
    judgement = judge_unseen(POD, POD, config, first(config), end)
    assert judgement.ending == ending
    assert words in judgement.reason
    assert judgement.evidence[0].startswith("Kubernetes says of its pod: ")
    assert (
        judgement.evidence[-1] == "memory: 3.0 GB of the container's 8.0 GB used at most, 2.0 GB of it not cached files"
    )


@pytest.mark.parametrize("found", [{}, {"status": {"phase": "Running"}}, pod("Unheard", container="Error")])
def test_a_pod_whose_end_says_nothing_leaves_it_to_the_signs_of_life(found: dict[str, Any]) -> None:
    assert pod_end.read(found) is None
