"""What runs the Jobs of a Kubernetes double: each pod is a process of this machine, and one that fails is replaced."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.helpers.kubernetes_double import KubernetesDouble, state_lock

Object = dict[str, Any]
BACKOFF = 1.0  # seconds before a pod is replaced


class Jobs:
    """The controller of Jobs and the kubelet."""

    def __init__(self, server: KubernetesDouble, **environment: str) -> None:
        """Run what is created from now on; `environment` stands for what the image of the pods has."""
        self.server, self.environment = server, environment
        self.processes: dict[str, subprocess.Popen[str]] = {}  # by pod
        self.ended: dict[str, tuple[int, str]] = {}  # by pod: exit code, and what it printed
        self._due: list[tuple[float, Object, int]] = []  # pods that are made again, and when
        self._over = threading.Event()
        server.on_create = self._created
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for name in self.processes.keys() - self.ended.keys():
            self.processes[name].kill()
            self.processes[name].communicate()

    def pods(self) -> list[str]:
        """The pods whose processes run."""
        return [name for name, process in list(self.processes.items()) if process.poll() is None]

    def _created(self, server: KubernetesDouble, created: Object) -> None:
        if created["kind"] == "Job":
            for index in range(created["spec"]["completions"]):
                self._start(created, index)

    def _start(self, job: Object, index: int) -> None:
        template = job["spec"]["template"]
        (container,) = template["spec"]["containers"]
        name = f"{job['metadata']['name']}-{index}-{len(self.processes)}"
        values = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        values |= {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": name}
        self.processes[name] = subprocess.Popen(
            container["command"], env={**os.environ, **self.environment, **values},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        self.server.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": job["metadata"]["namespace"],
                    "uid": f"uid-of-{name}",
                    "labels": template["metadata"]["labels"],
                    "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                    "creationTimestamp": f"2026-11-29T12:00:00.{len(self.processes):06}Z",
                    "ownerReferences": [owner],
                },
                "spec": {"containers": [container], "nodeName": "here"},
                "status": {"phase": "Running"},
            }
        )

    def _follow(self) -> None:
        while not self._over.wait(0.05):
            with state_lock:
                kept = {pod["metadata"]["name"]: pod for pod in self.server.of("Pod")}
                for name, process in list(self.processes.items()):
                    if name not in kept and process.poll() is None:
                        process.terminate()
                    elif process.poll() is not None and name not in self.ended:
                        self.ended[name] = (process.returncode, process.communicate()[0])
                        if name in kept:
                            self._end(kept[name], process.returncode)
                due, self._due = self._due, []
                for at, job, index in due:
                    if at > time.monotonic():
                        self._due.append((at, job, index))
                    elif job in self.server.of("Job", "batch"):
                        self._start(job, index)

    def _end(self, pod: Object, code: int) -> None:
        """Note how a pod ended, and replace it or count it as done."""
        owner, index = pod["metadata"]["ownerReferences"][0], pod["metadata"]["annotations"].popitem()[1]
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = index
        pod["status"]["phase"] = "Failed" if code else "Succeeded"
        reason = "OOMKilled" if code == -9 else "Error" if code else "Completed"
        state = {"terminated": {"exitCode": 128 - code if code < 0 else code, "reason": reason}}
        pod["status"]["containerStatuses"] = [{"name": "main", "state": state}]
        for job in self.server.of("Job", "batch"):
            if job["metadata"]["name"] == owner["name"]:
                if code:
                    self._due.append((time.monotonic() + BACKOFF, job, int(index)))
                else:
                    complete = {"type": "Complete", "status": "True"}
                    job["status"] = {"completedIndexes": index, "conditions": [complete]}


@contextlib.contextmanager
def running(server: KubernetesDouble, **environment: str) -> Iterator[Jobs]:
    """Run the Jobs that are created in this block; their processes end with it."""
    jobs = Jobs(server, **environment)
    try:
        yield jobs
    finally:
        jobs.close()


def until(happened: Any, what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
