"""Keeps the checkpoints of a training in the store while it goes on, so that another machine can go on with it.

Nothing here slows a step or ends a training. One thread says every 20 seconds that this run is there, and sends what is
known of its attempts; another pushes checkpoints, the newest only: one that still waits while a newer one comes is
passed over, unless it is the best. A checkpoint has ten minutes and 8 GiB; the newest two and the best are kept, so
four lie there at most. An outage is said once, and tried again every 30 seconds and with every new checkpoint.

    with remote_for(store, key, work) as remote:
        result = remote.claim(finished)     # waits while another run trains the same; its result, or None: train
        remote.fetch()                      # checkpoints of an earlier attempt, into the work folder
        …  remote.offer(manifest)  …  remote.note(attempts)  …  remote.lost
        remote.finish()                     # the result lies where others find it
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from sightline.atomic import write_text
from sightline.documents.base import Part
from sightline.errors import StorageUsageError
from sightline.runtime import pipeline_pod, progress
from sightline.storage import Store, open_store
from sightline.train import lease, pushed
from sightline.train.lease import Lease, LostLease
from sightline.train.pusher import Outages, Pusher

LEASE = "lease.json"  # in the work folder

Result = TypeVar("Result")


HASTE = 0.5  # seconds for the last words of a process that is told to stop


class Timing(NamedTuple):
    """How long things may take, in seconds."""

    silence: float = lease.SILENCE
    beat: float = lease.BEAT
    ask: float = lease.ASK
    note: float = 15.0  # at least, from one sending of the attempts to the next
    retry: float = 30.0  # until a checkpoint that could not be pushed is tried again
    push: float = 600.0  # for one checkpoint
    drain: float = 30.0  # at the end of a training without a result, for its last checkpoint


class Local(Part):
    """What a work folder knows: the last lease that was held from it, and up to which one its checkpoints are."""

    token: str
    current: int


def remote_for(store: str, key: str, work: Path, events: Path | None = None) -> Remote | None:
    """Return what keeps checkpoints in a store; None for a store on this machine, where nothing is gained.

    `key` is the training's, `work` its work folder, which this process holds, `events` the folder of its event files.
    Raises StorageError.
    """
    if not store.startswith("s3://"):
        return None
    run = os.environ.get("SIGHTLINE_RUN_ID")
    name = f"{f'run {run}' if run else 'a run'} on {pipeline_pod.machine()}"
    return Remote(open_store(store), key, work, run=lease.identity(), name=name, events=events)


class Remote:
    """The pushed checkpoints of one training; use it as a block around the training."""

    def __init__(
        self,
        store: Store,
        key: str,
        work: Path,
        *,
        run: str | None,
        name: str,
        timing: Timing | None = None,
        events: Path | None = None,
    ) -> None:
        """Take the training's key, its work folder, who trains (an identity, and a name for people), and `events`.

        Those are the folder of event files, which go with each checkpoint.
        """
        self.store, self.key, self.work, self.run, self.name = store, key, work, run, name
        self.timing, self.events = timing or Timing(), events
        self.lease: Lease | None = None
        self._pusher: Pusher | None = None
        self._later = store.impatient()
        self._outages = Outages()
        self._attempts: Path | None = None
        self._offered: tuple[Path, int] | None = None
        self._sent = b""  # of the attempts
        self._ended = threading.Event()
        self._beater = threading.Thread(target=self._beats, name="beat", daemon=True)

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(drain=not (kind and issubclass(kind, KeyboardInterrupt)))

    @property
    def lost(self) -> LostLease | None:
        """Why this run keeps no more checkpoints in the store: another one has taken over; None while it does."""
        return self._outages.lost

    @property
    def same_run(self) -> bool:
        """Tell whether the lease was taken from an earlier attempt of this run."""
        before = self.lease.before if self.lease else None
        return bool(before and before.run and before.run == self.run)

    def kept(self, manifest: Path) -> bytes | None:
        """Return the manifest of the newest checkpoint that another machine would go on from; None if there is none.

        `manifest` is that of the newest in the work folder, and counts where nothing can be pushed.
        """
        return self._pusher.kept if self._pusher else manifest.read_bytes()

    # --- at the start

    def claim(self, finished: Callable[[], Result | None] | None = None) -> Result | None:
        """Take the training for this run, or return what `finished` finds: the result of the run that had it.

        Waits while another run trains the same, and says so. A store that may not be written is said, and nothing is
        kept there then. Raises StorageError if the store does not answer.
        """
        local = self._local()
        try:
            taken = lease.acquire(
                self.store,
                self.key,
                run=self.run,
                name=self.name,
                predecessor=local.token or None,
                finished=finished,
                silence=self.timing.silence,
                pause=self.timing.ask,
            )
        except StorageUsageError as error:
            progress.notice(f"checkpoints are kept on this machine alone: {error.message}")
            return None
        if not isinstance(taken, Lease):
            return taken
        self.lease = taken
        self._beater.start()
        self._remember(local.current)
        limits = {"seconds": self.timing.push, "retry": self.timing.retry}
        self._pusher = Pusher(self._later, taken, self._outages, events=self.events, **limits)
        return None

    def fetch(self) -> list[Path]:
        """Bring checkpoints and attempts into the work folder; returns the manifests that came, the newest first.

        Nothing comes if this work folder was the last that trained: what it has is at least as new. Otherwise what
        comes replaces its checkpoints. Raises StorageError.
        """
        if not self.lease:
            return []
        there = pushed.contents(self.store, self.key)
        manifests = []
        if there.newest > self._local().current:
            manifests = pushed.restore(self.store, self.key, there, self.work)
        self._remember(self.lease.number)
        return manifests

    def forget(self) -> None:
        """Delete what earlier holders pushed, for a training that starts afresh. Raises StorageError."""
        if self.lease:
            pushed.delete(self.store, pushed.contents(self.store, self.key).keys)
            self._remember(self.lease.number)

    def _local(self) -> Local:
        try:
            return Local.model_validate_json((self.work / LEASE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return Local(token="", current=0)

    def _remember(self, current: int) -> None:
        assert self.lease
        write_text(self.work / LEASE, Local(token=self.lease.claim.token, current=current).model_dump_json())

    # --- during the training: nothing of this waits or raises

    def offer(self, manifest: Path) -> None:
        """Push a checkpoint, in the background, by the path of its manifest in the work folder; each one once."""
        written = manifest, manifest.stat().st_mtime_ns
        if self._pusher and written != self._offered:
            self._offered = written
            self._pusher.offer(manifest)

    def note(self, attempts: Path) -> None:
        """Send the file of attempts when its turn comes; from then on whenever it has changed."""
        self._attempts = attempts

    def _beats(self) -> None:
        """Say that this run is there, and send the attempts."""
        assert self.lease
        beaten = noted = time.monotonic()
        while not self.lost and not self._ended.wait(min(1.0, self.timing.beat)):
            now = time.monotonic()
            if now - beaten >= self.timing.beat:
                beaten = now
                with self._outages.noted("beat"):
                    self.lease.check(self._later)
                    self.lease.beat(self._later)
            if self._attempts and (not self._sent or now - noted >= self.timing.note):
                noted = now
                with self._outages.noted("attempts"):
                    self._send_attempts(self.lease)

    def _send_attempts(self, held: Lease) -> None:
        """Send the file of attempts if it has changed. Raises StorageError."""
        with contextlib.suppress(FileNotFoundError):
            if self._attempts and (text := self._attempts.read_bytes()) != self._sent:
                self._later.put_bytes(pushed.attempts_key(self.key, held.number), text)
                self._sent = text

    # --- at the end

    def finish(self) -> None:
        """Delete what was pushed: the training has a result. Does not raise; what an outage leaves can be pruned.

        Call it once the result lies where `finished` of those who wait finds it.
        """
        if not self._end(1.0) or not self.lease or self.lost:
            return
        with self._outages.noted("finish", "what was pushed lies there until `sightline checkpoints prune`"):
            self.lease.check(self._later)
            pushed.delete(self._later, pushed.contents(self._later, self.key).keys)
            self.lease.beat(self._later, "finished")

    def close(self, *, drain: bool = True) -> None:
        """Let go of the training, so that another run can go on with it at once. Does not raise.

        The attempts are sent as they are then. With `drain` the last checkpoint has `Timing.drain` seconds to arrive;
        without it all has `HASTE` seconds: a container that is stopped lives no longer.
        """
        if drain and self._pusher and not self._ended.is_set():
            self._pusher.drain(self.timing.drain)
        if self._end(1.0 if drain else 0.1) and self.lease and not self.lost:
            last = threading.Thread(target=self._say_goodbye, args=(self.lease,), daemon=True)
            last.start()
            last.join(None if drain else HASTE)

    def _say_goodbye(self, held: Lease) -> None:
        with self._outages.noted("close", f"whoever goes on with this training waits {self.timing.silence:.0f} s"):
            held.beat(self._later, "ended")
            self._send_attempts(held)

    def _end(self, seconds: float) -> bool:
        """End the threads, and wait so long for each that is in a request; False if that was done before."""
        if self._ended.is_set():
            return False
        self._ended.set()
        if self._beater.is_alive():  # a late beat would say that this run goes on
            self._beater.join(seconds)
        if self._pusher:
            self._pusher.end(seconds)
        return True
