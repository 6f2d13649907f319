"""The index of one source, and the file in the cache that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sightline.storage import cache_root
from sightline.validate.index.comparisons import ComparisonQueries
from sightline.validate.index.database import Database
from sightline.validate.index.images import ImageQueries
from sightline.validate.index.issues import IssueQueries
from sightline.validate.index.pairings import PairingQueries
from sightline.validate.index.repairs import RepairQueries
from sightline.validate.index.splits import SplitQueries

KEPT_DAYS = 30


class Index:
    """What is known of the images of one source, by subject. What the answers mean is the business of its callers."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file at `path`. Raises sqlite3.DatabaseError if it is no index."""
        self._database = Database(path)
        self.images = ImageQueries(self._database)
        self.issues = IssueQueries(self._database)
        self.pairings = PairingQueries(self._database)
        self.comparisons = ComparisonQueries(self._database)
        self.splits = SplitQueries(self._database)
        self.repairs = RepairQueries(self._database)
        self.transaction = self._database.transaction

    def close(self) -> None:
        """Close the file."""
        self._database.close()


@contextlib.contextmanager
def opened(key: str | None) -> Iterator[Index]:
    """Open the index that belongs to `key`: a source, and all that decides what is found in a file of it.

    With None, while another process works on the same source, or where the cache cannot be written, it is a new one
    that is removed at the end. Raises sqlite3.DatabaseError for a damaged one.
    """
    with contextlib.ExitStack() as stack:
        path = _path(key) if key else None
        if path is None or not _locked(path, stack):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-index-"))) / "index.sqlite"
        else:
            _forget_old(path)
        index = Index(path)
        stack.callback(index.close)
        yield index


def remove(key: str) -> None:
    """Remove what is remembered under `key`."""
    _unlink(_path(key))


def _path(key: str) -> Path:
    return cache_root() / "index" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sqlite"


def _unlink(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink(missing_ok=True)


def _locked(path: Path, stack: contextlib.ExitStack) -> bool:
    """Claim an index for this process; the lock dies with it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(path.with_suffix(".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _forget_old(own: Path) -> None:
    """Remove what has not been used for long: each version of the code and each policy has an index of its own."""
    for path in own.parent.glob("*.sqlite"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            old = path != own and path.stat().st_mtime < time.time() - KEPT_DAYS * 86400
            if old and _locked(path, stack):
                _unlink(path)
                path.with_suffix(".lock").unlink()
