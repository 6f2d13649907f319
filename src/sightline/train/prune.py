"""Makes room: checkpoints of trainings that nobody goes on with, in a store and in the folder of all work folders."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from sightline.documents import Document
from sightline.documents.base import Part, Sha256
from sightline.runtime.stage_frame import moment
from sightline.storage import Store
from sightline.storage.lock import Lock
from sightline.train.lease import FOLDER
from sightline.train.pushed import delete

ABANDONED = 7 * 24 * 3600.0  # seconds without a sign of life


class Abandoned(Part):
    """A training that nobody goes on with."""

    training: Sha256 = Field(description="Its key.")
    place: str = Field(description="Where its checkpoints lie: a URI in a store, or a work folder.")
    bytes: int
    last: str = Field(description="When anything of it was last written: ISO 8601, UTC.")


class CheckpointsPruneDocument(Document):
    """What was deleted, or would be."""

    store: str = Field(description="URI of the store.")
    work: str = Field(description="Folder of all work folders.")
    done: bool = Field(description="False where it was only looked up what would be deleted.")
    trainings: list[Abandoned]
    bytes: int = Field(description="Bytes that this frees.")


def prune(store: Store, work: Path, *, older_than: float = ABANDONED, yes: bool = False) -> CheckpointsPruneDocument:
    """Delete what lies of trainings of which nothing was written for `older_than` seconds; without `yes` only look.

    A work folder that a process holds is never touched. Raises StorageError.
    """
    found = [*_in_store(store, older_than, yes), *_in_work(work, older_than, yes)]
    total = sum(one.bytes for one in found)
    return CheckpointsPruneDocument(store=store.uri, work=str(work), done=yes, trainings=found, bytes=total)


def _in_store(store: Store, older_than: float, yes: bool) -> Iterator[Abandoned]:
    """Yield the trainings of a store that are abandoned: a holder's beat is written every few seconds."""
    trainings: dict[str, tuple[int, float]] = {}
    for entry in store.entries(f"{FOLDER}/"):
        key = entry.key.split("/")[1]
        if re.fullmatch("[0-9a-f]{64}", key):
            size, modified = trainings.get(key, (0, 0.0))
            trainings[key] = size + entry.size, max(modified, entry.modified)
    for key, (size, modified) in trainings.items():
        if time.time() - modified <= older_than:
            continue
        if yes:
            there = list(store.entries(f"{FOLDER}/{key}/"))
            if max((entry.modified for entry in there), default=0.0) > modified:
                continue  # somebody has begun to go on with it meanwhile
            delete(store, (entry.key for entry in there))
        yield Abandoned(training=key, place=f"{store.uri}/{FOLDER}/{key}", bytes=size, last=moment(modified))


def _in_work(work: Path, older_than: float, yes: bool) -> Iterator[Abandoned]:
    """Yield the work folders that no process holds and in which nothing was written for so long."""
    for folder in sorted(work.iterdir()) if work.is_dir() else ():
        if not re.fullmatch("[0-9a-f]{64}", folder.name) or not folder.is_dir():
            continue
        path = folder.with_name(f"{folder.name}.lock")
        was_there = path.exists()
        with Lock(path) as lock:
            if not lock.take(wait=False):
                continue
            size, modified = _measured(folder)
            old = time.time() - modified > older_than
            if old and yes:
                shutil.rmtree(folder)
            if (old and yes) or not was_there:
                path.unlink(missing_ok=True)  # while it is held: whoever waits for it sees that
        if old:
            yield Abandoned(training=folder.name, place=str(folder), bytes=size, last=moment(modified))


def _measured(folder: Path) -> tuple[int, float]:
    """Return the bytes in a folder, and when something in it was last written, in seconds since 1970."""
    size, modified = 0, folder.stat().st_mtime
    for parent, _, names in os.walk(folder):
        for name in names:
            status = Path(parent, name).stat(follow_symlinks=False)
            size, modified = size + status.st_size, max(modified, status.st_mtime)
    return size, modified
