"""Follows a run on a cluster to its end, and says how it ended.

While it goes on, its Argo workflow tells the stages and what keeps a pod from starting. At its end the run's own
summary in the store counts; without access to the store, the states of the tasks do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sightline.documents import ErrorReport, SummaryDocument
from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate import cluster_results
from sightline.orchestrate.kfp_api import OVER, Server
from sightline.report import evidence
from sightline.runtime import workflow
from sightline.runtime.stage_frame import NAMES

PATIENCE = 600.0  # seconds for which a server may not answer while a run is followed
FIRST, LONGEST = 1.0, 10.0  # seconds between two looks: few runs are over soon, most go on for hours
SHOWN = 20  # lines of a failed task's log
ENDING = 60.0  # seconds for a run to end once it was told to
# What in a log is not the task's: lines of KFP's launcher and of Argo, what the server writes for a log that it lacks,
# and what KFP says in Python before the task begins, with all of its inputs and outputs.
NOISE = re.compile(r'[IWEF]\d{4} [\d:.]+ +\d+ \w+\.go:\d+\]|\{"error_message"|time=\S+ level=.* argo=true')
PREAMBLE = re.compile(r"^\[KFP Executor .*\n(?:\{\n(?:.*\n)*?\}\n)?", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """A task that goes on in another way, or something to know."""

    task: str  # empty for what concerns the whole run
    state: workflow.State | None
    words: str
    seconds: float | None = None


@dataclass(frozen=True)
class Log:
    """The end of a failed pod's log."""

    task: str
    message: str  # what Kubernetes says
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    run_id: str
    name: str
    state: str  # KFP's: SUCCEEDED, FAILED, CANCELED
    tasks: tuple[workflow.Task, ...]
    summary: SummaryDocument | None
    no_summary: str  # why there is none
    logs: tuple[Log, ...]
    given_up: str  # why we ended it: what Kubernetes says of the pod that did not start


class Follower:
    """Looks at a run again and again."""

    def __init__(
        self, server: Server, run_id: str, *, pending: float | None = None, patience: float = PATIENCE
    ) -> None:
        """Follow a run; it is ended when one of its pods has not started `pending` seconds after we first saw it."""
        self._patience = patience
        self._server = server
        self._run_id = run_id
        self._pending = pending
        self._states: dict[str, workflow.State] = {}  # of each task, as last told
        self._reasons: set[tuple[str, str]] = set()  # task and reason: pods go to and fro between two of them
        self._waits: dict[str, float] = {}  # since when each pod waits
        self._given_up = ""
        self._stuck = ""  # the task for whose pod it was given up
        self.found = False  # whether the server has shown the run

    def changes(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Change]:
        """Yield what happens until the run is over.

        Raises ClusterUsageError where the server refuses, and ClusterError where it does not answer for too long.
        """
        pause, silent_since, ending = FIRST, None, None
        while True:
            try:
                run = self._server.run(self._run_id)
                seen = self._server.workflow(self._run_id)
                self.found, silent_since = True, None
            except ClusterUsageError:
                raise
            except ClusterError as error:
                if silent_since is None:
                    silent_since = time.monotonic()
                    yield Change("", None, f"{error} Trying again; the run goes on.")
                elif time.monotonic() - silent_since > self._patience:
                    raise
                sleep(LONGEST)
                continue
            yield from self._news(seen)
            if run.state in OVER:
                return
            if ending is None and (why := self._overdue(seen)):
                self._given_up, ending = why, time.monotonic()
                self._server.terminate(self._run_id)
                yield Change("", None, f"ending the run: {why}")
            elif ending is not None and time.monotonic() - ending > ENDING:
                return
            sleep(pause)
            pause = min(pause * 1.5, LONGEST)

    def ended(self, store: str | None = None) -> Ended:
        """Return how the run ended, out of its summary and the server's records."""
        run = self._server.run(self._run_id)
        seen = self._server.workflow(self._run_id)
        summary, why = None, ""
        try:
            summary = cluster_results.summary(
                store, self._run_id, name=run.display_name, given_up=self._given_up_report()
            )
        except cluster_results.NoSummary as reason:
            why = str(reason)
        return Ended(
            run_id=self._run_id,
            name=run.display_name,
            state=run.state or "",
            tasks=tuple(workflow.tasks(seen)),
            summary=summary,
            no_summary=why,
            logs=tuple(self._logs(seen)),
            given_up=self._given_up,
        )

    def _news(self, seen: dict[str, Any]) -> Iterator[Change]:
        """Yield the tasks that go on in another way, and the pods that do not start, each for each reason once."""
        for task in workflow.tasks(seen):
            told = self._states.get(task.name) == task.state
            if not told or self._new_reason(task.name, task.message):
                self._new_reason(task.name, task.message)
                self._states[task.name] = task.state
                yield Change(task.name, task.state, task.message, task.seconds)
        for pod in workflow.waiting(seen):
            if self._new_reason(pod.task, pod.message):
                yield Change(pod.task, pod.state, pod.message)

    def _new_reason(self, task: str, message: str) -> bool:
        """Tell whether a task's message has a reason, its first word, that was not told yet; now it is."""
        reason = (task, message.partition(":")[0])
        if not message or reason in self._reasons:
            return False
        self._reasons.add(reason)
        return True

    def _overdue(self, seen: dict[str, Any]) -> str:
        """Say which pod has waited too long, and why in Kubernetes' words; nothing if none has."""
        now = time.monotonic()
        pods = {pod.name: pod for pod in workflow.pods(seen) if pod.state == "waiting"}
        self._waits = {name: self._waits.get(name, now) for name in pods}
        for name, since in self._waits.items():
            if self._pending is not None and now - since >= self._pending:
                why = pods[name].message.rstrip(".") or "Kubernetes gives no reason"
                self._stuck = pods[name].task
                return f"the pod of {self._stuck} has not started for {duration(now - since)}: {why}"
        return ""

    def _given_up_report(self) -> ErrorReport | None:
        """Return why the run was ended from here, as the error of the stage that did not start, if it was one."""
        stage = evidence.STAGES.get(self._stuck, self._stuck)
        if stage not in NAMES:
            return None
        message = f"`sightline submit --pending` ended the run: {self._given_up}."
        return ErrorReport(stage=stage, kind="lost", message=message, exit_code=1)

    def _logs(self, seen: dict[str, Any]) -> Iterator[Log]:
        """Yield the ends of the logs of the pods that failed, the last attempt of each task."""
        told = [pod for pod in workflow.failed(seen) if not (pod.driver and pod.message.startswith(workflow.STOPPED))]
        last = {(pod.task, pod.driver): pod for pod in told}
        for pod in last.values():
            try:
                text = self._server.log(self._run_id, pod.name)
            except ClusterError:
                text = ""  # no archive, and the pod is gone: what Kubernetes says of it stands alone
            kept = PREAMBLE.sub("", text).splitlines()
            lines = [line.rstrip() for line in kept if line.strip() and not NOISE.match(line)]
            if lines or not self._given_up:  # a run that was ended takes pods with it that never started
                yield Log(f"{pod.task}'s driver" if pod.driver else pod.task, pod.message, tuple(lines[-SHOWN:]))


def duration(seconds: float) -> str:
    """Write a time for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
