"""A Job that answers a question from inside the namespace, and is always removed.

Its pod has the image, the environment and the volumes of a task, the account of the run, and meets Pod Security
`restricted`, so that what keeps it from starting would keep tasks from starting too. What a process that was killed
leaves behind ends by itself (a deadline, a time to live), and the next check removes it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sightline.cluster.api import Kubernetes, Object
from sightline.cluster.events import newest_warning
from sightline.cluster.needs import Needs
from sightline.cluster.settings import references
from sightline.config.cluster_names import STAGE
from sightline.errors import ClusterError

LABEL = "sightline.ml/check"
ANSWER = "sightline-check: "  # how the line of the pod's log begins that holds the answer
PROGRAM = ["python3", "-m", "sightline.probe"]
WORK = 180  # seconds for the questions, once the pod runs
KEPT = 60  # seconds after its end, where nobody removes it
GRACE = 15.0  # seconds for which a reason has to stay the same before it is taken for the last word
LOOK = 1.0  # seconds between two looks
LINES = 5  # of a log in a message
# States of a container, and of a Job's pods, that no waiting changes.
PULLING = ("ErrImagePull", "ImagePullBackOff")  # by turns
LASTING = (
    *PULLING,
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "FailedCreate",
)
ON_ITS_WAY = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Answer:
    """What came back: the answer, or why there is none."""

    text: str = ""
    why_not: str = ""
    left: str = ""  # why the Job could not be removed


def body(task: Needs, tasks: Sequence[Needs], *, account: str, wait: float, question: Mapping[str, Any]) -> Object:
    """Return the Job: a pod like those of `task`, which may take `wait` seconds to start; tasks' settings reach it."""
    name = f"sightline-check-{secrets.token_hex(4)}"
    small = min((each for each in tasks if each.image == task.image), key=lambda each: each.requests.get("memory", 0))
    container = {
        "name": "check",
        "image": task.image,
        "command": PROGRAM,
        "args": [json.dumps(question)],
        "env": _environment(tasks),
        "resources": {kind: {key: f"{value:f}" for key, value in getattr(small, kind).items() if value}
                      for kind in ("requests", "limits")},
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            *({"name": each.name, "mountPath": each.path} for each in small.empty_dirs),
            *({"name": each.name, "mountPath": each.path} for each in task.claims),
        ],
    }  # fmt: skip
    volumes = [
        *({"name": each.name, "emptyDir": {"sizeLimit": each.size} if each.size else {}} for each in small.empty_dirs),
        *({"name": each.name, "persistentVolumeClaim": {"claimName": each.name}} for each in task.claims),
    ]
    labels = {**task.labels, STAGE: "check", LABEL: name}
    no_proxy = {"sidecar.istio.io/inject": "false"}  # a sidecar would keep the pod from its end; KFP says the same
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "terminationGracePeriodSeconds": 1,
        "imagePullSecrets": [{"name": each} for each in task.pull_secrets],
        "containers": [container],
        "volumes": volumes,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "sightline", LABEL: name}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(wait) + WORK,
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels | no_proxy, "annotations": no_proxy}, "spec": pod},
        },
    }


def _environment(tasks: Sequence[Needs]) -> list[Object]:
    """Return the variables of tasks, all of them optional: what is missing is said by the pod."""
    kinds = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}
    given = [
        {"name": each.variable, "valueFrom": {kinds[each.kind]: {"name": each.name, "key": each.key, "optional": True}}}
        for each in references(tasks)
    ]
    # What tells a process that it works in a pod of a run, as KFP says it.
    own = (("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid"))
    return [*given, *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in own)]


def run(kubernetes: Kubernetes, job: Object, *, wait: float, tell: Callable[[str], None]) -> Answer:
    """Create the Job, wait for its answer, and remove it, whatever happens; `tell` hears what it waits for.

    Raises ClusterError for what Kubernetes refuses or does not answer.
    """
    name = job["metadata"]["name"]
    path = kubernetes.path("jobs", group="batch")
    _sweep(kubernetes)
    left = ""
    try:
        kubernetes.create(path, job)
        answer = _followed(kubernetes, name, wait, tell)
    finally:
        try:
            kubernetes.delete(f"{path}/{name}")
        except ClusterError as error:
            left = f"the Job {name} could not be removed, and ends by itself: {error.message}"
    return replace(answer, left=left)


def _sweep(kubernetes: Kubernetes) -> None:
    """Remove what earlier checks left: Jobs that are over, or past the deadline that they have themselves."""
    path = kubernetes.path("jobs", group="batch")
    for old in list(kubernetes.items(path, labelSelector=LABEL)):
        made = datetime.fromisoformat(old["metadata"]["creationTimestamp"])
        late = (datetime.now(UTC) - made).total_seconds() > old["spec"].get("activeDeadlineSeconds", 0)
        conditions = (old.get("status") or {}).get("conditions") or []
        if late or any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions):
            kubernetes.delete(f"{path}/{old['metadata']['name']}")


def _followed(kubernetes: Kubernetes, name: str, wait: float, tell: Callable[[str], None]) -> Answer:
    """Look at the Job's pod again and again until it has answered, or cannot."""
    begun = since = time.monotonic()
    started, last = None, ("", "")
    while True:
        pod = next(kubernetes.items(kubernetes.path("pods"), labelSelector=f"{LABEL}={name}"), None)
        phase = ((pod or {}).get("status") or {}).get("phase")
        now = time.monotonic()
        if pod and phase in ("Succeeded", "Failed"):
            return _answer(kubernetes, pod)
        if phase == "Running":
            started = started or now
            if now - started > WORK:
                return Answer(why_not=f"its pod has not answered for {WORK} s")
            tell("the pod asks")
        else:
            reason = _standing(kubernetes, pod, name)
            if reason[0] != last[0] and not {reason[0], last[0]} <= {*PULLING}:
                last, since = reason, now
            last = reason if reason[1] else last
            tell(": ".join(filter(None, last)) or "the pod is on its way")
            if (last[0] in LASTING and now - since >= GRACE) or now - begun >= wait:
                why = ": ".join(filter(None, last)) or ("Kubernetes gives no reason" if pod else "there is no pod")
                return Answer(why_not=f"its pod has not started in {now - begun:.0f} s: {why}")
        time.sleep(LOOK)


def _standing(kubernetes: Kubernetes, pod: Object | None, job: str) -> tuple[str, str]:
    """Return why a pod has not started, as reason and message of Kubernetes; empty where all goes well so far."""
    if pod is None:
        return _event(kubernetes, "Job", job)
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waits = (container.get("state") or {}).get("waiting") or {}
        if waits.get("reason") and waits["reason"] not in ON_ITS_WAY:
            return waits["reason"], waits.get("message", "")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition.get("reason", ""), condition.get("message", "")
    return _event(kubernetes, "Pod", pod["metadata"]["name"])


def _event(kubernetes: Kubernetes, kind: str, name: str) -> tuple[str, str]:
    newest = newest_warning(kubernetes, kind, name) or {}
    return newest.get("reason", ""), newest.get("message", "")


def _answer(kubernetes: Kubernetes, pod: Object) -> Answer:
    """Read what the pod printed, or how it ended."""
    try:
        lines = kubernetes.log(pod["metadata"]["name"], "check").splitlines()
    except ClusterError as error:
        return Answer(why_not=f"its pod has ended, and its log cannot be read: {error.message}")
    if found := [line for line in lines if line.startswith(ANSWER)]:
        return Answer(found[-1].removeprefix(ANSWER))
    how = next(_ends(pod), pod["status"].get("reason") or "no answer")
    said = "; ".join(line.strip() for line in lines[-LINES:] if line.strip())
    return Answer(why_not=f"its pod ended without an answer ({how})" + (f": {said}" if said else ""))


def _ends(pod: Object) -> Iterator[str]:
    for container in pod["status"].get("containerStatuses") or []:
        if ended := (container.get("state") or {}).get("terminated"):
            yield f"{ended.get('reason')}, exit code {ended.get('exitCode')}"
