"""One row an image in SQLite: what the gate works on instead of lists, so that memory stays flat.

The file stays in the cache. When the same source is read again, an image or label file that the file system says is
unchanged (size, modification and change time, inode) is not opened again; everything across images is worked out anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from sightline.datasets.types import SYNONYMS, Dataset, Label, Sample
from sightline.documents import Split
from sightline.rules import Handling, Issue, Scope, ids
from sightline.storage import cache_root

SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY, image BLOB NOT NULL, split TEXT NOT NULL, source TEXT NOT NULL,
    seen INTEGER NOT NULL, image_mark TEXT, label_mark TEXT DEFAULT '',
    sha256 TEXT, size INTEGER, width INTEGER, height INTEGER, orientation INTEGER, grey INTEGER, thumb BLOB,
    image_found TEXT, labels BLOB, count INTEGER, origin TEXT, own TEXT, alternative TEXT, low TEXT, fits INTEGER,
    final TEXT, name TEXT, dropped TEXT, kin INTEGER, pack TEXT, signs TEXT, named TEXT, UNIQUE (image, split));
CREATE TABLE IF NOT EXISTS problem (
    item INTEGER, rule TEXT NOT NULL, place TEXT NOT NULL, message TEXT NOT NULL,
    box TEXT, badness REAL NOT NULL, label INTEGER, lasting INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS problem_item ON problem (item);
CREATE INDEX IF NOT EXISTS item_sha256 ON item (sha256);
CREATE INDEX IF NOT EXISTS item_source ON item (source);
CREATE INDEX IF NOT EXISTS item_name ON item (final, name);
CREATE TABLE IF NOT EXISTS class (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT);
"""
# Nothing is lost that could not be worked out again: no waiting for the disk. Of the file 16 MiB are in memory.
PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-16384;"
SAFE_SECONDS = 2.0  # a file changed this shortly before it was read may change again under the same time stamp
KEPT_DAYS = 30
LABEL = struct.Struct("<5i")
COPY = ids(lambda rule: rule.scope is Scope.IMAGE and rule.handling is Handling.FIRST_KEPT)  # why a copy is left out
LIVE = "sha256 IS NOT NULL AND dropped IS NULL"
DISTINCT = f"(dropped IS NULL OR dropped NOT IN {COPY})"  # an image that quarantine leaves out still leaks


class Index:
    """The rows of one source. Everything here is SQL; what the numbers mean is the business of its callers."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file at `path`. Raises sqlite3.DatabaseError if it is no index."""
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(PRAGMAS + SCHEMA)
        self.run = int(self.value("SELECT value FROM meta WHERE key = 'run'") or 0)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a query, and stream its rows."""
        return self.db.execute(sql, parameters)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the one value of a query, None where there is no row."""
        row = self.db.execute(sql, parameters).fetchone()
        return row[0] if row else None

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for many rows."""
        self.db.executemany(sql, rows)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make the changes of the block at once, or none of them."""
        self.db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def add(
        self, item: int | None, found: Iterable[Issue], about: Iterable[int | None] | None = None, *,
        lasting: bool = False,
    ) -> None:  # fmt: skip
        """Write findings; `about` are the labels they are about, `lasting` ones stay while the item's files do."""
        labels = about if about is not None else repeat(None)
        self.many(
            "INSERT INTO problem VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (item, rule, where, message, json.dumps(box) if box else None, badness, label, lasting)
                for (rule, where, message, box, badness), label in zip(found, labels, strict=False)
            ),
        )

    def begin(self, meaning: str) -> None:
        """Begin a reading: forget what the last one worked out across images, and its labels if they mean other things.

        `meaning` names all that decides what is found in a label file beside the file and the image.
        """
        self.run += 1
        with self.together():
            self.db.execute("INSERT OR REPLACE INTO meta VALUES ('run', ?)", (str(self.run),))
            self.db.execute("DELETE FROM problem WHERE NOT lasting")
            if self.value("SELECT value FROM meta WHERE key = 'meaning'") != meaning:
                self.db.execute("UPDATE item SET label_mark = ''")
                self.db.execute("INSERT OR REPLACE INTO meta VALUES ('meaning', ?)", (meaning,))

    def forget_unseen(self) -> None:
        """Remove images that the source does not have any more."""
        with self.together():
            self.db.execute("DELETE FROM problem WHERE item IN (SELECT id FROM item WHERE seen != ?)", (self.run,))
            self.db.execute("DELETE FROM item WHERE seen != ?", (self.run,))
            self.db.execute("UPDATE item SET dropped = NULL WHERE dropped IS NOT NULL")
            self.db.execute("UPDATE item SET kin = NULL WHERE kin IS NOT NULL")

    def has_image(self, path: str) -> bool:
        """Tell whether an image is in the index, by its path."""
        return bool(self.value("SELECT EXISTS (SELECT 1 FROM item WHERE image = ?)", (os.fsencode(path),)))

    def class_id(self, name: str) -> int:
        """Return the number under which labels hold a class that is known by name only."""
        self.db.execute("INSERT OR IGNORE INTO class (name) VALUES (?)", (name,))
        return int(self.value("SELECT id FROM class WHERE name = ?", (name,)))


class IndexedDataset(Dataset):
    """The images of an index that passed. `renumber` maps the labels' class numbers to indices into `classes`."""

    def __init__(
        self, index: Index, classes: list[str], renumber: dict[int, int], omitted: dict[int, set[int]]
    ) -> None:
        """Take what quarantine omits: label positions by item."""
        self.index, self.classes, self.renumber, self.omitted = index, classes, renumber, omitted

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        """Yield the images of one split, or of all in the order train, val, test; within a split by name."""
        parts: tuple[Split, ...] = (split,) if split else tuple(SYNONYMS)
        for part in parts:
            rows = self.index.rows(
                "SELECT id, name, image, source, sha256, size, width, height, labels, pack FROM item "
                f"WHERE {LIVE} AND final = ? ORDER BY name",
                (part,),
            )
            for item, name, image, source, sha256, size, width, height, labels, pack in rows:
                yield Sample(
                    part, name, os.fsdecode(image), source, sha256, size, width, height, self.labels(item, labels), pack
                )

    def labels(self, item: int, packed: bytes | None) -> tuple[Label, ...]:
        """Return the labels of an item in canonical order."""
        new = self.renumber
        found = [(new[c], x / 1e6, y / 1e6, w / 1e6, h / 1e6) for c, x, y, w, h in unpack(packed)]
        if item in self.omitted:
            found = [label for place, label in enumerate(found) if place not in self.omitted[item]]
        found.sort()
        return tuple(found)

    def stored(self, packs: Iterable[tuple[str, str]]) -> None:
        """Remember that images lie in packs of a store: pairs of an image's sha256 and a pack's key."""
        with self.index.together():
            self.index.many("UPDATE item SET pack = ?2 WHERE sha256 = ?1", packs)


def pack(labels: Iterable[Sequence[int]]) -> bytes:
    """Return labels (class, cx, cy, w, h in millionths) as bytes."""
    return b"".join(LABEL.pack(*label) for label in labels)


def unpack(data: bytes | None) -> Iterator[tuple[int, ...]]:
    """Yield the labels that `pack` packed."""
    return LABEL.iter_unpack(data or b"")


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
        stack.callback(index.db.close)
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
    """Remove what nobody has used for long: each version of the code and each policy has an index of its own."""
    for path in own.parent.glob("*.sqlite"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            old = path != own and path.stat().st_mtime < time.time() - KEPT_DAYS * 86400
            if old and _locked(path, stack):
                _unlink(path)
                path.with_suffix(".lock").unlink()


def mark(status: os.stat_result) -> str:
    """Return what changes when a file does; empty for one that changed so recently that it might do so again unseen."""
    changed = max(status.st_mtime, status.st_ctime)
    if changed > time.time() - SAFE_SECONDS:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
