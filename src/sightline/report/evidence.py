"""What Kubernetes says of a stage that could not say itself why it ended: Kubeflow Pipelines passes it on.

Its server hands out the Argo workflow of a run without any rights in Kubernetes. This is extra: where no server is
named, or it does not answer, a note says so and the summary stays as it was.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import certifi
import urllib3

from sightline.documents import ErrorReport
from sightline.errors import ClusterError, SightlineError
from sightline.runtime import kfp_server, progress, workflow
from sightline.runtime.stage_frame import NAMES
from sightline.storage import setting

UNEXPLAINED = ("lost", "interrupted")  # kinds of errors that say of a pod no more than that it was ended
WAIT = 5  # seconds
WORDS = 400  # characters of Kubernetes' own words in a message: the scheduler counts nodes by each of their reasons
STAGES = {"gate": "validate", "refuse": "validate", "verdict": "evaluate"}  # tasks that are no stages
CONCLUDE = "conclude"
TABLE = "its row of the table in pipelines/resources.py"


@dataclass(frozen=True)
class Reason:
    """A way for a pod to end or not to start."""

    words: str  # Kubernetes' or Argo's, as a regular expression
    what: str  # happened to the task
    train: str  # what to do if it was training, for which the form has settings
    other: str  # what to do for other tasks
    kind: str = "lost"


RETRY = 'Start the run again, or choose "Retry" in the dashboard, which repeats only what did not finish.'
STUCK = f"If it has no log it had not started, for want of a node or of quota. {RETRY}"
IMAGE = "See that the cluster reaches the registry, has the image and may fetch it (PULL_SECRET of `make compile`)."
START = "manifests/README.md says what the namespace of a run needs."
DISK = f"Give it more: `disk` in {TABLE}."
SLOW = "If its log is empty, its image could not be fetched in that time; otherwise give it more: "
REASONS = (
    Reason(
        "OOMKilled",
        "ran out of memory",
        "Give it more by train_memory in the form, or make train_batch smaller.",
        f"Give it more: {TABLE}.",
        "memory",
    ),
    Reason(
        "exceeded quota",
        "was given no pod, since the namespace's quota is used up",
        "Wait for other runs to end, ask for less (train_cpu, train_memory, train_gpus), or have the quota raised.",
        "Wait for other runs to end, or have the quota raised.",
    ),
    Reason("forbidden|CreateContainer", "could not be started", START, START),
    Reason(
        "Unschedulable",
        "found no node that takes its pod",
        "Ask for what a node has: train_cpu, train_memory, train_gpus, train_node_selector, train_tolerations.",
        f"What it asks of a node is {TABLE}.",
    ),
    Reason(r"ErrImage|ImagePull|InvalidImageName|pulling image|pull image", "could not fetch its image", IMAGE, IMAGE),
    Reason(
        "longer than the specified deadline|DeadlineExceeded",
        "ran into its time limit",
        f"{SLOW}TRAIN_TIMEOUT of `make compile`.",
        f"{SLOW}{TABLE}.",
    ),
    Reason(
        workflow.STOPPED,
        "was ended together with the run, by hand or by the run's own deadline",
        STUCK,
        STUCK,
        "interrupted",
    ),
    Reason(
        r"pod deleted|exit code 143|[Pp]reempt|[Ss]hutdown|low on resource|Evicted",
        "lost its pod: it was deleted, or its node was drained, full or lost",
        RETRY,
        RETRY,
    ),
    Reason("[Ee]mpty[Dd]ir|ephemeral", "filled its disk", DISK, DISK),
    Reason("", "ended without a result", "The dashboard shows its log.", "The dashboard shows its log."),
)


def look(run_id: str) -> Mapping[str, Any]:
    """Return the run's Argo workflow; empty where no server is named, or it cannot be asked, which is a notice."""
    try:
        return _workflow(run_id)
    except SightlineError as problem:
        progress.notice(f"what Kubernetes says of this run is not known: {problem}")
        return {}


def explained(error: ErrorReport | None, seen: Mapping[str, Any]) -> ErrorReport | None:
    """Return the error with what Kubernetes knows of its cause by the run's workflow, if it lacks one."""
    if error is None or error.kind not in UNEXPLAINED:
        return error
    pod = _culprit(seen)
    return _report(pod, error) if pod else error


def _workflow(run_id: str) -> Mapping[str, Any]:
    """Return the run's Argo workflow; empty where no server is named. Raises SightlineError."""
    address = kfp_server.endpoint() or _beside_us()
    if address is None:
        return {}
    token, _ = kfp_server.token()
    wait = setting("SIGHTLINE_KFP_WAIT", WAIT, 1)
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(total=wait),
        retries=False,
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    try:
        answer = pool.request("GET", f"{address}/apis/v1beta1/runs/{quote(run_id, safe='')}", redirect=False)
        if answer.status != 200:
            raise ClusterError(f"the server at {address} answers with status {answer.status}.")
        return workflow.handed_out(answer.json())
    except urllib3.exceptions.TimeoutError:
        raise ClusterError(f"the server at {address} does not answer within {wait} seconds.") from None
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(f"the server at {address} cannot be asked: {error}.") from None
    except ValueError:
        raise ClusterError(f"what answers at {address} is no Kubeflow Pipelines server.") from None


def _beside_us() -> str | None:
    """Return the server's address in its own namespace, where Kubernetes gives every pod that of each service."""
    host, port = (os.environ.get(f"ML_PIPELINE_SERVICE_{part}") for part in ("HOST", "PORT"))
    return f"http://{host}:{port}" if host and port else None


def _culprit(seen: Mapping[str, Any]) -> workflow.Pod | None:
    """Return the pod that ended the run: the first to fail for good, else one that does not start."""
    last = {(pod.task, pod.driver): pod for pod in workflow.pods(seen) if pod.task != CONCLUDE}
    stuck = [pod for pod in last.values() if pod.state == "waiting" and pod.message]
    return next((pod for pod in last.values() if pod.state == "failed"), None) or next(iter(stuck), None)


def _report(pod: workflow.Pod, error: ErrorReport) -> ErrorReport:
    """Return the error in Kubernetes' words, and with what to do."""
    reason = next(reason for reason in REASONS if re.search(reason.words, pod.message))
    words = textwrap.shorten(pod.message, WORDS, placeholder="…").rstrip(".")
    subject = f"The driver of the task {pod.task}" if pod.driver else f"The task {pod.task}"
    said = f'; Kubernetes says: "{words}"' if words else ""
    do = reason.train if pod.task == "train" and not pod.driver else reason.other
    stage = STAGES.get(pod.task, pod.task)
    return ErrorReport(
        stage=stage if stage in NAMES else error.stage,
        kind=reason.kind,
        message=f"{subject} {reason.what}{said}. {do}",
        exit_code=1,
    )
