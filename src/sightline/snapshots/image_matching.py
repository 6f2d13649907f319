"""Which image of one snapshot is which of another: matched in a temporary database, so that memory stays flat."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sightline.datasets.types import Label, Sample

# What two images must have in common to be the same one; the first that fits counts. Bytes come first; the same name
# with other bytes is the last resort.
ROUNDS = ("sha256, split, name", "sha256, split", "sha256, name", "sha256", "split, name")
SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-32768;
CREATE TABLE item (
    id INTEGER PRIMARY KEY, side INTEGER, split TEXT, name TEXT, sha256 TEXT, boxes TEXT, paired INTEGER DEFAULT 0);
CREATE TABLE pair (old INTEGER, new INTEGER);
"""


class Row(NamedTuple):
    """One image of one of the two."""

    split: str
    name: str
    sha256: str
    boxes: str

    def labels(self) -> list[Label]:
        """Return its boxes."""
        return [(box[0], box[1], box[2], box[3], box[4]) for box in json.loads(self.boxes)]


Pair = tuple[Row, Row]


class ImageMatching:
    """Side 0 is the older snapshot, side 1 the newer one."""

    def __init__(self) -> None:
        """Open a database that is removed when it is closed."""
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def add(self, side: int, samples: Iterable[Sample]) -> None:
        """Take the images of one side."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO item (side, split, name, sha256, boxes) VALUES (?, ?, ?, ?, ?)",
            ((side, s.split, s.name, s.sha256, json.dumps(s.labels)) for s in samples),
        )
        self._db.execute("COMMIT")

    def pairs(self) -> Iterator[Pair]:
        """Match all images of both sides, and yield those that are in both."""
        for columns in ROUNDS:
            self._match(columns)
        rows = self._db.execute(
            "SELECT x.split, x.name, x.sha256, x.boxes, y.split, y.name, y.sha256, y.boxes "
            "FROM pair JOIN item x ON x.id = old JOIN item y ON y.id = new ORDER BY y.split, y.name"
        )
        return ((Row(*row[:4]), Row(*row[4:])) for row in rows)

    def _match(self, columns: str) -> None:
        """Pair images that have these columns in common, one to one where several have them."""
        side = (
            f"SELECT id, {columns}, ROW_NUMBER() OVER (PARTITION BY {columns} ORDER BY split, name) AS number "
            "FROM item WHERE NOT paired AND side = "
        )
        self._db.execute("BEGIN")
        last = self._db.execute("SELECT COALESCE(MAX(rowid), 0) FROM pair").fetchone()[0]
        self._db.execute(
            f"INSERT INTO pair SELECT x.id, y.id FROM ({side} 0) x JOIN ({side} 1) y USING ({columns}, number)"
        )
        for which in ("old", "new"):
            self._db.execute(
                f"UPDATE item SET paired = 1 WHERE id IN (SELECT {which} FROM pair WHERE rowid > ?)", (last,)
            )
        self._db.execute("COMMIT")

    def alone(self, side: int) -> Iterator[Row]:
        """Yield the images that only one side has; after `pairs`."""
        rows = self._db.execute(
            "SELECT split, name, sha256, boxes FROM item WHERE side = ? AND NOT paired ORDER BY split, name", (side,)
        )
        return (Row(*row) for row in rows)
