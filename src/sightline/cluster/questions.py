"""Questions to servers, asked at the same time and with one deadline for all of them.

A server that hangs costs its own answer and no other one.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sightline.cluster.api import Denied, Unauthorized
from sightline.cluster.findings import Finding, unknown
from sightline.errors import ClusterError

CANNOT = re.compile(r'cannot (?P<verb>\w+) resource "(?P<what>[^"]+)".*?(?:in the namespace "(?P<where>[^"]+)"|$)')


@dataclass
class _Question:
    check: str
    thread: threading.Thread
    late: Finding  # what it is to have had no answer in time
    found: list[Finding] = field(default_factory=list)
    broken: Exception | None = None


class Questions:
    """Questions that are under way; each has a thread of its own, which the end of the process does not wait for."""

    def __init__(self, seconds: float) -> None:
        """Take the time that all of them have together."""
        self.seconds = seconds
        self._until = time.monotonic() + seconds
        self._asked: list[_Question] = []

    def ask(self, check: str, question: Callable[[], Iterable[Finding]], late: Finding | None = None) -> None:
        """Start to ask; what a missing right or an outage hides becomes a finding that says so.

        `late` is what is found where no answer comes in time: by default that it is not known.
        """

        def run() -> None:
            try:
                asked.found.extend(question())
            except ClusterError as error:
                asked.found.append(hidden(check, error))
            except Exception as error:  # noqa: BLE001 - our own fault: raised where the answers are collected
                asked.broken = error

        unanswered = late or unknown(check, f"not checked: no answer within {self.seconds:.0f} s")
        asked = _Question(check, threading.Thread(target=run, daemon=True), unanswered)
        self._asked.append(asked)
        asked.thread.start()

    def wait(self, check: str, seconds: float) -> None:
        """Wait until one question is answered, for some seconds at most, and never beyond the deadline."""
        until = min(self._until, time.monotonic() + seconds)
        for asked in self._asked:
            if asked.check == check:
                asked.thread.join(max(0.0, until - time.monotonic()))

    def findings(self) -> list[Finding]:
        """Return all answers, in the order of the questions; one that did not come in time is a finding too."""
        answers: list[Finding] = []
        for asked in self._asked:
            asked.thread.join(max(0.0, self._until - time.monotonic()))
            late = asked.thread.is_alive()
            if asked.broken is not None:
                raise asked.broken
            answers += list(asked.found)
            if late:
                answers.append(asked.late)
        return answers


def hidden(check: str, error: ClusterError) -> Finding:
    """Say what an error keeps from view."""
    return unknown(check, f"not checked: {short(error)}")


def short(error: ClusterError) -> str:
    """Return the reason of an error in few words: which right is missing, or the message itself."""
    if isinstance(error, Unauthorized):
        return "Kubernetes does not accept your credentials"
    if isinstance(error, Denied) and (found := CANNOT.search(error.message)):
        where = f" in {found['where']}" if found["where"] else ""
        return f"you may not {found['verb']} {found['what']}{where}"
    return error.message
