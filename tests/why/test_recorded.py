"""The sentence that comes out of each end, as a real Kubernetes, Argo and Kubeflow Pipelines told it.

`recorded/` holds what they said of small pipelines on Kubernetes 1.34, Argo 4.0 and KFP 2.17, trimmed; the quota's
words are put where its pod would be.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sightline import why
from tests.helpers.recorded_ends import RECORDED, named, seen

ENDS = {  # kind, whether running again is all that is needed, sentence
    "memory": ("memory", False, "train ran out of memory: its container main was killed at its memory limit of 100Mi."),
    "shm": ("shared_memory", False, "train ran out of shared memory: /dev/shm, of 10Mi, was full."),
    "disk": ("disk", False, "train filled its disk: its volume tmp went over its limit of 10Mi."),
    "timeout": ("timeout", False, "train ran into its time limit of 10 s."),
    "deadline": ("deadline", False, "The run's deadline of 30 s passed while exit-handler-1 was being prepared."),
    "term": ("terminated", True, "The run was terminated by a person while train was at work."),
    "deleted": ("deleted", True, "train was ended from outside: its pod was deleted, or its node drained."),
    "evict": ("deleted", True, "train was ended from outside: its pod was deleted, or its node drained."),
    "preempt": ("preempted", True, "train was preempted: a pod of higher priority took its place on the node rig."),
    "fails": ("stage", False, "train failed: The store is not there: nothing."),
    "broken": (
        "driver",
        False,
        "The driver of train failed: failed to resolve inputs: resolving input parameter with spec "
        'component_input_parameter:"pipelinechannel--gpus": parent DAG does not have input parameter '
        "pipelinechannel--gpus.",
    ),
    "noclass": ("runtime", False, "train could not start: there is no RuntimeClass why-none."),
    "cpu": (
        "admission",
        False,
        "train could not start: Kubernetes refuses its pod: spec.containers[1].resources.requests: Invalid value: "
        '"64": must be less than or equal to cpu limit of 2.',
    ),
}
WAITS = {
    "gpus": ("unschedulable", "train is waiting: 0 of 1 nodes have a free nvidia.com/gpu."),
    "quota": (
        "quota",
        "train is waiting: the quota sightline of its namespace allows 0 requests.nvidia.com/gpu, of which 0 are in "
        "use, and it asks for 1.",
    ),
    "selector": ("unschedulable", "train is waiting: 0 of 1 nodes take its pod: 1 lacks the label pool=gpu."),
    "taint-driver": (
        "unschedulable",
        "The driver of root is waiting: 0 of 1 nodes take its pod: 1 has the taint why=taint, which it does not "
        "tolerate.",
    ),
    "secret": ("missing", "train is waiting: there is no Secret why-none."),
    "key": ("missing", "train is waiting: the ConfigMap kfp-launcher has no key NOKEY."),
    "image": (
        "image",
        "train is waiting: its image registry.invalid/sightline-train:gone cannot be fetched: no such registry is "
        "known.",
    ),
    "runtime": (
        "runtime",
        "train is waiting: the node rig has no runtime nvidia, which the RuntimeClass why-nvidia asks for.",
    ),
    "forced": ("deleted", "train was ended from outside: its pod was deleted, or its node drained."),
}
# What Kubeflow Pipelines alone, without any right in Kubernetes, lets one say less of.
WITHOUT_RIGHTS = {
    "preempt": ("deleted", "train was ended from outside: its pod was deleted, or its node drained."),
    "evict": ("vanished", "train lost its pod, and nothing is left that says why: it was deleted by force, or its node "
              "was lost."),
    "taint-driver": ("unschedulable", "The driver of root is waiting: 0 of 1 nodes take its pod: 1 has a taint, which "
                     "it does not tolerate."),
    "runtime": None,
    "forced": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_an_end_has_its_sentence_and_what_to_do(name: str) -> None:
    cause = named(seen(name))
    assert (cause.kind, cause.again, cause.sentence) == ENDS[name]
    assert (cause.ended, cause.task) == (True, "exit-handler-1" if name == "deadline" else "train")


@pytest.mark.parametrize("name", WAITS)
def test_what_a_run_waits_for_has_its_sentence_while_it_goes_on(name: str) -> None:
    cause = named(seen(name))
    assert (cause.kind, cause.sentence) == WAITS[name]
    assert (cause.ended, cause.again) == (False, False)
    assert cause in why.hindrances(seen(name))


@pytest.mark.parametrize("name", [*ENDS, *WAITS])
def test_without_rights_in_kubernetes_most_sentences_are_the_same(name: str) -> None:
    found = why.cause(replace(seen(name), pods={}, events={}, nodes={}))
    if name in WITHOUT_RIGHTS:
        assert (found and (found.kind, found.sentence)) == WITHOUT_RIGHTS[name]
        return
    assert found
    assert found.sentence == (WAITS[name] if name in WAITS else ENDS[name])[-1]


def test_every_recording_is_looked_at() -> None:
    assert {path.stem for path in RECORDED.glob("*.json")} == {*ENDS, *WAITS}


def test_numbers_to_set_are_named() -> None:
    assert named(seen("memory")).do == (
        "Set train_memory in the form to 200Mi (it was 100Mi), or make train_batch smaller."
    )
    assert "SHM=20Mi" in named(seen("shm")).do
    assert "to 20Mi (it was 10Mi)" in named(seen("disk")).do
    assert "train_node_selector" in named(seen("selector")).do
    assert "train_gpus" in named(seen("gpus")).do
