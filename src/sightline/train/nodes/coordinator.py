"""Node 0's side: it waits for the others, gives them each attempt, and learns how it ended there."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

from sightline.cluster.ranks import Ranks
from sightline.documents import ErrorReport
from sightline.errors import NodesMissing, SightlineError
from sightline.runtime import progress
from sightline.runtime.stage_frame import error_report
from sightline.train import pod_end
from sightline.train.nodes.channel import Server
from sightline.train.nodes.lines import Relay
from sightline.train.nodes.messages import LIMITS, WAIT, Assignment, Beat, Limits, Orders, Report
from sightline.train.nodes.node import Node, socket_variables
from sightline.train.nodes.roll import Roll
from sightline.train.pod_end import PodEnd

USERS_FAULT = 2  # exit code of an error that a restart does not cure


class Collected(NamedTuple):
    """How an attempt ended on the other nodes, by their rank: each node is in one of the first two."""

    reports: dict[int, Report]
    lost: dict[int, str]  # why there is no report: a sentence that names the node
    signs: dict[int, dict[str, Any]]  # what the supervisors of lost nodes last said of their ranks
    ends: dict[int, PodEnd]  # how the pods of lost nodes ended, where that is known


@dataclass
class _Wait:
    """How long node 0 has waited for all nodes, in seconds of the monotonic clock."""

    since: float = field(default_factory=time.monotonic)
    reminded: float = field(default_factory=time.monotonic)
    complete: float = field(default_factory=time.monotonic)  # when all were there last, free or not


class Coordinator:
    """Leads the other nodes; as a context it tells them at its end how training ended.

    An interrupt (Ctrl-C, SIGTERM) is not such an end: they stop their ranks and wait for node 0 to be started again.
    """

    def __init__(
        self, node: Node, identity: dict[str, str], limits: Limits = LIMITS, launcher: Ranks | None = None
    ) -> None:
        """Take what `identity()` returned, and what starts the other nodes, unless somebody else does.

        Raises ConfigError if the port is taken.
        """
        self.node, self.limits, self.launcher = node, limits, launcher
        self.session, self.host = uuid.uuid4().hex, socket.gethostname()
        self.relay = Relay()
        self._changed = threading.Condition()
        self._roll = Roll(node, self.host, identity, limits)
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

    def call(self) -> None:
        """Have the other nodes started where that is ours to do: they prepare while node 0 does.

        Raises ClusterUsageError where the cluster refuses.
        """
        if self.launcher:
            self.launcher.tend(range(1, self.node.count))

    def start_attempt(self, number: int, job: dict[str, Any]) -> int:
        """Wait until all nodes are free, give them the attempt, and return the port for torchrun's `--master_port`.

        Raises NodesMissing if a node does not come in time, the error of a node that refuses its own part, and
        ClusterUsageError where the cluster refuses to start one.
        """
        wait = _Wait()
        with self._changed:
            self._assignment = None
        while True:
            with self._changed:
                away, busy = self._roll.missing(wait.since)
                if not away and not busy:
                    return self._assign(number, job)
                for rank in away:
                    left = self._roll.left(rank)
                    if left and left.exit_code == USERS_FAULT:
                        raise told_error(left, self._roll.seen[rank].name)
            self._wait_for(wait, away, busy)
            with self._changed:
                self._changed.wait(self.limits.beat)

    def stop(self) -> str | None:
        """Return why node 0's ranks should end now, because of another node; None to go on. Poll it."""
        with self._changed:
            for rank, session in self._members.items():
                if reported := self._reports.get(rank):
                    at, report = reported
                    if report.exit_code and time.monotonic() - at > self.limits.grace:
                        return f"the ranks of {self._roll.seen[rank].name} ended with exit code {report.exit_code}."
                elif lost := self._roll.lost(rank, session):
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
                members = self._members.items()
                lost = {rank: why for rank, session in members if (why := self._roll.lost(rank, session))}
                open_ = [rank for rank in self._members if rank not in self._reports and rank not in lost]
                if waited > patience + self.limits.ending:
                    lost |= {rank: f"{self._roll.seen[rank].name} did not end its ranks." for rank in open_}
                    open_ = []
                if not open_:
                    break
                self._end = self._end or waited >= patience
                self._changed.wait(self.limits.beat)
            reports = {rank: report for rank, (_, report) in self._reports.items()}
            lost = {rank: why for rank, why in lost.items() if rank not in reports}
            signs = {rank: self._roll.seen[rank].beat.progress for rank in lost}
            self._assignment, self._members = None, {}
        if self.launcher is None:
            return Collected(reports, lost, signs, {})
        lost = {rank: f"{why} {self.launcher.say(rank)}".rstrip() for rank, why in lost.items()}
        ends = {rank: end for rank in lost if (pod := self.launcher.ended(rank)) and (end := pod_end.read(pod))}
        return Collected(reports, lost, signs, ends)

    def progress(self) -> dict[int, dict[str, Any]]:
        """Return what the supervisors of the other nodes last said of their ranks, by node."""
        with self._changed:
            return {rank: self._roll.seen[rank].beat.progress for rank in self._members}

    def environment(self) -> dict[str, str]:
        """Return the variables with which node 0's ranks use the network of the nodes."""
        return socket_variables(self._server.local)

    def _assign(self, number: int, job: dict[str, Any]) -> int:
        port = _free_port()
        self._reports, self._end = {}, False
        self._members = {rank: seen.beat.session for rank, seen in self._roll.seen.items()}
        self._assignment = Assignment(session=self.session, number=number, port=port, job=job)
        return port

    def _wait_for(self, wait: _Wait, away: list[int], busy: list[int]) -> None:
        """Have missing nodes started, and say for whom node 0 waits. Raises NodesMissing when it has been too long.

        Without the lock: the cluster may take seconds to answer, and the other nodes are answered meanwhile.
        """
        if self.launcher and away:
            self.launcher.tend(away)
        now = time.monotonic()
        wait.complete = wait.complete if away else now
        if now - wait.complete > self.limits.gather:
            raise NodesMissing(
                f"Node 0 waited {now - wait.complete:.0f} s ({WAIT}) for all {self.node.count} nodes, and "
                f"{len(away)} did not come{self._advice()}",
                [text for rank in away for text in (self._why_away(rank), *self.relay.last(rank))],
            )
        if now - wait.reminded > self.limits.remind:
            wait.reminded = now
            names = "; ".join(map(self._why_away, away + busy))
            progress.notice(f"waiting for {self.node.count} nodes, {now - wait.since:.0f} s so far: {names}.")

    def _advice(self) -> str:
        if self.launcher:
            return ":"
        return f". Start `sightline train` on each of them; they need a way to {self.node.address}:{self.node.port}:"

    def _why_away(self, rank: int) -> str:
        """Say why an attempt cannot start with a node, in the cluster's words too."""
        with self._changed:
            why, here = self._roll.away(rank), self._roll.here(rank)
        said = self.launcher.say(rank) if self.launcher and not here else ""
        return f"{why} ({said[0].lower()}{said[1:].rstrip('.')})" if said else why

    def _hear(self, beat: Beat) -> Orders:
        """Answer a node."""
        with self._changed:
            orders = Orders(session=self.session, host=self.host)
            if problems := self._roll.differences(beat):
                return orders.model_copy(update={"refused": problems})
            if holder := self._roll.holder(beat):
                return orders.model_copy(update={"taken": holder})
            self._roll.note(beat)
            self._take_report(beat)
            heard = self.relay.take(beat)
            self._changed.notify_all()
            # A node that was started again has no part in the attempt that goes on.
            given = self._assignment if self._members.get(beat.rank) == beat.session else None
            update = {"assignment": given, "end": self._end, "finished": self._finished, "error": self._error}
            return orders.model_copy(update={**update, "heard": heard})

    def _take_report(self, beat: Beat) -> None:
        """Keep the report of a node that takes part in the running attempt."""
        made, given = beat.reported, self._assignment
        if not made or not given or self._members.get(beat.rank) != beat.session:
            return
        if (made.session, made.number) == (given.session, given.number):
            self._reports.setdefault(beat.rank, (time.monotonic(), made.report))

    def _told(self, beat: Beat, orders: Orders) -> None:
        """Note that a node has its answer."""
        with self._changed:
            seen = self._roll.seen.get(beat.rank)
            if orders.finished and seen and seen.beat.session == beat.session:
                seen.told = True
                self._changed.notify_all()

    def _finish(self, error: Exception | None) -> None:
        """Tell the nodes that are there how training ended; one that does not ask in time is not waited for."""
        deadline = time.monotonic() + self.limits.answer
        with self._changed:
            self._finished, self._error = True, error_report("train", error) if error else None
            self._assignment = None
            while any(self._roll.speaks(seen) and not seen.told for seen in self._roll.seen.values()):
                if not self._changed.wait(deadline - time.monotonic()):
                    return


def told_error(report: ErrorReport, who: str, kind: type[SightlineError] = SightlineError) -> SightlineError:
    """Return the error of another node, with its kind and exit code."""
    error = kind(f"{who[0].upper()}{who[1:]}: {report.message}")
    error.kind, error.exit_code = report.kind, report.exit_code
    return error


def _free_port() -> int:
    """Return a port on which nothing listens on any address of this machine."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
