"""The Job of the other nodes of a training, made after the pod of the first one.

A rank's pod gets what its author gave train's pod: image, environment, resources, selector, tolerations, volumes,
rights. What Argo, Kubeflow Pipelines and Kubernetes added for themselves is left out: their labels, their containers,
what is mounted for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sightline.cluster.api import Object
from sightline.config.cluster_names import MAIN, QUEUE, RANK, RUN, STAGE

OURS = (  # labels and annotations that mean the same for a rank, by how they begin
    *("sightline.ml/", "cluster-autoscaler.kubernetes.io/", "karpenter.sh/"),
    "sidecar.istio.io/",  # KFP keeps sidecars out: a pod that has one never ends
)
OF_POD = (
    *("nodeSelector", "tolerations", "affinity", "imagePullSecrets", "securityContext", "runtimeClassName"),
    *("priorityClassName", "schedulerName", "serviceAccountName", "dnsPolicy", "dnsConfig"),
)
OF_CONTAINER = ("image", "imagePullPolicy", "env", "envFrom", "resources", "securityContext")
THEIRS = ("/var/run/argo", "/argo", "/kfp-launcher", "/var/run/secrets/kubernetes.io")  # where they mount
BY_ARGO = "ARGO_"  # how its variables begin
META = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
# Pods that the Job replaces, each after twice the time, from 10 s on; also one that hangs in deletion on a lost node.
FAILURES = 6
DEADLINE = 3 * 86400  # seconds, where train's pod has none
KEPT = 600  # seconds for which a Job that is over stays: long enough to read why
GRACE = 10  # seconds from SIGTERM to SIGKILL; a rank keeps nothing that it would have to save


def job(
    pod: Object, name: str, *, run_id: str, count: int, command: Sequence[str], variables: Mapping[str, str]
) -> Object:
    """Return an Indexed Job of `count` pods for the pod of train, which owns it.

    `command` is what each of them runs, with `variables` in its environment beside those of train's pod; Kubernetes
    adds `JOB_COMPLETION_INDEX`, from 0. A pod that fails or goes is replaced, and one that ends with 0 is not.
    """
    meta, spec = pod["metadata"], pod["spec"]
    labels = {**_ours(meta.get("labels")), STAGE: RANK, RUN: run_id}
    queue = (meta.get("labels") or {}).get(QUEUE)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    container, volumes = _container(pod, command, variables)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {**labels, **({QUEUE: queue} if queue else {})},
            "ownerReferences": [owner],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimit": FAILURES,
            "activeDeadlineSeconds": spec.get("activeDeadlineSeconds") or DEADLINE,
            "ttlSecondsAfterFinished": KEPT,
            "template": {
                "metadata": {"labels": labels, "annotations": _ours(meta.get("annotations"))},
                "spec": {
                    **{key: spec[key] for key in OF_POD if spec.get(key)},
                    "automountServiceAccountToken": False,  # it asks nothing of Kubernetes
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": GRACE,
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def _ours(pairs: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (pairs or {}).items() if key.startswith(OURS)}


def _container(pod: Object, command: Sequence[str], variables: Mapping[str, str]) -> tuple[Object, list[Object]]:
    """Return a rank's container, and the volumes that it mounts."""
    (main,) = [each for each in pod["spec"]["containers"] if each["name"] == MAIN]
    mounts = [each for each in main.get("volumeMounts") or [] if not _theirs(each["mountPath"])]
    mounted = {each["name"] for each in mounts}
    volumes = [each for each in pod["spec"].get("volumes") or [] if each["name"] in mounted]
    env = [
        _as_value(each, pod["metadata"])
        for each in main.get("env") or []
        if not each["name"].startswith(BY_ARGO) and each["name"] not in variables
    ]
    env += [{"name": name, "value": value.replace("$(", "$$(")} for name, value in variables.items()]
    return {
        **{key: main[key] for key in OF_CONTAINER if main.get(key)},
        "name": MAIN,
        "command": list(command),
        "env": env,
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",  # node 0 may read that, where it may read no log
    }, volumes


def _theirs(path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in THEIRS)


def _as_value(variable: Object, meta: Object) -> Object:
    """Return a variable that names a label or an annotation of train's pod, which a rank lacks, with its value."""
    path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    if found := META.fullmatch(path):
        return {"name": variable["name"], "value": str((meta.get(found[1]) or {}).get(found[2], ""))}
    return variable
