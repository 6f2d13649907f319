"""The pods of a training's other nodes: started, looked after, and removed by the pod of the first one."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from sightline.cluster.api import Kubernetes, NotThere, Object
from sightline.cluster.events import newest_warning
from sightline.cluster.pod_words import ended, in_words
from sightline.cluster.rank_job import job
from sightline.config.cluster_names import QUEUE, RANK, RUN, STAGE
from sightline.errors import ClusterError, ClusterUsageError
from sightline.runtime import progress

COMPONENT = "the component several-nodes of manifests/"
NEEDED = (  # verb, kind, group: what starting and looking after them takes
    *((verb, "jobs", "batch") for verb in ("create", "get", "list", "delete")),
    *((verb, "pods", "") for verb in ("get", "list")),
)
LOOK = 5.0  # seconds between two looks at a Job
AGAIN = 30.0  # seconds after which a Job that is over is made again
INDEX = "batch.kubernetes.io/job-completion-index"


def lacking(kubernetes: Kubernetes) -> list[str]:
    """Return what the account may not do, of what several nodes need. Raises ClusterError."""
    return [f"{verb} {kind}" for verb, kind, group in NEEDED if not kubernetes.may(verb, kind, group=group)]


def remove(kubernetes: Kubernetes, run_id: str) -> int:
    """Delete the Jobs that a run has left, and their pods; returns how many there were. Raises ClusterError."""
    jobs = kubernetes.path("jobs", group="batch")
    found = [
        each["metadata"]["name"] for each in kubernetes.items(jobs, labelSelector=f"{RUN}={run_id},{STAGE}={RANK}")
    ]
    for name in found:
        kubernetes.delete(kubernetes.path("jobs", name, group="batch"))
    return len(found)


class Ranks:
    """The pods of nodes 1 and on, as an Indexed Job.

    The Job replaces a pod that fails or is deleted, so that the others keep what they have fetched. A Job that is over
    or gone is made again. An outage of Kubernetes' API costs nothing but time.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        pod: Object,
        *,
        run_id: str,
        count: int,
        command: Sequence[str],
        variables: Mapping[str, str],
        pause: float = AGAIN,
    ) -> None:
        """Take the pod of node 0 and what `count` others run (`rank_job.job`). Nothing is started yet."""
        self._kubernetes, self._pod, self._run = kubernetes, pod, run_id
        self._count, self._command, self._variables = count, command, variables
        self._pause = pause
        self._number, self._made, self._looked = 0, 0.0, 0.0
        self._ends: set[str] = set()  # pods whose ends are known

    @property
    def name(self) -> str:
        """The Job's name: by the run, this pod, and the number of the Job."""
        return f"{self._names}{self._number}"

    @property
    def _names(self) -> str:
        return f"sightline-ranks-{self._run[:8]}-{self._pod['metadata']['uid'][:5]}-"

    def tend(self, away: Collection[int]) -> None:
        """See that the nodes `away` have pods, or will have. It may be called often.

        Raises ClusterUsageError where Kubernetes refuses.
        """
        now = time.monotonic()
        if now - self._looked < LOOK and self._number:
            return
        self._looked = now
        try:
            found = self._job() if self._number else None
            if found is not None and not _over(found, away):
                return
            if self._number and now - self._made < self._pause:
                return
            if self._number:
                self._kubernetes.delete(self._path())
                progress.notice(f"the Job {self.name} is {'over' if found else 'gone'}; it is made again.")
            self._number, self._made = self._number + 1, now
            self._create()
        except ClusterUsageError:
            raise
        except ClusterError as outage:
            progress.notice(f"the other nodes cannot be started or looked at now: {outage}")

    def say(self, rank: int) -> str:
        """Return what Kubernetes says of a node's pods, in a sentence or two; empty where it says nothing."""
        try:
            pods = self._pods(rank)
            if pods:
                # A replaced pod's end, and how its successor is.
                shown = [pod for pod in pods[:-1] if ended(pod)][-1:] + pods[-1:]
                return " ".join(in_words(pod) for pod in shown)
            return self._without_pod()
        except ClusterError as error:
            return f"What Kubernetes knows of it cannot be asked: {error.message}"

    def ended(self, rank: int) -> Object | None:
        """Return the newest pod of a node that has ended since this was last asked; None without one."""
        try:
            new = [pod for pod in self._pods(rank) if ended(pod) and pod["metadata"]["uid"] not in self._ends]
        except ClusterError:
            return None
        self._ends |= {pod["metadata"]["uid"] for pod in new}
        return new[-1] if new else None

    def remove(self) -> None:
        """Delete what is left of this run's Jobs; where that is impossible, their pods end by themselves."""
        try:
            remove(self._kubernetes, self._run)
        except ClusterError as error:
            progress.notice(f"the pods of the other nodes could not be removed, and end by themselves: {error}")

    def _path(self) -> str:
        return self._kubernetes.path("jobs", self.name, group="batch")

    def _job(self) -> Object | None:
        try:
            return self._kubernetes.get(self._path())
        except NotThere:
            return None

    def _create(self) -> None:
        wanted = job(
            self._pod, self.name, run_id=self._run, count=self._count, command=self._command, variables=self._variables
        )
        self._kubernetes.create(self._kubernetes.path("jobs", group="batch"), wanted)
        pods = f"{self._count} pod{'s' * (self._count > 1)}"
        progress.notice(f"the other nodes are started: {pods} of the Job {self.name}.")

    def _pods(self, rank: int) -> list[Object]:
        """Return the pods of a node in order of time: of all Jobs that this pod has made."""
        found = []
        selector = f"{RUN}={self._run},{STAGE}={RANK}"
        for pod in self._kubernetes.items(self._kubernetes.path("pods"), labelSelector=selector):
            meta = pod["metadata"]
            if meta["name"].startswith(self._names) and (meta.get("annotations") or {}).get(INDEX) == str(rank - 1):
                found.append(pod)
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def _without_pod(self) -> str:
        """Say why there is no pod."""
        found = self._job()
        if found is None:
            return f"Its Job {self.name} is gone."
        if found["spec"].get("suspend"):
            queue = (found["metadata"].get("labels") or {}).get(QUEUE, "")
            return f"Its Job {self.name} is suspended: the queue {queue} has not admitted it."
        for condition in found.get("status", {}).get("conditions") or []:
            if condition["type"] in ("Failed", "FailureTarget") and condition["status"] == "True":
                return f"Its Job {self.name} failed: {condition.get('message', condition.get('reason', ''))}"
        event = newest_warning(self._kubernetes, "Job", self.name) or {}
        if not event.get("message") and _failed(found):
            return f"Its pod is gone: it was deleted, or its machine was lost. The Job {self.name} makes another one."
        why = event.get("message") or f"`kubectl describe job {self.name}` says why (a quota, a rule)."
        return f"It has no pod: {why}"


def _over(job: Object, away: Collection[int]) -> bool:
    """Tell whether a Job makes no more pods for one of these nodes."""
    status = job.get("status") or {}
    if job["metadata"].get("deletionTimestamp"):
        return True
    if any(
        each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in status.get("conditions") or []
    ):
        return True
    done = _indexes(str(status.get("completedIndexes") or ""))
    return any(rank - 1 in done for rank in away)


def _failed(job: Object) -> bool:
    """Tell whether a Job has had a pod that failed or was deleted: a pod is counted before it goes."""
    status = job.get("status") or {}
    return bool(status.get("failed") or (status.get("uncountedTerminatedPods") or {}).get("failed"))


def _indexes(text: str) -> set[int]:
    """Read `0,2-4` as Kubernetes writes it."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
