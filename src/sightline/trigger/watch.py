"""When a prefix is listed, and when a run is started for it: listings decide, an event only brings one forward."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence

from sightline.errors import SightlineError
from sightline.trigger.listing import Listing, age, listed
from sightline.trigger.runs import DIGITS, Runs
from sightline.trigger.trigger_file import Trigger

log = logging.getLogger(__name__)

BUSY = 60  # seconds between two looks at a run that new data waits for
FIRST, LONGEST = 1.0, 60.0  # seconds until the next try while a server is away
RUSH = 10  # listings at most that events bring about, in the time for which data has to be quiet


class Watch:
    """One trigger: what was seen in its prefix, and when to look again. Times are seconds of `time.monotonic`."""

    def __init__(self, trigger: Trigger, runs: Runs) -> None:
        """Look at once."""
        self.trigger, self._runs = trigger, runs
        self.failed: SightlineError | None = None  # why the last look did not work
        self._next, self._looked = 0.0, -math.inf
        self._event = math.inf  # when the first event came that no listing has followed yet
        self._heard = -math.inf  # when an event was logged
        self._seen: Listing | None = None
        self._since = 0.0  # since when the prefix is known to hold what was seen
        self._said = ""  # the state that was logged last
        self._began, self._pause = 0.0, FIRST  # of an outage: when, and how long until the next try

    @property
    def ready(self) -> bool:
        """Whether the last look worked; no look is none that did."""
        return self._seen is not None and self.failed is None

    @property
    def due(self) -> float:
        """When to look next. An outage ends no sooner for an event."""
        if self.failed:
            return self._next
        return min(self._next, max(self._event, self._looked + self.trigger.quiet / RUSH))

    def hint(self, place: str) -> None:
        """Look soon: something happened to the object at this address."""
        now = time.monotonic()
        self._event = min(self._event, now)
        if now - self._heard > self.trigger.every:  # an upload makes thousands
            self._heard = now
            log.info("%s: an event for %s brings the listing forward", self.trigger.name, place)

    def look(self) -> None:
        """List the prefix, start a run if it is time for one, and choose when to look again."""
        self._event, self._looked = math.inf, time.monotonic()
        try:
            rest = self._step()
        except SightlineError as error:
            rest = self._missed(error)
        else:
            if self.failed:
                log.info("%s: works again, after %.0f s", self.trigger.name, time.monotonic() - self._began)
            self.failed, self._pause = None, FIRST
        self._next = time.monotonic() + rest

    def _step(self) -> float:
        """Return the seconds until the next look. Raises SightlineError."""
        self._runs.reach()
        seen = listed(self.trigger.prefix)
        self._note(seen)
        if not seen.objects:
            self._say("empty", f"nothing lies below {self.trigger.prefix}")
            return self.trigger.every
        last = self._runs.last(self.trigger)
        if last and last.digest == seen.digest:
            self._say(f"submitted {seen.digest}", f"{_words(seen)}: submitted as {last.run}")
            return self.trigger.every
        rest = self._since + self.trigger.quiet - time.monotonic()
        if rest > 0:
            news = "changed" if last else "no run of it is known"
            self._say("quiet", f"{_words(seen)}: {news}; waiting until it has been quiet for {self.trigger.quiet} s")
            return min(rest, self.trigger.every)
        step = self._runs.submit(self.trigger, seen, last)
        name = step.run.display_name
        if step.done == "waits":
            self._say(f"waits {name}", f"{_words(seen)}: changed; waiting for the end of {name}, {step.address}")
            return min(BUSY, self.trigger.every)
        there = "started" if step.done == "started" else "was started before:"
        self._say(f"submitted {seen.digest}", f"{_words(seen)}: {there} {name}, {step.address}")
        self._runs.keep(self.trigger, seen, step.run)
        return self.trigger.every

    def _note(self, seen: Listing) -> None:
        """Keep what was seen, and since when it has been so.

        What the first listing shows has been so since its newest object was written, as far as can be known: a restart
        does not start the time to be quiet again. Raises StorageError.
        """
        if self._seen is None or seen.digest != self._seen.digest:
            known = age(self.trigger.prefix, seen) if self._seen is None and seen.objects else 0.0
            self._since = time.monotonic() - known
        self._seen = seen

    def _missed(self, error: SightlineError) -> float:
        """Say what is wrong, once while it stays the same; returns the seconds until the next try."""
        if self.failed is None:
            self._began = time.monotonic()
        if str(self.failed) != str(error):
            # What to do about an outage is meant for somebody who runs a command.
            words = str(error) if error.exit_code == 2 else f"{str(error).partition('. ')[0].rstrip('.')}."
            log.warning("%s: %s Trying again.", self.trigger.name, words)
        self.failed = error
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST)
        return pause

    def _say(self, state: str, words: str) -> None:
        """Log a state that has changed."""
        if state != self._said:
            self._said = state
            log.info("%s: %s", self.trigger.name, words)


class Watching:
    """All triggers, looked at one after the other in a thread of its own."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        """Take the triggers; `run` looks at them."""
        self.watches = watches
        self._changed = threading.Condition()

    def hint(self, places: Iterable[str]) -> tuple[set[str], list[str]]:
        """Look soon at the triggers to which objects belong; returns their names, and the addresses that fit none."""
        names, strange = set(), []
        with self._changed:
            for place in places:
                found = [watch for watch in self.watches if watch.trigger.holds(place)]
                for watch in found:
                    watch.hint(place)
                names |= {watch.trigger.name for watch in found}
                strange += [] if found else [place]
            self._changed.notify()
        return names, strange

    def unready(self) -> list[str]:
        """Return the names of the triggers whose last look did not work."""
        return [watch.trigger.name for watch in self.watches if not watch.ready]

    def once(self) -> None:
        """Look at every trigger once. Raises the first error, once all were looked at."""
        for watch in self.watches:
            watch.look()
        if failed := next((watch.failed for watch in self.watches if watch.failed), None):
            raise failed

    def run(self) -> None:
        """Look at the triggers when they are due, for ever."""
        while True:
            with self._changed:
                watch = min(self.watches, key=lambda each: each.due)
                rest = watch.due - time.monotonic()
                if rest > 0:
                    self._changed.wait(rest)
                    continue
            watch.look()


def _words(seen: Listing) -> str:
    return f"{seen.objects} objects, {seen.size / 1e6:.1f} MB, digest {seen.digest[:DIGITS]}"
