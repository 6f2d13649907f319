"""Follows a run on a cluster to its end, and says how it ended.

While it goes on, its Argo workflow says how the stages go, and `why` what stands in the way. At its end the run's own
summary in the store counts; without access to the store, the states of the tasks do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sightline import why
from sightline.cluster import Kubernetes
from sightline.documents import ErrorReport, SummaryDocument
from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate import cluster_results
from sightline.orchestrate.kfp_api import OVER, Server
from sightline.runtime import workflow
from sightline.runtime.stage_frame import NAMES
from sightline.why import Cause, Seen
from sightline.why.words import duration, own_lines

PATIENCE = 600.0  # seconds for which a server may not answer while a run is followed
FIRST, LONGEST = 1.0, 10.0  # seconds between two looks: few runs are over soon, most go on for hours
SHOWN = 20  # lines of a failed task's log
ENDING = 60.0  # seconds for a run to end once it was told to
LOOK, LONG_LOOK = 60.0, 300.0  # seconds between looks at pods and events: where nothing says why it waits; always

__all__ = ["Change", "Ended", "Follower", "Log", "duration"]


@dataclass(frozen=True)
class Change:
    """A task that goes on in another way, or something to know."""

    task: str  # empty for what concerns the whole run
    state: workflow.State | None
    words: str
    seconds: float | None = None
    cause: Cause | None = None  # what stands in the way, of which `words` are the sentence


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
    cause: Cause | None = None  # why it failed
    unasked: tuple[str, ...] = ()  # what could not be asked of that


class Follower:
    """Looks at a run again and again."""

    def __init__(
        self,
        server: Server,
        run_id: str,
        *,
        pending: float | None = None,
        patience: float = PATIENCE,
        kubernetes: Kubernetes | None = None,
    ) -> None:
        """Follow a run; it is ended when one of its pods has not started `pending` seconds after we first saw it.

        `kubernetes` is asked for pods and events, where there is one.
        """
        self._patience = patience
        self._server = server
        self._run_id = run_id
        self._pending = pending
        self._kubernetes = kubernetes
        self._states: dict[str, workflow.State] = {}  # of each task's node, as last said
        self._reasons: set[tuple[str, str]] = set()  # task and reason: pods go to and fro between two of them
        self._waits: dict[str, float] = {}  # since when each pod waits
        self._looked = time.monotonic()
        self._seen: Cause | None = None  # what stands in the way, or did when the end came
        self._given_up = ""
        self._stuck = ""  # the task for whose pod it was given up
        self._newest: tuple[Any, dict[str, Any]] | None = None  # the run and its workflow, as the server showed them

    @property
    def found(self) -> bool:
        """Whether the server has shown the run."""
        return self._newest is not None

    def changes(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Change]:
        """Yield what happens until the run is over.

        Raises ClusterUsageError where the server refuses, and ClusterError where it does not answer for too long.
        """
        pause, silent_since, ending = FIRST, None, None
        while True:
            try:
                run = self._server.run(self._run_id)
                seen = self._server.workflow(self._run_id)
                self._newest, silent_since = (run, seen), None
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
            if ending is None and (overdue := self._overdue(seen)):
                self._given_up, ending = overdue, time.monotonic()
                self._server.terminate(self._run_id)
                yield Change("", None, f"ending the run: {overdue}")
            elif ending is not None and time.monotonic() - ending > ENDING:
                return
            sleep(pause)
            pause = min(pause * 1.5, LONGEST)

    def ended(self, store: str | None = None) -> Ended:
        """Return how the run ended, out of its summary and the server's records: the newest that it has shown.

        Raises ClusterError where it has shown none and does not answer.
        """
        try:
            run, found = self._server.run(self._run_id), self._server.workflow(self._run_id)
        except ClusterError:
            if self._newest is None:
                raise
            run, found = self._newest
        summary, no_summary, place = None, "", None
        try:
            place = cluster_results.place(store)
        except cluster_results.NoSummary as reason:
            no_summary = str(reason)
        seen = why.look(self._run_id, store=place, kubernetes=self._kubernetes, server=self._server)
        cause = self._cause(seen)
        if place:
            try:
                summary = cluster_results.summary(
                    place, self._run_id, name=run.display_name, given_up=self._given_up_report(), cause=cause
                )
                cause = summary.cause or cause
            except cluster_results.NoSummary as reason:
                no_summary = str(reason)
        return Ended(
            run_id=self._run_id,
            name=run.display_name,
            state=run.state or "",
            tasks=tuple(workflow.tasks(found)),
            summary=summary,
            no_summary=no_summary,
            logs=tuple(self._logs(found)),
            given_up=self._given_up,
            cause=cause,
            unasked=seen.unasked,
        )

    def _cause(self, seen: Seen) -> Cause | None:
        """Return why the run failed; where it was ended from here, what its pod waited for."""
        if not self._given_up or self._seen is None:
            return why.cause(seen, self._seen)
        waited = self._given_up.partition(" has not started for ")[2].partition(":")[0]
        reason = self._seen.sentence.partition("is waiting: ")[2] or self._seen.sentence
        sentence = (
            f"{self._stuck} did not start within {waited}, so `sightline submit --pending` ended the run: {reason}"
        )
        return self._seen.model_copy(update={"sentence": sentence, "ended": True})

    def _news(self, found: dict[str, Any]) -> Iterator[Change]:
        """Yield the tasks that go on in another way, and what stands in their way, each reason once."""
        causes = {cause.task: cause for cause in self._hindrances(found)}
        for task in workflow.tasks(found):
            cause = causes.pop(task.name, None)
            words = cause.sentence if cause else task.message
            same = self._states.get(task.path) == task.state
            if not same or self._new_reason(task.name, words, cause):
                self._new_reason(task.name, words, cause)
                self._states[task.path] = task.state
                yield Change(task.name, task.state, words, task.seconds, cause)
        for name, cause in causes.items():  # of a driver: its task has not begun
            if name and self._new_reason(name, cause.sentence, cause):
                yield Change(name, "waiting", cause.sentence, cause=cause)

    def _hindrances(self, found: dict[str, Any]) -> list[Cause]:
        """Return what stands in the way, by the workflow; by pods and events too where that says nothing for long."""
        seen = Seen(self._run_id, datetime.now(UTC), workflow=found)
        if workflow.over(found):
            return []
        causes = why.hindrances(seen)
        silent = any(pod.state == "waiting" and not pod.message for pod in workflow.pods(found))
        if self._kubernetes and time.monotonic() - self._looked > (LOOK if silent else LONG_LOOK):
            self._looked = time.monotonic()
            causes = why.hindrances(why.look(self._run_id, kubernetes=self._kubernetes, server=self._server))
        newest = {pod.task: pod.state for pod in workflow.pods(found)}
        begun = [task for task, state in newest.items() if state in ("running", "done")]
        self._seen = next((each for each in (*causes, self._seen) if each and each.task not in begun), None)
        return causes

    def _new_reason(self, task: str, words: str, cause: Cause | None) -> bool:
        """Tell whether a task's reason, a cause's kind or a message's first word, is new; from now on it is not."""
        reason = (task, cause.kind if cause else words.partition(":")[0])
        if not words or reason in self._reasons:
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
                said = pods[name].message.rstrip(".") or "Kubernetes gives no reason"
                self._stuck = pods[name].task
                return f"the pod of {self._stuck} has not started for {duration(now - since)}: {said}"
        return ""

    def _given_up_report(self) -> ErrorReport | None:
        """Return why the run was ended from here, as the error of the stage that did not start, if it was one."""
        stage = why.STAGES.get(self._stuck, self._stuck)
        if stage not in NAMES:
            return None
        message = f"`sightline submit --pending` ended the run: {self._given_up}."
        return ErrorReport(stage=stage, kind="lost", message=message, exit_code=1)

    def _logs(self, seen: dict[str, Any]) -> Iterator[Log]:
        """Yield the ends of the logs of the pods that failed, the last attempt of each task."""
        told = [pod for pod in workflow.failed(seen) if not (pod.driver and pod.message.startswith(workflow.STOPPED))]
        last = {pod.path: pod for pod in told}
        for pod in last.values():
            try:
                text = self._server.log(self._run_id, pod.name)
            except ClusterError:
                text = ""  # no archive, and the pod is gone: what Kubernetes says of it stands alone
            lines = own_lines(text)
            if lines or not self._given_up:  # a run that was ended takes pods with it that never started
                yield Log(f"{pod.task}'s driver" if pod.driver else pod.task, pod.message, tuple(lines[-SHOWN:]))
