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
from sightline.train.work_folder import START

FULL_DISK_MESSAGES = re.compile(r"No space left on device|Disk quota exceeded|file write failed|inline_container")
STATE = 3  # size of a checkpoint with its optimizer, relative to one without


@contextlib.contextmanager
def full_disk_explained(out: Path, work: Path, *results: str) -> Iterator[None]:
    """Raise one StorageError for a full disk that the block, or a process that it reports on, ran into.

    `work` holds the checkpoints of the attempts, `results` are the files copied from it to `out`; all are removed,
    but for those of an earlier training.
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
        problem = no_space_left(full, needed, "training with its checkpoints", instead=work_root.ELSEWHERE)
        shutil.rmtree(work, ignore_errors=True)
        raise problem from None


def _needed(work: Path) -> int | None:
    """Return the bytes of the best and last checkpoint, in `work` and as results; None if unknown."""
    written = [path.stat().st_size for path in work.glob("attempt-*/weights/*.pt")]
    start = work / START
    one = max(written, default=0) or (STATE * start.stat().st_size if start.exists() else 0)
    return 4 * one or None
