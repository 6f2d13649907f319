"""Pushes the checkpoints of a training into the store, in a thread that nothing waits for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sightline.errors import StorageError
from sightline.runtime import progress
from sightline.storage import MissingObject, Store
from sightline.train import event_file, pushed
from sightline.train.lease import Lease, LostLease
from sightline.train.pushed import Facts, Pushed

LARGEST = 8 << 30  # bytes of a checkpoint; the largest detector with its optimizer has about 2 GiB


PUSH = "push"


class _Ended(Exception):
    """The training is over, so a push is of no use."""


class Outages:
    """What the threads of one training know of the store: an outage is said once, and that another run has taken over.

    `lost` is set then.
    """

    def __init__(self) -> None:
        """Expect the best."""
        self.failing: set[str] = set()  # what does not work just now
        self.lost: LostLease | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def noted(
        self, what: str, meaning: str = "checkpoints stay on this machine until it works again"
    ) -> Iterator[None]:
        """Run a block to its end, or say why it could not be, unless that or something else does not work already."""
        try:
            yield
        except LostLease as error:
            with self._lock:
                said, self.lost = self.lost, error
            if not said:
                progress.notice(error.message)
        except (StorageError, OSError) as error:
            with self._lock:
                said_before = bool(self.failing)
                self.failing.add(what)
            if not said_before:
                progress.notice(f"training goes on, but the object store cannot be used: {meaning}. {error}")
        else:
            with self._lock:
                works_again = self.failing == {what}
                self.failing.discard(what)
            if works_again:
                progress.notice("the object store can be used again")


class Pusher:
    """The thread; of what is offered it pushes the newest, and the best where that is another."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        outages: Outages,
        *,
        seconds: float,
        retry: float,
        events: Path | None = None,
    ) -> None:
        """Push under a lease, for at most `seconds` a checkpoint; try again after `retry` seconds.

        `events` is the folder of the event file that goes with each checkpoint.
        """
        self.store, self.lease, self.outages = store, lease, outages
        self.seconds, self.retry, self.events = seconds, retry, events
        self._change = threading.Condition()
        self._offered = self._done = 0  # counts of offers
        self._manifest: Path | None = None
        self.kept: bytes | None = None  # the manifest of the newest that was pushed, or that is too large for that
        self._ended = False
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, name="push-checkpoints", daemon=True)
        self._thread.start()

    def offer(self, manifest: Path) -> None:
        """Take a checkpoint, by its manifest, in place of one that still waits."""
        with self._change:
            self._offered, self._manifest = self._offered + 1, manifest
            self._change.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait until what was offered is pushed, at most so long, and not for a store that is away."""
        with self._change:
            self._change.wait_for(
                lambda: self._done == self._offered or PUSH in self.outages.failing or self.outages.lost,
                timeout=seconds,
            )

    def end(self, seconds: float) -> None:
        """End the thread: a push under way stops at its next part. One that takes longer is left to itself."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self.outages.lost:
            with self._change:
                self._change.wait_for(lambda: self._offered > self._done or self._ended)
                offer, manifest = self._offered, self._manifest
            if self._ended or not manifest:
                return
            done = False
            with self.outages.noted(PUSH), contextlib.suppress(_Ended):
                self._push(manifest)
                done = True
            self._settle(offer, done)

    def _settle(self, offer: int, done: bool) -> None:
        """Count an offer as done; otherwise wait for another one, or until this one is tried again."""
        with self._change:
            if done:
                self._done = offer
            self._change.notify_all()
            if not done and not self.outages.lost:
                self._change.wait_for(lambda: self._offered > offer or self._ended, timeout=self.retry)

    def _push(self, manifest: Path) -> None:
        """Push a checkpoint, and before it the best where that is another that is not there yet.

        One that is gone is passed over: a newer one follows. Raises StorageError.
        """
        known = _read(manifest, self.lease.key)
        if not known:
            return
        self.lease.check(self.store)
        pushed.make_room(self.store, self.lease.key, self.lease.number, known.best)
        if known.best != known.epoch:
            best = manifest.with_name(f"{Pushed(0, 0, known.best).local}.json")
            found = _read(best, self.lease.key)
            if found and not self._there(found):
                self._send(best, found)
        self._send_events()  # first: it is small, and people wait for it
        if self._send(manifest, known):
            self.kept = known.text
        pushed.make_room(self.store, self.lease.key, self.lease.number, known.best)

    def _send_events(self) -> None:
        """Send the event file whole. One of a process that is gone may end within a record, which readers pass over."""
        for path in event_file.files(self.events)[-1:] if self.events else ():
            with contextlib.suppress(FileNotFoundError):  # the next attempt has just put its own in its place
                key = pushed.events_key(self.lease.key, self.lease.number, path.name)
                self.store.put_bytes(key, path.read_bytes())

    def _there(self, known: Facts) -> bool:
        """Tell whether the store has these very bytes."""
        for item in pushed.contents(self.store, self.lease.key).checkpoints:
            if item.epoch == known.epoch:
                with contextlib.suppress(MissingObject):
                    if self.store.get_bytes(item.key(self.lease.key, ".json")) == known.text:
                        return True
        return False

    def _send(self, manifest: Path, known: Facts) -> bool:
        """Send file and manifest under a name that was never used; returns whether there was a file."""
        file = manifest.with_suffix(".pt")
        if known.size > LARGEST:
            progress.notice(
                f"the checkpoint of epoch {known.epoch} has {known.size / 2**30:.1f} GiB and stays on this machine: "
                f"up to {LARGEST >> 30} GiB are kept in the object store."
            )
            return True
        if not file.exists():
            return False
        self._sequence += 1
        item = Pushed(self.lease.number, self._sequence, known.epoch)
        deadline = time.monotonic() + self.seconds

        def check() -> None:
            if self._ended:
                raise _Ended
            if time.monotonic() > deadline:
                raise StorageError(
                    f"the checkpoint of epoch {known.epoch} ({known.size >> 20} MiB) was not sent within "
                    f"{self.seconds:.0f} s."
                )

        self.store.put_file(item.key(self.lease.key, ".pt"), file, check)
        check()
        self.lease.check(self.store)
        self.store.put_bytes(item.key(self.lease.key, ".json"), known.text)
        return True


def _read(manifest: Path, training: str) -> Facts | None:
    """Read a manifest in a work folder; None if it is gone, or not one of this training."""
    try:
        known = pushed.facts(manifest.read_bytes(), training)
    except FileNotFoundError:
        return None
    return known if isinstance(known, Facts) else None
