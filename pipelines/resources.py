"""What every task asks of a cluster: CPU and memory in one table; settings, labels and rights, the same for all.

Runs on one machine ignore all of it: there, settings come from the environment of the command.
"""

from dataclasses import dataclass

from kfp import dsl, kubernetes


@dataclass(frozen=True)
class Resources:
    """What a task asks of its node; memory in Kubernetes units."""

    cpu: str
    memory: str


TABLE = {
    "validate": Resources(cpu="4", memory="8Gi"),
    "train": Resources(cpu="8", memory="32Gi"),
    "export": Resources(cpu="4", memory="8Gi"),
    "evaluate": Resources(cpu="4", memory="8Gi"),
    "sample": Resources(cpu="2", memory="4Gi"),
    **dict.fromkeys(("gate", "verdict", "refuse", "conclude"), Resources(cpu="200m", memory="512Mi")),
    "report": Resources(cpu="2", memory="4Gi"),
    "register": Resources(cpu="2", memory="4Gi"),
}


# Environment variables that tasks take from the cluster (manifests/). All are optional: a ConfigMap that is missing
# would keep every task from starting, and validate can say better what is not set.
CONFIG_MAP = "sightline"
SETTINGS = (
    *("SIGHTLINE_STORE", "SIGHTLINE_S3_ENDPOINT", "SIGHTLINE_S3_WAIT", "AWS_REGION"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SIGHTLINE_TRACKING"),
)
SECRETS = {
    "sightline-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "sightline-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
STAGE = "sightline.ml/stage"  # label of a task's pod: network policies and alerts select by it


def request(task: dsl.PipelineTask, stage: str) -> dsl.PipelineTask:
    """Ask for what the table says, as request and as limit, and for the cluster's settings."""
    resources = TABLE[stage]
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {name: name for name in SETTINGS}, optional=True)
    for secret, names in SECRETS.items():
        kubernetes.use_secret_as_env(task, secret, {name: name for name in names}, optional=True)
    kubernetes.add_pod_label(task, STAGE, stage)
    # Pod Security "restricted" wants it said; the user id is the image's or, on OpenShift, the namespace's.
    return kubernetes.set_security_context(task, run_as_non_root=True)
