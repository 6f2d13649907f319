"""Objects of a usual cluster, as Kubernetes' API shows them, for its double."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from tests.helpers.kubernetes_double import KubernetesDouble

Object = dict[str, Any]
NAMESPACE = "kubeflow"
GPU = "nvidia.com/gpu"
SETTINGS = {"SIGHTLINE_STORE": "s3://bucket/store", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def named(api: str, kind: str, name: str, *, namespace: str | None = NAMESPACE, **more: Any) -> Object:
    """An object of some kind; without a namespace one of the whole cluster."""
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **place}, **more}


def node(
    name: str = "node-1",
    *,
    cpu: str = "8",
    memory: str = "32Gi",
    gpus: int = 0,
    labels: dict[str, str] | None = None,
    taints: list[Object] | None = None,
    **spec: Any,
) -> Object:
    """A node, and what it has to give."""
    gives = {"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "200Gi"}
    gives |= {GPU: str(gpus)} if gpus else {}
    made = named(
        "v1", "Node", name, namespace=None, spec={"taints": taints or [], **spec}, status={"allocatable": gives}
    )
    made["metadata"]["labels"] = {"kubernetes.io/hostname": name, **(labels or {})}
    return made


def pod(name: str, node: str, *, namespace: str = "team-a", phase: str = "Running", **requests: str) -> Object:
    """A pod on a node; `nvidia` stands for its GPUs."""
    asked = {{"nvidia": GPU}.get(key, key): value for key, value in requests.items()}
    spec = {"nodeName": node, "containers": [{"name": "main", "resources": {"requests": asked}}]}
    return named("v1", "Pod", name, namespace=namespace, spec=spec, status={"phase": phase})


def limit_range(**rules: Any) -> Object:
    """A LimitRange for containers."""
    return named("v1", "LimitRange", "limits", spec={"limits": [{"type": "Container", **rules}]})


def quota(name: str = "quota", *, used: dict[str, str] | None = None, **spec: Any) -> Object:
    """A ResourceQuota and how much of it is used."""
    status = {"hard": spec["hard"], "used": dict.fromkeys(spec["hard"], "0") | (used or {})}
    return named("v1", "ResourceQuota", name, spec=spec, status=status)


def usual(server: KubernetesDouble, *nodes: Object, **labels: str) -> None:
    """Fill a server with a namespace in which the pipeline can run, and these nodes, or one without GPUs."""
    home = named("v1", "Namespace", NAMESPACE, namespace=None, status={"phase": "Active"})
    home["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
    server.add(
        home,
        named("v1", "Service", "ml-pipeline"),
        named("v1", "ServiceAccount", "pipeline-runner"),
        named("v1", "ConfigMap", "sightline", data=dict(SETTINGS)),
        *(nodes or (node(),)),
    )
    server.unknown = {"karpenter.sh"}


def with_job_pods(server: KubernetesDouble, *, secrets: dict[str, dict[str, str]], **environment: str) -> None:
    """Let a Job's container run as a process of this machine, with the ConfigMaps of the server and these Secrets."""

    def start(state: KubernetesDouble, job: Object) -> None:
        if job["kind"] != "Job":
            return
        template = job["spec"]["template"]
        (container,) = template["spec"]["containers"]
        given = {}
        for each in container["env"]:
            source = each.get("valueFrom") or {}
            if reference := source.get("configMapKeyRef"):
                held = next((item["data"] for item in state.of("ConfigMap") if _is(item, reference["name"])), {})
            elif reference := source.get("secretKeyRef"):
                held = secrets.get(reference["name"], {})
            else:
                given[each["name"]] = source["fieldRef"]["fieldPath"]
                continue
            given |= {each["name"]: held[reference["key"]]} if reference["key"] in held else {}
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SIGHTLINE_"))}
        command = [sys.executable, *container["command"][1:], *container["args"]]
        done = subprocess.Popen(
            command, env=bare | given | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        state.add(job_pod(job, {"phase": "Running"}))
        started.append((job, done))

    started: list[tuple[Object, subprocess.Popen[str]]] = []

    def look(state: KubernetesDouble) -> None:
        for job, process in started:
            if process.poll() is not None and process.stdout:
                name = f"{job['metadata']['name']}-x"
                state.logs[name] = process.stdout.read()
                state.add(job_pod(job, {"phase": "Failed" if process.returncode else "Succeeded"}))
                process.stdout.close()
                process.stdout = None

    server.on_create, server.on_request = start, look


def job_pod(job: Object, status: Object) -> Object:
    """The pod that a controller makes for a Job, in some state."""
    made = named("v1", "Pod", f"{job['metadata']['name']}-x", status=status, spec=job["spec"]["template"]["spec"])
    owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    made["metadata"] |= {"labels": job["spec"]["template"]["metadata"]["labels"], "ownerReferences": [owner]}
    return made


def _is(item: Object, name: str) -> bool:
    return bool(item["metadata"]["name"] == name)
