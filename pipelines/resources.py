"""What every task asks of a cluster: one table, and the settings, labels and rights that are the same for all.

Runs on one machine ignore all of it: there, settings come from the environment of the command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl, kubernetes

from pipelines.options import HOUR, LONGEST, Options
from sightline.config.cluster_names import GPU, KFP_RUN, QUEUE, STAGE
from sightline.runtime.shared_memory import CEILING


@dataclass(frozen=True)
class Resources:
    """What a task asks of its node, in Kubernetes units; what training gets is asked for in the form."""

    cpu: str | None  # reserved: small, so that two CPUs with other pods on them can take every task
    most_cpu: str | None  # where the node has more to give
    memory: str | None  # reserved, and the limit
    timeout: int | None  # seconds of an attempt, from when a node has taken it: fetching the image is part of it
    retries: int | None  # after a pod that was lost; where an administrator set it so, after any failure
    disk: str  # limit of /tmp, where cache and temporary files go
    cached: bool  # keeps fetched data


# What is meant to fail is not repeated. A repeated training goes on from its last checkpoint, and one that would fail
# again ends at once (`tasks.train`). The memory holds what was measured at least twice over; validate and evaluate need
# more with more images, a hundred bytes each.
TABLE = {
    "validate": Resources("500m", "4", "2Gi", 6 * HOUR, retries=1, disk="20Gi", cached=True),
    "gate": Resources("200m", "1", "512Mi", HOUR, retries=2, disk="1Gi", cached=False),
    "train": Resources(None, None, None, None, None, disk="20Gi", cached=True),
    "export": Resources("500m", "4", "3Gi", 2 * HOUR, retries=2, disk="20Gi", cached=True),
    "evaluate": Resources("500m", "4", "3Gi", 6 * HOUR, retries=2, disk="20Gi", cached=True),
    "sample": Resources("500m", "4", "2Gi", 2 * HOUR, retries=2, disk="20Gi", cached=True),
    "report": Resources("200m", "2", "1Gi", 2 * HOUR, retries=2, disk="20Gi", cached=False),
    "verdict": Resources("200m", "1", "512Mi", HOUR, retries=2, disk="1Gi", cached=False),
    "register": Resources("200m", "2", "2Gi", 2 * HOUR, retries=2, disk="20Gi", cached=False),
    "refuse": Resources("200m", "1", "512Mi", HOUR, retries=0, disk="1Gi", cached=False),
    "conclude": Resources("200m", "2", "1Gi", 2 * HOUR, retries=2, disk="20Gi", cached=False),
}
PAUSE = 5  # seconds before the first repetition, then twice as long; Argo waits so long even where it repeats nothing


# Environment variables that tasks take from the cluster (manifests/). All are optional: a ConfigMap that is missing
# would keep every task from starting, and validate can say better what is not set.
CONFIG_MAP = "sightline"
SETTINGS = (
    *("SIGHTLINE_STORE", "SIGHTLINE_S3_ENDPOINT", "SIGHTLINE_S3_WAIT", "AWS_REGION"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SIGHTLINE_TRACKING", "SIGHTLINE_TRACKING_WAIT"),
    "SIGHTLINE_NODES_WAIT",  # seconds in which all nodes of a training must be there
    "KFP_ENDPOINT",  # conclude asks it why a stage left nothing
)
SECRETS = {
    "sightline-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "sightline-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
OWNER = "sightline.ml/owner"
SHM = "sightline.ml/train-shm"  # annotation of validate's pod
UNDISTURBED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
RUN_ID = f"metadata.labels['{KFP_RUN}']"
TEMPORARY, CACHE = "/tmp", "/tmp/sightline"  # where our images keep HOME, TMPDIR and SIGHTLINE_CACHE


def request(
    task: dsl.PipelineTask, stage: str, options: Options, chosen: Mapping[str, Any] | None = None
) -> dsl.PipelineTask:
    """Ask a cluster for all that a task needs.

    `chosen` is what train gets instead of the table's: channels of the pipeline by the names `cpu`, `memory` and `gpus`
    (parameters of the form), `node_selector` and `tolerations` (outputs of validate).
    """
    row = TABLE[stage]
    if chosen is not None:
        _as_chosen(task, options, chosen)
    else:
        task.set_cpu_request(row.cpu).set_cpu_limit(row.most_cpu)
        task.set_memory_request(row.memory).set_memory_limit(row.memory)
    timeout = options.train_timeout if row.timeout is None else row.timeout
    retries = options.train_retries if row.retries is None else row.retries
    kubernetes.set_timeout(task, timeout)
    if retries:
        whole = (retries + 1) * (timeout + PAUSE * 2**retries)  # KFP ends even an attempt that runs then
        task.set_retry(retries, f"{PAUSE}s", 2.0, f"{min(whole, LONGEST)}s")
    kubernetes.empty_dir_mount(task, "tmp", TEMPORARY, size_limit=row.disk)
    if options.cache_claim and row.cached:
        kubernetes.mount_pvc(task, options.cache_claim, CACHE)
    _environment(task)
    kubernetes.add_pod_label(task, STAGE, stage)
    if options.owner:
        kubernetes.add_pod_label(task, OWNER, options.owner)
    if options.pull_secret:
        kubernetes.set_image_pull_secrets(task, [options.pull_secret])
    if stage == "validate":
        kubernetes.add_pod_annotation(task, SHM, options.shm_text)
        kubernetes.use_field_path_as_env(task, CEILING, f"metadata.annotations['{SHM}']")
    # Pod Security "restricted" wants it said; the user id is the image's or, on OpenShift, the namespace's.
    return kubernetes.set_security_context(task, run_as_non_root=True)


def _as_chosen(task: dsl.PipelineTask, options: Options, chosen: Mapping[str, Any]) -> None:
    """Give training what the form asks for, shared memory, and a pod that no autoscaler moves.

    This is one node's share: the pods of the other nodes are made after this one (`sightline.cluster.rank_job`).
    """
    task.set_cpu_request(chosen["cpu"]).set_cpu_limit(chosen["cpu"])
    task.set_memory_request(chosen["memory"]).set_memory_limit(chosen["memory"])
    task.set_accelerator_type(GPU).set_accelerator_limit(chosen["gpus"])
    kubernetes.add_node_selector_json(task, chosen["node_selector"])
    kubernetes.add_toleration_json(task, chosen["tolerations"])
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=options.shm_text)
    for name, value in UNDISTURBED.items():
        kubernetes.add_pod_annotation(task, name, value)
    if options.queue:
        kubernetes.add_pod_label(task, QUEUE, options.queue)


def _environment(task: dsl.PipelineTask) -> None:
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {name: name for name in SETTINGS}, optional=True)
    for secret, names in SECRETS.items():
        kubernetes.use_secret_as_env(task, secret, {name: name for name in names}, optional=True)
    kubernetes.use_field_path_as_env(task, "SIGHTLINE_RUN_ID", RUN_ID)
