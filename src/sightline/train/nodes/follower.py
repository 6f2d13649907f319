"""The side of every node but the first: it asks node 0 what to do, does it, and says how that ended."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sightline.documents import ErrorReport
from sightline.errors import ConfigError, SightlineError, TrainError
from sightline.runtime import progress as notes
from sightline.runtime.stage_frame import error_report
from sightline.train.nodes.channel import Client, NoAnswer, OtherVersion
from sightline.train.nodes.coordinator import told_error
from sightline.train.nodes.lines import Lines
from sightline.train.nodes.messages import LIMITS, Assignment, Beat, Limits, Orders, Report, Reported
from sightline.train.nodes.node import Node, socket_variables

Stop = Callable[[], str | None]  # why the ranks should end now; None to go on
RunAttempt = Callable[[Assignment, Stop], Report]
ADVICE = "Start `sightline train` there, and check --master-addr and --master-port."


class EndedByNode0(SightlineError):
    """The error with which training ended at node 0, or that node 0 is gone: a new start of this node is no help."""

    kind = TrainError.kind


class Follower:
    """Takes part under node 0. As a context it is known there from the start, and so is the error that ends it."""

    def __init__(self, node: Node, identity: dict[str, str], limits: Limits = LIMITS, *, advice: str = ADVICE) -> None:
        """Take what `identity()` returned, and what people can do where node 0 does not answer."""
        self.node, self.identity, self.limits, self.advice = node, identity, limits, advice
        self.session, self.host = uuid.uuid4().hex, socket.gethostname()
        self.lines = Lines()  # what node 0 is to show of this node
        self._client = Client(node.address, node.port, limits.answer)
        self._progress: Callable[[], dict[str, Any]] = dict
        self._changed = threading.Condition()
        self._ready = False
        self._running: Assignment | None = None
        self._reported: Reported | None = None
        self._orders: Orders | None = None
        self._heard = time.monotonic()  # when node 0 last answered, or this began
        self._taken: float | None = None  # since when another machine has been this node
        self._why = "no answer yet"
        self._broken: Exception | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join(1.0)  # it may wait for an answer; a preempted machine has no time
        refused = self._orders and self._orders.refused
        if error is not None and not refused and not isinstance(error, EndedByNode0):
            self._say_goodbye(error)

    def run(self, run_attempt: RunAttempt, progress: Callable[[], dict[str, Any]] = dict) -> None:
        """Run each attempt that node 0 starts, until training is over.

        `run_attempt` runs this node's ranks and polls the function that it is given; when that returns a reason it
        ends them. `progress` is asked every second, in a thread, for what node 0 should know of the running ranks.

        Raises ConfigError if node 0 trains something else, and EndedByNode0 if it stays away or training ended there
        with an error.
        """
        self._progress = progress
        self._ready = True
        while assignment := self._next():
            report = run_attempt(assignment, self._stop)
            with self._changed:
                self._running = None
                self._reported = Reported(session=assignment.session, number=assignment.number, report=report)
            self._wake.set()

    def environment(self) -> dict[str, str]:
        """Return the variables with which this node's ranks use the network of the nodes."""
        return socket_variables(self._client.local)

    def _stop(self) -> str | None:
        """Return why the ranks of the running attempt should end now; None to go on."""
        with self._changed:
            self._raise_broken()
            mine, orders = self._running, self._orders
            assert mine
            assert orders
            if (quiet := time.monotonic() - self._heard) > self.limits.silent:
                return f"node 0 ({orders.host}) has been silent for {quiet:.0f} s: {self._why}."
            if orders.session != mine.session:
                return f"node 0 ({orders.host}) was started again."
            given = orders.assignment
            if orders.end or given is None or given.number != mine.number:
                return f"node 0 ({orders.host}) ended the attempt."
        return None

    def _next(self) -> Assignment | None:
        """Wait for an attempt; None when training is over. Raises as `run` does."""
        reminded = time.monotonic()
        with self._changed:
            while True:
                self._raise_broken()
                now, orders = time.monotonic(), self._orders
                if orders:
                    self._check_welcome(orders, now)
                    if orders.error:
                        raise told_error(orders.error, f"node 0 ({orders.host})", EndedByNode0)
                    if orders.finished:
                        return None
                    if orders.assignment and self._is_new(orders.assignment):
                        self._running = orders.assignment
                        return orders.assignment
                if (quiet := now - self._heard) > self.limits.leader:
                    raise EndedByNode0(
                        f"Node 0 at {self.node.address}:{self.node.port} has not answered for {quiet:.0f} s "
                        f"({self._why}). {self.advice}"
                    )
                if quiet > self.limits.remind and now - reminded > self.limits.remind:
                    reminded = now
                    where = f"{self.node.address}:{self.node.port}"
                    notes.notice(f"waiting for node 0 at {where}, {quiet:.0f} s so far: {self._why}.")
                self._changed.wait(self.limits.beat)

    def _check_welcome(self, orders: Orders, now: float) -> None:
        """Raise ConfigError if node 0 does not let this node take part."""
        if orders.refused:
            raise ConfigError(
                f"Node 0 ({orders.host}) trains something else than node {self.node.rank} ({self.host}). Start "
                "the same `sightline train` on all nodes, with the same run and the same version of Sightline:",
                orders.refused,
            )
        if self._taken is not None and now - self._taken > self.limits.silent:
            raise ConfigError(
                f"--node-rank {self.node.rank} is taken by {orders.taken}; this is {self.host}. Each machine needs a "
                "number of its own."
            )

    def _is_new(self, assignment: Assignment) -> bool:
        done = self._reported
        return done is None or (done.session, done.number) != (assignment.session, assignment.number)

    def _raise_broken(self) -> None:
        if self._broken:
            raise self._broken

    def _keep_asking(self) -> None:
        """Ask node 0 until this ends; an error of our own goes to the main thread."""
        while not self._closing.is_set():
            try:
                self._ask()
            except Exception as error:  # noqa: BLE001 - whatever it is, raised again by the main thread
                with self._changed:
                    self._broken = error
                    self._changed.notify_all()
                return
            self._wake.wait(self.limits.beat)
            self._wake.clear()

    def _ask(self) -> None:
        beat = self._beat()
        try:
            orders = self._client.ask(beat)
        except NoAnswer as error:
            with self._changed:
                self._why = str(error)
                self._changed.notify_all()
            return
        except OtherVersion:
            problem = "node 0 does not understand this version of Sightline"
            orders = Orders(session="", host=self.node.address, refused=[problem])
        with self._changed:
            self._orders, self._heard = orders, time.monotonic()
            self.lines.heard(orders.heard)
            self._taken = (self._taken or self._heard) if orders.taken else None
            self._changed.notify_all()

    def _beat(self, left: ErrorReport | None = None) -> Beat:
        with self._changed:
            running, reported, ready = self._running, self._reported, self._ready
        first, lines = self.lines.rest()  # after the report: an attempt's last lines come with it
        return Beat(
            rank=self.node.rank,
            session=self.session,
            host=self.host,
            identity=self.identity,
            ready=ready,
            running=running is not None,
            progress=self._progress() if running else {},
            reported=reported,
            left=left,
            first=first,
            lines=lines,
        )

    def _say_goodbye(self, error: BaseException) -> None:
        """Tell node 0 why this process ends, if it is there; without that it finds out by the silence.

        Node 0 may have begun a little later than a node that fails at once; an interrupt leaves no time to wait for it.
        """
        deadline = time.monotonic() + (self.limits.answer if isinstance(error, Exception) else 0.0)
        client = Client(self.node.address, self.node.port, timeout=min(1.0, self.limits.answer))
        with self._changed:
            self._running = None
        while True:
            try:
                client.ask(self._beat(error_report("train", error)))
            except NoAnswer:
                if time.monotonic() > deadline:
                    return
                time.sleep(self.limits.beat)
            except OtherVersion:
                return
            else:
                return
