"""The Job of a training's other nodes, made after the recorded pod of train, and how its pods are described."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sightline.cluster.pod_words import in_words
from sightline.cluster.rank_job import job

RUN = "8d74825c-3229-43b8-b0fb-f1b5272ffe3a"
RECORDED = json.loads((Path(__file__).parents[1] / "helpers" / "train_pod.json").read_text())  # of a real cluster


def made(pod: dict[str, Any], **variables: str) -> dict[str, Any]:
    return job(pod, "ranks", run_id=RUN, count=3, command=["python", "-m", "a"], variables=variables)


def named(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in items}


def test_a_rank_gets_what_train_was_given_and_nothing_of_argos_or_kfps() -> None:
    found = made(RECORDED, SIGHTLINE_RUN_ID=RUN)
    ours = {"sightline.ml/stage": "rank", "sightline.ml/run": RUN}
    template, spec = found["spec"]["template"], found["spec"]["template"]["spec"]
    assert found["metadata"]["labels"] == template["metadata"]["labels"] == ours
    assert set(template["metadata"]["annotations"]) == {
        "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt", "sidecar.istio.io/inject"
    }  # fmt: skip
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == (
        "Pod", RECORDED["metadata"]["name"], RECORDED["metadata"]["uid"]
    )  # fmt: skip
    (main,) = spec["containers"]
    (train,) = [each for each in RECORDED["spec"]["containers"] if each["name"] == "main"]
    assert [main[key] for key in ("image", "resources", "securityContext")] == [
        train[key] for key in ("image", "resources", "securityContext")
    ]
    assert "initContainers" not in spec
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("sightline", False)
    assert (spec["restartPolicy"], spec["tolerations"]) == ("Never", RECORDED["spec"]["tolerations"])
    mounts = {each["mountPath"] for each in main["volumeMounts"]}
    assert mounts == {"/tmp", "/dev/shm", "/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config"}
    assert {each["name"] for each in spec["volumes"]} == {each["name"] for each in main["volumeMounts"]}
    assert named(spec["volumes"])["shm"] == named(RECORDED["spec"]["volumes"])["shm"]


def test_its_environment_is_trains_with_references_kept_and_the_run_as_a_value() -> None:
    pod = copy.deepcopy(RECORDED)
    (train,) = [each for each in pod["spec"]["containers"] if each["name"] == "main"]
    pod["metadata"]["annotations"]["sightline.ml/words"] = "some"
    reference = {"fieldRef": {"fieldPath": "metadata.annotations['sightline.ml/words']"}}
    train["env"].append({"name": "OF_AN_ANNOTATION", "valueFrom": reference})
    (main,) = made(pod, SIGHTLINE_RUN_ID=RUN, SIGHTLINE_RANK='{"hook": "$(HOME)"}')["spec"]["template"]["spec"][
        "containers"
    ]
    env = named(main["env"])
    assert len(env) == len(main["env"])
    assert env["SIGHTLINE_RUN_ID"] == {"name": "SIGHTLINE_RUN_ID", "value": RUN}
    assert env["OF_AN_ANNOTATION"]["value"] == "some"
    assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "sightline-s3"
    assert env["SIGHTLINE_STORE"]["valueFrom"]["configMapKeyRef"]["key"] == "SIGHTLINE_STORE"
    assert env["KFP_POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert env["SIGHTLINE_RANK"]["value"] == '{"hook": "$$(HOME)"}'  # as Kubernetes escapes what it would replace
    assert not [name for name in env if name.startswith("ARGO_")]


def test_queue_claim_and_placement_reach_the_ranks() -> None:
    pod = copy.deepcopy(RECORDED)
    pod["metadata"]["labels"] |= {"kueue.x-k8s.io/queue-name": "gpus", "sightline.ml/owner": "team"}
    pod["spec"]["volumes"].append({"name": "cache", "persistentVolumeClaim": {"claimName": "datasets"}})
    (train,) = [each for each in pod["spec"]["containers"] if each["name"] == "main"]
    train["volumeMounts"].append({"name": "cache", "mountPath": "/tmp/sightline"})
    placement = {
        "nodeSelector": {"gpu": "a100"},
        "runtimeClassName": "nvidia",
        "priorityClassName": "low",
        "imagePullSecrets": [{"name": "registry"}],
    }
    pod["spec"] |= placement
    found = made(pod)
    labels, template = found["metadata"]["labels"], found["spec"]["template"]
    assert labels["kueue.x-k8s.io/queue-name"] == "gpus"
    assert "kueue.x-k8s.io/queue-name" not in template["metadata"]["labels"]  # Kueue admits the Job as a whole
    assert labels["sightline.ml/owner"] == template["metadata"]["labels"]["sightline.ml/owner"] == "team"
    assert {key: template["spec"][key] for key in placement} == placement
    assert named(template["spec"]["volumes"])["cache"]["persistentVolumeClaim"] == {"claimName": "datasets"}
    assert found["spec"]["completions"] == found["spec"]["parallelism"] == 3
    assert found["spec"]["activeDeadlineSeconds"] == RECORDED["spec"]["activeDeadlineSeconds"]


PULL = {"waiting": {"reason": "ErrImagePull", "message": "no"}}
KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}


CONDITION = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient gpu."}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Pending", "conditions": [CONDITION]}, "No node takes its pod p: 0/3 nodes are available: 3 Insuff"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": PULL}]},
            "Its pod p waits (ErrImagePull): no.",
        ),
        ({"phase": "Pending"}, "Its pod p starts on a."),
        ({"phase": "Running"}, "Its pod p runs on a."),
        (
            {"phase": "Failed", "containerStatuses": [{"state": KILLED}]},
            "Its pod p was ended by its memory limit (2Gi): OOMKilled, exit code 137.",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "Its pod p ended (Evicted): The node was low on resource: memory.",
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [
                    {"state": {"terminated": {"reason": "Error", "exitCode": 2, "message": "train.gpus: got 8"}}}
                ],
            },
            "Its pod p ended (Error, exit code 2): train.gpus: got 8.",
        ),
    ],
)  # fmt: skip
def test_a_pod_is_described_in_kubernetes_words(status: dict[str, Any], said: str) -> None:
    container = {"name": "main", "resources": {"limits": {"memory": "2Gi"}}}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": [container]}, "status": status}
    assert in_words(pod).startswith(said)
