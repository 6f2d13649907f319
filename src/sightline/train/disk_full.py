"""Turns a full disk during training into one clear error that says how much room is needed."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightline.documents import TrainDocument
from sightline.errors import FULL, SightlineError, no_space_left
from sightline.storage import work_root
from sightline.train import checkpoints
from sightline.train.work_folder import START

FULL_DISK_MESSAGES = re.compile(
    r"No space left (on device|for )|Disk quota exceeded|file write failed|inline_container"
)
STATE = 8  # size of a checkpoint in full precision with its optimizer, relative to half-precision starting weights


@contextlib.contextmanager
def full_disk_explained(out: Path, work: Path, *results: str) -> Iterator[None]:
    """Raise one StorageError for a full disk that the block, or a process that it reports on, ran into.

    `work` holds the checkpoints, from which the same training goes on when there is room: they stay. `results` are the
    files copied from it to `out`; they are removed, but for those of an earlier training.
    """
    try:
        yield
    except (OSError, SightlineError) as error:
        if not (isinstance(error, OSError) and error.errno in FULL) and not FULL_DISK_MESSAGES.search(str(error)):
            raise
        needed = _needed(work)
        if not (out / TrainDocument.file_name()).exists():  # else they belong to an earlier training
            for name in results:
                (out / name).unlink(missing_ok=True)
        full = min((work.parent, out), key=lambda folder: shutil.disk_usage(folder).free)
        kept = checkpoints.newest_epoch(work / checkpoints.FOLDER)
        instead = work_root.ELSEWHERE
        if kept:
            instead += f"; the {kept} epoch{'s' * (kept > 1)} so far {'are' if kept > 1 else 'is'} kept in {work}, and "
            instead += "the same command goes on from there"
        problem = no_space_left(full, needed, "training with its checkpoints", instead=instead)
        for attempt in work.glob("attempt-*"):
            shutil.rmtree(attempt, ignore_errors=True)
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
        raise problem from None


def _needed(work: Path) -> int | None:
    """Return the bytes of the newest checkpoints, the best, and one that is being written; None if unknown."""
    written = [path.stat().st_size for path in (work / checkpoints.FOLDER).glob("*.pt")]
    start = work / START
    one = max(written, default=0) or (STATE * start.stat().st_size if start.exists() else 0)
    return (checkpoints.NEWEST + 2) * one or None
