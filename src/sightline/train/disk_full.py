"""Says that a disk was full where training found it out, and by how much."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightline.errors import FULL, SightlineError, no_space_left
from sightline.train.work_folder import START

SAID = re.compile(r"No space left on device|Disk quota exceeded|file write failed|inline_container")
STATE = 3  # a checkpoint with its optimizer over one without


@contextlib.contextmanager
def room(out: Path, work: Path, *results: str) -> Iterator[None]:
    """Turn a full disk in the block, or in a process whose end it reports, into one StorageError.

    The attempts keep checkpoints in `work`, of which the files `results` are copied to `out`; none of them stays.
    """
    try:
        yield
    except (OSError, SightlineError) as error:
        if not (isinstance(error, OSError) and error.errno in FULL) and not SAID.search(str(error)):
            raise
        needed = _needed(work)
        for name in results:
            (out / name).unlink(missing_ok=True)
        full = min((work.parent, out), key=lambda folder: shutil.disk_usage(folder).free)
        problem = no_space_left(full, needed, "training with its checkpoints")
        shutil.rmtree(work, ignore_errors=True)
        raise problem from None


def _needed(work: Path) -> int | None:
    """Return the bytes of the best and the last checkpoint, there and as results; null where nothing tells."""
    written = [path.stat().st_size for path in work.glob("attempt-*/weights/*.pt")]
    start = work / START
    one = max(written, default=0) or (STATE * start.stat().st_size if start.exists() else 0)
    return 4 * one or None
