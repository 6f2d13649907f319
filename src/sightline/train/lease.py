"""Who keeps the checkpoints of a training in the store: one run at a time, the one with the highest number.

    checkpoints/<training key>/lease-000003.json    who took the training, made only where nothing lies yet
                               beat-000003.json     written again every 20 seconds by the same
                               asked-<token>.json   written by one who waits, to read the store's clock

A lease is over when its holder has let go of it, or when its beat is `SILENCE` seconds older than what the one who asks
has just written: both times are the store's, since the clocks of machines differ. It is taken at once by a later
attempt of the same run, and by whoever works in the very folder that the holder worked in, since that folder is locked
by one process at a time. Who takes over has the next number. A writer is refused as soon as there is a higher number
than its own, or other bytes than its own under its number.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Literal, TypeVar
from uuid import uuid4

from pydantic import Field, ValidationError

from sightline.documents.base import Part
from sightline.errors import StorageError
from sightline.runtime import progress
from sightline.runtime.stage_frame import moment
from sightline.storage import MissingObject, Store

FOLDER = "checkpoints"
SILENCE = 120.0  # seconds without a beat, after which a lease is over
BEAT = 20.0  # seconds between beats
ASK = 5.0  # seconds between looks of one who waits

Result = TypeVar("Result")


class LostLease(StorageError):
    """Another run has taken over the training, so this one may write no more checkpoints."""


class Claim(Part):
    """What a lease says."""

    token: str
    run: str | None = Field(description="Identity that the attempts of one run share; null where there is none.")
    name: str = Field(description="The run, for people.")
    since: str = Field(description="ISO 8601, UTC.")


class Beat(Part):
    """What a beat says: the time that counts is that of its object."""

    token: str
    state: Literal["working", "ended", "finished"]


class Lease:
    """The right to write under a number."""

    def __init__(self, key: str, number: int, claim: Claim, before: Claim | None) -> None:
        """Hold a lease of a training that was taken, perhaps from another holder."""
        self.key, self.number, self.claim, self.before = key, number, claim, before

    def check(self, store: Store) -> None:
        """Raises LostLease if this lease is no longer the one that counts; StorageError if that cannot be told."""
        newest = max(claims(store, self.key), default=0)
        holder = _read(Claim, store, lease_key(self.key, newest)) if newest else None
        if newest == self.number and holder == self.claim:
            return
        who = f"{holder.name} since {holder.since}" if holder else "nobody any more"
        raise LostLease(f"This training has been taken over: its checkpoints are kept by {who}.")

    def beat(self, store: Store, state: Literal["working", "ended", "finished"] = "working") -> None:
        """Say that the holder is there, or has ended. Raises StorageError."""
        beat = Beat(token=self.claim.token, state=state)
        store.put_bytes(beat_key(self.key, self.number), beat.model_dump_json().encode())


def identity() -> str | None:
    """Return what the attempts of one run have in common, by the environment; None for a command of its own."""
    return os.environ.get("SIGHTLINE_RUN_KEY") or os.environ.get("SIGHTLINE_RUN_ID") or None


def lease_key(key: str, number: int) -> str:
    """Return where the claim of a number lies."""
    return f"{FOLDER}/{key}/lease-{number:06}.json"


def beat_key(key: str, number: int) -> str:
    """Return where the beat of a number lies."""
    return f"{FOLDER}/{key}/beat-{number:06}.json"


def claims(store: Store, key: str) -> list[int]:
    """Return the numbers of the leases of a training. Raises StorageError."""
    names = (entry.key.rpartition("/")[2] for entry in store.entries(f"{FOLDER}/{key}/lease-"))
    return [int(found[1]) for name in names if (found := re.fullmatch(r"lease-(\d{6,})\.json", name))]


def acquire(
    store: Store,
    key: str,
    *,
    run: str | None,
    name: str,
    predecessor: str | None = None,
    finished: Callable[[], Result | None] | None = None,
    silence: float = SILENCE,
    pause: float = ASK,
) -> Lease | Result:
    """Take the lease of a training, or the result of the run that holds it: what `finished` returns that is not None.

    Waits while another run works. `run` is the run's identity, `name` its name for people, `predecessor` the token of
    the lease that was last held from this process's work folder. Without `finished` there is no result to wait for.
    Raises StorageError.
    """
    asker = _Asker(store, key, run, predecessor, silence)
    try:
        while True:
            if finished and (result := finished()) is not None:
                return result
            newest = max(claims(store, key), default=0)
            before = _read(Claim, store, lease_key(key, newest)) if newest else None
            if newest == 0 or asker.may_take(newest, before, waits_for_result=finished is not None):
                claim = Claim(token=uuid4().hex, run=run, name=name, since=moment())
                if lease := _taken(store, key, newest + 1, claim, before):
                    return lease
            else:
                time.sleep(pause)
    finally:
        asker.leave()


def _taken(store: Store, key: str, number: int, claim: Claim, before: Claim | None) -> Lease | None:
    """Take a number; None if another process has it, or a higher one."""
    if not store.put_new(lease_key(key, number), claim.model_dump_json().encode()):
        return None
    numbers = claims(store, key)
    if max(numbers, default=0) != number:
        # This number had been taken, and given up for a higher one, before this process came to take it.
        store.discard(lease_key(key, number))
        return None
    lease = Lease(key, number, claim, before)
    lease.beat(store)  # before it the time of the claim counts
    with contextlib.suppress(StorageError):  # who may not delete leaves small files behind
        store.delete([of(key, old) for old in numbers if old < number for of in (lease_key, beat_key)])
    return lease


class _Asker:
    """One who wants a training that another run may hold."""

    def __init__(self, store: Store, key: str, run: str | None, predecessor: str | None, silence: float) -> None:
        self.store, self.key, self.run = store, key, run
        self.predecessor, self.silence = predecessor, silence
        self.probe = f"{FOLDER}/{key}/asked-{uuid4().hex}.json"
        self.asked = self.said = False

    def may_take(self, number: int, claim: Claim | None, *, waits_for_result: bool) -> bool:
        """Tell whether the lease of this number is over; say once that this run waits if it is not."""
        if claim and (claim.token == self.predecessor or (self.run and claim.run == self.run)):
            return True
        beat = _read(Beat, self.store, beat_key(self.key, number))
        state = beat.state if beat else "working"
        if state == "ended" or (state == "finished" and not waits_for_result):
            return True
        silent = self._silent(number)
        if silent is None:  # it has just gone
            return False
        name = claim.name if claim else "another run"
        if silent > self.silence:
            if state == "working":
                progress.notice(f"nothing was heard of {name} for {silent:.0f} s; this run goes on with its training.")
            return True
        if state == "working" and not self.said:
            self.said = True
            since = f" since {claim.since}" if claim else ""
            progress.notice(f"the same training is going on in {name}{since}; this run waits for its result.")
        return False

    def _silent(self, number: int) -> float | None:
        """Return for how many seconds a holder has been silent, by the store's clock; None if it has just gone."""
        self.asked = True
        self.store.put_bytes(self.probe, b"{}")
        found = {entry.key: entry for entry in self.store.entries(f"{FOLDER}/{self.key}/")}
        asked = found.get(self.probe)
        heard = found.get(beat_key(self.key, number)) or found.get(lease_key(self.key, number))
        return asked.modified - heard.modified if asked and heard else None

    def leave(self) -> None:
        if self.asked:
            with contextlib.suppress(StorageError):
                self.store.impatient().delete([self.probe])


Known = TypeVar("Known", bound=Part)


def _read(kind: type[Known], store: Store, key: str) -> Known | None:
    """Read a claim or a beat; None if it is gone, or from another version."""
    try:
        return kind.model_validate_json(store.get_bytes(key))
    except (MissingObject, ValidationError):
        return None
