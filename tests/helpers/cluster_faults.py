"""What befalls a pod on a cluster: as an administrator, a full node or a kernel does it."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from tests.helpers.cluster import Cluster, Run, wait

# Fills the container's memory until the kernel kills for it: first the training, then its supervisor, and so on. With
# version 2 of control groups it takes the whole container at once. What fills lies in many small processes, which the
# kernel passes over for those that were made its first choice.
FILL = """
import os, time
for name in filter(str.isdecimal, os.listdir("/proc")):
    if int(name) not in (1, os.getpid()):
        open(f"/proc/{name}/oom_score_adj", "w").write("1000")
limit = int(open("/sys/fs/cgroup/memory/memory.limit_in_bytes").read())
for part in range(100):
    if os.fork() == 0:
        held = b"x" * (limit // 50)
        time.sleep(60)
        os._exit(0)
    time.sleep(0.05)
time.sleep(60)
"""


def train_pod(run: Run, but: str = "") -> dict[str, Any]:
    """Wait for a pod of train that runs, with another uid than `but`; returns it."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        pods = run.pods("sightline.ml/stage=train")
        found[:] = [pod for pod in pods if pod["metadata"]["uid"] != but and running(pod)]
        return bool(found)

    wait(there, f"{run.name}: a pod of train")
    return found[0]


def running(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]


def drain(cluster: Cluster, pod: str) -> None:
    """Drain the node of a pod, of this pod alone, and let it take pods again."""
    node = cluster.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
    stage = "--pod-selector=sightline.ml/stage=train"
    try:
        cluster.kubectl("drain", node, stage, "--force", "--delete-emptydir-data", "--ignore-daemonsets")
    finally:
        cluster.kubectl("uncordon", node)


def run_out_of_memory(cluster: Cluster, pod: str) -> None:
    """Fill the memory of a pod's container until the kernel kills its first Python."""
    command = ["kubectl", "-n", cluster.at.namespace, "exec", pod, "-c", "main", "--", "python3", "-c", FILL]
    subprocess.run(command, capture_output=True, check=False)


def force_delete(cluster: Cluster, pod: str) -> None:
    """Take a pod's object away at once, as happens when its node is gone."""
    cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0", "--ignore-not-found")


def seconds_until(happened: Any, what: str) -> float:
    """Wait for something on the cluster; returns how long that took."""
    start = time.monotonic()
    wait(happened, what)
    return time.monotonic() - start
