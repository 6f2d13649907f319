"""Node 0's side: it waits for the others, gives them each attempt, and learns how it ended there."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

from sightline.documents import ErrorReport
from sightline.errors import SightlineError, TrainError
from sightline.runtime import progress
from sightline.runtime.stage_frame import error_report
from sightline.train.nodes.channel import Server
from sightline.train.nodes.messages import LIMITS, Assignment, Beat, Limits, Orders, Report
from sightline.train.nodes.node import Node, socket_variables

USERS_FAULT = 2  # exit code of an error that a restart does not cure


class Collected(NamedTuple):
    """How an attempt ended on the other nodes, by their rank: each node is in one of the two."""

    reports: dict[int, Report]
    lost: dict[int, str]  # why there is no report: a sentence that names the node


@dataclass
class _Seen:
    """What a node said last, and when (by this machine's monotonic clock)."""

    beat: Beat
    at: float
    told: bool = False  # that training is over

    @property
    def name(self) -> str:
        return f"node {self.beat.rank} ({self.beat.host})"


class Coordinator:
    """Leads the other nodes; as a context it tells them at its end how training ended.

    An interrupt (Ctrl-C, SIGTERM) is not such an end: they stop their ranks and wait for node 0 to be started again.
    """

    def __init__(self, node: Node, identity: dict[str, str], limits: Limits = LIMITS) -> None:
        """Take what `identity()` returned. Raises ConfigError if the port is taken."""
        self.node, self.identity, self.limits = node, identity, limits
        self.session, self.host = uuid.uuid4().hex, socket.gethostname()
        self._changed = threading.Condition()
        self._seen: dict[int, _Seen] = {}
        self._refused: dict[int, str] = {}
        self._assignment: Assignment | None = None
        self._members: dict[int, str] = {}  # the processes that run the attempt, by the rank of their node
        self._reports: dict[int, tuple[float, Report]] = {}
        self._end = False
        self._finished = False
        self._error: ErrorReport | None = None
        self._server = Server(node.port, self._hear, self._told)

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, Exception):
                self._finish(error)
        finally:
            self._server.close()

    def start_attempt(self, number: int, job: dict[str, Any]) -> int:
        """Wait until all nodes are free, give them the attempt, and return the port for torchrun's `--master_port`.

        Raises TrainError if a node does not come in time, and the error of a node that refuses its own part.
        """
        with self._changed:
            self._assignment = None
            self._gather()
            port = _free_port()
            self._reports, self._end = {}, False
            self._members = {rank: seen.beat.session for rank, seen in self._seen.items()}
            self._assignment = Assignment(session=self.session, number=number, port=port, job=job)
        return port

    def stop(self) -> str | None:
        """Return why node 0's ranks should end now, because of another node; None to go on. Poll it."""
        with self._changed:
            for rank in self._members:
                if reported := self._reports.get(rank):
                    at, report = reported
                    if report.exit_code and time.monotonic() - at > self.limits.grace:
                        return f"the ranks of {self._seen[rank].name} ended with exit code {report.exit_code}."
                elif lost := self._lost(rank):
                    return lost
        return None

    def collect(self, patience: float) -> Collected:
        """Return how the attempt ended on the other nodes, once node 0's ranks are gone.

        Ranks that still run after `patience` seconds are told to end; a node that then says nothing counts as lost.
        """
        start = time.monotonic()
        with self._changed:
            while True:
                waited = time.monotonic() - start
                lost = {rank: reason for rank in self._members if (reason := self._lost(rank))}
                open_ = [rank for rank in self._members if rank not in self._reports and rank not in lost]
                if waited > patience + self.limits.ending:
                    lost |= {rank: f"{self._seen[rank].name} did not end its ranks." for rank in open_}
                    open_ = []
                if not open_:
                    reports = {rank: report for rank, (_, report) in self._reports.items()}
                    self._assignment, self._members = None, {}
                    return Collected(reports, {rank: lost[rank] for rank in lost if rank not in reports})
                self._end = self._end or waited >= patience
                self._changed.wait(self.limits.beat)

    def progress(self) -> dict[int, dict[str, Any]]:
        """Return what the supervisors of the other nodes last said of their ranks, by node."""
        with self._changed:
            return {rank: self._seen[rank].beat.progress for rank in self._members}

    def environment(self) -> dict[str, str]:
        """Return the variables with which node 0's ranks use the network of the nodes."""
        return socket_variables(self._server.local)

    def _gather(self) -> None:
        """Wait until every other node is there and free. Raises as start_attempt does."""
        started = reminded = complete = time.monotonic()
        while True:
            now = time.monotonic()
            away = [rank for rank in range(1, self.node.count) if not self._here(rank)]
            busy = [rank for rank in range(1, self.node.count) if rank not in away and not self._free(rank, started)]
            if not away and not busy:
                return
            for rank in away:
                left = self._seen[rank].beat.left if rank in self._seen else None
                if left and left.exit_code == USERS_FAULT:
                    raise told_error(left, self._seen[rank].name)
            complete = complete if away else now
            if now - complete > self.limits.gather:
                raise TrainError(
                    f"Node 0 waited {now - complete:.0f} s for all {self.node.count} nodes, and not all came. Start "
                    f"`sightline train` on each of them; they need a way to {self.node.address}:{self.node.port}.",
                    [self._away(rank) for rank in away],
                )
            if now - reminded > self.limits.remind:
                reminded = now
                names = "; ".join(map(self._away, away + busy))
                progress.notice(f"waiting for {self.node.count} nodes, {now - started:.0f} s so far: {names}.")
            self._changed.wait(self.limits.beat)

    def _here(self, rank: int) -> bool:
        seen = self._seen.get(rank)
        return bool(seen and not seen.beat.left and time.monotonic() - seen.at <= self.limits.silent)

    def _free(self, rank: int, since: float) -> bool:
        """Tell whether a node has said after `since` that it can run an attempt: it may have died just before."""
        seen = self._seen[rank]
        return seen.at > since and seen.beat.ready and not seen.beat.running

    def _speaks(self, seen: _Seen) -> bool:
        """Tell whether a node still asks every second; one that was killed does not, and gives way to a successor."""
        return time.monotonic() - seen.at < 5 * self.limits.beat

    def _away(self, rank: int) -> str:
        """Say why the attempt cannot start with a node."""
        if rank in self._refused:
            return self._refused[rank]
        if rank not in self._seen:
            return f"node {rank} has not been heard of"
        seen = self._seen[rank]
        if seen.beat.left:
            return f"{seen.name} ended: {seen.beat.left.message}"
        if self._here(rank):
            return f"{seen.name} prepares"
        return f"{seen.name} has been silent for {time.monotonic() - seen.at:.0f} s"

    def _lost(self, rank: int) -> str | None:
        """Say why the process that took part in the attempt is gone; None if it is there."""
        seen = self._seen[rank]
        if seen.beat.session != self._members[rank]:
            return f"{seen.name} was started again."
        return None if self._here(rank) else f"{self._away(rank).rstrip('.')}."

    def _hear(self, beat: Beat) -> Orders:
        """Answer a node."""
        with self._changed:
            orders = Orders(session=self.session, host=self.host)
            if problems := self._differences(beat):
                return orders.model_copy(update={"refused": problems})
            known = self._seen.get(beat.rank)
            if known and known.beat.session != beat.session and not known.beat.left and self._speaks(known):
                return orders.model_copy(update={"taken": known.beat.host})
            self._refused.pop(beat.rank, None)
            self._seen[beat.rank] = _Seen(beat, time.monotonic())
            self._take_report(beat)
            self._changed.notify_all()
            # A node that was started again has no part in the attempt that goes on.
            given = self._assignment if self._members.get(beat.rank) == beat.session else None
            update = {"assignment": given, "end": self._end, "finished": self._finished, "error": self._error}
            return orders.model_copy(update=update)

    def _take_report(self, beat: Beat) -> None:
        """Keep the report of a node that takes part in the running attempt."""
        made, given = beat.reported, self._assignment
        if not made or not given or self._members.get(beat.rank) != beat.session:
            return
        if (made.session, made.number) == (given.session, given.number):
            self._reports.setdefault(beat.rank, (time.monotonic(), made.report))

    def _differences(self, beat: Beat) -> list[str]:
        """Say what is wrong with a node that wants to take part, and show it here once; empty if it may."""
        if not 1 <= beat.rank < self.node.count:
            return [f"--node-rank: got {beat.rank}, expected 1 to {self.node.count - 1} beside node 0"]
        ours, theirs = self.identity, beat.identity
        problems = [
            f"{name}: {ours.get(name, 'nothing')} on node 0 ({self.host}), "
            f"{theirs.get(name, 'nothing')} on node {beat.rank} ({beat.host})"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if problems:
            text = f"node {beat.rank} ({beat.host}) trains something else and was refused: {'; '.join(problems)}"
            if self._refused.get(beat.rank) != text:
                self._refused[beat.rank] = text
                progress.notice(f"{text}.")
        return problems

    def _told(self, beat: Beat, orders: Orders) -> None:
        """Note that a node has its answer."""
        with self._changed:
            seen = self._seen.get(beat.rank)
            if orders.finished and seen and seen.beat.session == beat.session:
                seen.told = True
                self._changed.notify_all()

    def _finish(self, error: Exception | None) -> None:
        """Tell the nodes that are there how training ended; one that does not ask in time is not waited for."""
        deadline = time.monotonic() + self.limits.answer
        with self._changed:
            self._finished, self._error = True, error_report("train", error) if error else None
            self._assignment = None
            while any(self._speaks(seen) and not seen.told for seen in self._seen.values()):
                if not self._changed.wait(deadline - time.monotonic()):
                    return


def told_error(report: ErrorReport, who: str) -> SightlineError:
    """Return the error of another node, with its kind and exit code."""
    error = SightlineError(f"{who[0].upper()}{who[1:]}: {report.message}")
    error.kind, error.exit_code = report.kind, report.exit_code
    return error


def _free_port() -> int:
    """Return a port on which nothing listens on any address of this machine."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
