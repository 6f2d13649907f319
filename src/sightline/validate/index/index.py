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
    """The images and issues of one source; each attribute has the queries of one subject."""

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
    """Open the index of `key`, which identifies a source and all that decides the issues of a file in it.

    Without a key, while another process uses the same index, or if the cache cannot be written, it is a temporary one.
    Raises sqlite3.DatabaseError for a damaged file.
    """
    with contextlib.ExitStack() as stack:
        path = _path(key) if key else None
        if path is None or not _locked(path, stack):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-index-"))) / "index.sqlite"
        else:
            _remove_old(path)
        index = Index(path)
        stack.callback(index.close)
        yield index


def remove(key: str) -> None:
    """Remove the index of `key` from the cache."""
    _unlink(_path(key))


def _path(key: str) -> Path:
    return cache_root() / "index" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sqlite"


def _unlink(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink(missing_ok=True)


def _locked(path: Path, stack: contextlib.ExitStack) -> bool:
    """Lock an index for this process, until `stack` closes or the process ends; return whether that worked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(path.with_suffix(".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_old(own: Path) -> None:
    """Remove indexes that were not used for KEPT_DAYS; each version of the code and each policy has its own index."""
    for path in own.parent.glob("*.sqlite"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            old = path != own and path.stat().st_mtime < time.time() - KEPT_DAYS * 86400
            if old and _locked(path, stack):
                _unlink(path)
                path.with_suffix(".lock").unlink()
