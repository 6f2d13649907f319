"""Waits out an outage of a server: tries again within a budget of time, and says that it waits."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable

from sightline.runtime import progress

FIRST_DELAY, LONGEST_DELAY = 0.25, 5.0  # seconds between attempts, doubled each time
QUIET = 5.0  # seconds of an outage before it is said
SILENCE = 8.0  # seconds that a request may take before it is said; a large part takes a while on a slow line
AGAIN = 30.0  # seconds until it is said once more

interrupted = threading.Event()  # the process ends: no more retries


class Outage:
    """What all requests of this process know of one server, so that eight of them say once that it is away."""

    _known: dict[str, Outage] = {}  # noqa: RUF012  by address

    def __init__(self, address: str, budget: float) -> None:
        """Start with a server that has not been asked yet."""
        self.address, self.budget = address, budget
        self.answered_once = False
        self._answer = 0.0
        self._since: float | None = None
        self._said: float | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, address: str, budget: float) -> Outage:
        """Return the one of this address."""
        return cls._known.setdefault(address, cls(address, budget))

    def missed(self, since: float, reason: str) -> None:
        """Note that a request has had no answer since then; say it once that is long ago."""
        with self._lock:
            since = max(since, self._answer)  # another request has had one since then
            self._since = since if self._since is None else min(since, self._since)
            now = time.monotonic()
            if now - self._since < QUIET or (self._said is not None and now - self._said < AGAIN):
                return
            self._said = now
            waited = now - self._since
        progress.notice(
            f"the object store at {self.address} has not answered for {waited:.0f} s ({reason}); trying again for up "
            f"to {self.budget:.0f} s"
        )

    def answered(self) -> None:
        """Note that the server works."""
        self.answered_once = True
        self._answer = time.monotonic()
        if self._since is None:
            return
        with self._lock:
            since, said, self._since, self._said = self._since, self._said, None, None
        if since is not None and said is not None:
            progress.notice(f"the object store answers again, after {time.monotonic() - since:.0f} s")


class Patience:
    """The attempts of one request, as a block; in it a server that takes the request and stays silent is noticed."""

    def __init__(self, outage: Outage, budget: float, reached: Callable[[], int]) -> None:
        """Take what is known of the server, for how many seconds to try, and what tells how far the transfer is."""
        self.outage, self.budget, self.reached = outage, budget, reached
        self.attempts = 1
        self._begun = self._active = time.monotonic()
        self._furthest = self._seen = reached()
        self._delay = FIRST_DELAY
        self._reason = ""
        self._over = False

    def __enter__(self) -> Patience:
        self._arm(QUIET)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._timer.cancel()

    @property
    def waited(self) -> float:
        """Return the seconds since the server was last known to work for this request."""
        return time.monotonic() - self._begun

    def again(self, reason: str, budget: float) -> bool:
        """Wait for the next attempt; False if the budget is spent.

        The budget is for a server that gives nothing, so it starts again when the transfer got further than before.
        Delays are random within limits, so that many clients spread out.
        """
        now, reached = time.monotonic(), self.reached()
        if reached > self._furthest:
            self._furthest, self._begun, self._delay, self.attempts = reached, now, FIRST_DELAY, 1
        left = self._begun + budget - now
        if left <= 0 or interrupted.is_set():
            return False
        self._reason = reason
        self.outage.missed(self._begun, reason)
        interrupted.wait(min(self._delay * random.uniform(0.5, 1), left))
        self._delay = min(2 * self._delay, LONGEST_DELAY)
        self.attempts += 1
        self._active = time.monotonic()
        return True

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        """Say it in time, whatever the request does: it may wait for its next attempt, or for an answer."""
        if self._over:
            return
        with contextlib.suppress(ValueError):  # the file was closed meanwhile
            if (reached := self.reached()) != self._seen:
                self._seen, self._active, self._reason = reached, time.monotonic(), ""
        if self._reason:
            self.outage.missed(self._begun, self._reason)
        elif time.monotonic() - self._active >= SILENCE:
            self.outage.missed(self._active, "it took the request and is silent")
        self._arm(1.0)
