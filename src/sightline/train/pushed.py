"""The checkpoints of a training that lie in the store: which there are, which count, and how they come back.

    checkpoints/<training key>/000003/0007-epoch-0012.pt      the seventh that the third lease's holder pushed
                                      0007-epoch-0012.json    its manifest, written last
                                      attempts.json           the attempts so far
                                      events.out.tfevents.…   the curves so far, for TensorBoard

Every lease has a folder of its own and no name is used twice, so a late write of a holder that was taken over damages
nothing. The order of pushes counts, lease by lease, and not the epoch: after a step back to an earlier epoch, what had
been pushed of later ones no longer counts.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.atomic import write_bytes
from sightline.runtime import progress
from sightline.storage import MissingObject, Store, Transfer, WrongBytes
from sightline.train import event_file
from sightline.train.lease import FOLDER

ATTEMPTS = "attempts.json"
LOCAL = "checkpoints"  # the folder in a work folder
KEPT = 2  # the newest, besides the best
KEY = re.compile(
    rf"(\d{{6,}})/(?:(\d{{4,}})-epoch-(\d{{4,}})(\.json|\.pt)|attempts\.json|({re.escape(event_file.PREFIX)}[^/]+))"
)


class Pushed(NamedTuple):
    """A checkpoint in the store; they sort by age."""

    number: int
    sequence: int
    epoch: int

    def key(self, training: str, suffix: str) -> str:
        """Return where its file (`.pt`) or its manifest (`.json`) lies."""
        return f"{FOLDER}/{training}/{self.number:06}/{self.sequence:04}-epoch-{self.epoch:04}{suffix}"

    @property
    def local(self) -> str:
        """Name of its file in a work folder, without suffix."""
        return f"epoch-{self.epoch:04}"


def attempts_key(training: str, number: int) -> str:
    """Return where the attempts lie that the holder of a lease knows of."""
    return f"{FOLDER}/{training}/{number:06}/{ATTEMPTS}"


def events_key(training: str, number: int, name: str) -> str:
    """Return where the event file lies that the holder of a lease has written."""
    return f"{FOLDER}/{training}/{number:06}/{name}"


class Contents(NamedTuple):
    """What lies in the store of a training."""

    checkpoints: list[Pushed]  # the newest first
    attempts: list[int]  # the numbers of the leases whose attempts are there, the newest first
    events: list[str]  # keys of event files, the newest first
    keys: list[str]  # everything in the folders of leases

    @property
    def newest(self) -> int:
        """The last lease under which something was pushed; 0 where nothing was."""
        return max([*(item.number for item in self.checkpoints), *self.attempts], default=0)


def contents(store: Store, training: str) -> Contents:
    """Look what lies in the store. Raises StorageError."""
    checkpoints, attempts, events, keys = [], [], [], []
    for entry in store.entries(f"{FOLDER}/{training}/"):
        found = KEY.fullmatch(_inside(entry.key))
        if not found:
            continue
        keys.append(entry.key)
        if found[5]:
            events.append(entry.key)
        elif not found[2]:
            attempts.append(int(found[1]))
        elif found[4] == ".json":
            checkpoints.append(Pushed(int(found[1]), int(found[2]), int(found[3])))
    events.sort(key=lambda key: (int(_inside(key).partition("/")[0]), key), reverse=True)
    return Contents(sorted(checkpoints, reverse=True), sorted(attempts, reverse=True), events, keys)


def _inside(key: str) -> str:
    return key.split("/", 2)[2]


class Facts(NamedTuple):
    """What a manifest says that matters for moving its file; `best` is an epoch too."""

    epoch: int
    best: int
    size: int
    sha256: str
    text: bytes


def facts(text: bytes, training: str) -> Facts | str:
    """Read what a manifest says, or tell what is wrong with it."""
    try:
        found = json.loads(text)
        epoch, best, size = (int(found[name]) for name in ("epoch", "best_epoch", "size_bytes"))
        key, sha256 = str(found["key"]), str(found["sha256"])
    except (ValueError, KeyError, TypeError):
        return "its manifest cannot be read"
    if key != training:
        return "it is of another training"
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        return "its manifest has no sha256"
    return Facts(epoch, best, size, sha256, text)


# --- back into a work folder


def restore(store: Store, training: str, there: Contents, work: Path) -> list[Path]:
    """Put the newest good checkpoints and the best into a work folder, in place of those there; returns manifests.

    The newest is the first. One that is damaged, incomplete or of another training is named and passed over. The
    attempts come too. Raises StorageError.
    """
    fresh = work / "fetched"
    shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed over it
    good: list[tuple[Pushed, Facts]] = []
    for item in there.checkpoints:
        if len(good) == KEPT:
            break
        stepped_back = good and item.epoch >= good[-1][0].epoch
        if not stepped_back and (known := _fetched(store, training, item, fresh)):
            good.append((item, known))
    names = [item.local for item, _ in good]
    if good:
        best = next((item for item in there.checkpoints if item.epoch == good[0][1].best), None)
        if best and best.local not in names and _fetched(store, training, best, fresh):
            names.append(best.local)
        shutil.rmtree(work / LOCAL, ignore_errors=True)
        fresh.rename(work / LOCAL)
    if there.attempts:
        write_bytes(work / ATTEMPTS, store.get_bytes(attempts_key(training, there.attempts[0])))
    return [work / LOCAL / f"{name}.json" for name in names]


def _fetched(store: Store, training: str, item: Pushed, folder: Path) -> Facts | None:
    """Fetch a checkpoint, its manifest last; None if it is not what it should be, which is said."""
    try:
        text = store.get_bytes(item.key(training, ".json"))
        known = facts(text, training)
        if isinstance(known, Facts) and known.epoch != item.epoch:
            known = f"its manifest is of epoch {known.epoch}"
        if isinstance(known, Facts):
            path = folder / f"{item.local}.pt"
            store.download([Transfer(item.key(training, ".pt"), path, known.sha256)])
            write_bytes(folder / f"{item.local}.json", text)
            return known
        wrong = known
    except (MissingObject, WrongBytes) as error:
        wrong = error.message
    progress.notice(f"the checkpoint {store.uri}/{item.key(training, '.pt')} cannot be used: {wrong}")
    return None


# --- room in the store


def make_room(store: Store, training: str, number: int, best: int) -> None:
    """Delete what no longer counts: all but the newest two and the best, what is incomplete, and old attempts.

    What lies under a higher number than that of this lease is another's. Raises StorageError.
    """
    there = contents(store, training)
    newest = there.checkpoints[:1] + [item for item in there.checkpoints[1:] if item.epoch != best]
    kept = {*newest[:KEPT], *[item for item in there.checkpoints if item.epoch == best][:1]}
    needed = {item.key(training, suffix) for item in kept for suffix in (".json", ".pt")}
    needed |= {attempts_key(training, old) for old in there.attempts[:1]} | {*there.events[:1]}
    delete(store, (key for key in there.keys if key not in needed and int(_inside(key).split("/")[0]) <= number))


def delete(store: Store, keys: Iterable[str]) -> None:
    """Delete objects, manifests first: one that is there means that its file is. Raises StorageError."""
    found: Sequence[str] = list(keys)
    for manifests in (True, False):
        if some := [key for key in found if key.endswith(".json") == manifests]:
            store.delete(some)
