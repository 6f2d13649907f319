"""A connection to the SQLite file of an index: streams named tuples, writes many rows at once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sightline.validate.index.schema import PRAGMAS, SCHEMA, TEMPORARY

Row = TypeVar("Row")


class Database:
    """The connection that all queries of this package use."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file at `path`. Raises sqlite3.DatabaseError if it is no index."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(PRAGMAS + SCHEMA + TEMPORARY)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def rows(self, make: Callable[[Iterable[Any]], Row], sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Run a query, and yield its rows, each made by `make`: `tuple`, or `_make` of a NamedTuple."""
        return map(make, self._connection.execute(sql, parameters))

    def column(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Run a query of one column, and yield its values."""
        return (value for (value,) in self._connection.execute(sql, parameters))

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the single value of a query, None if there is no row."""
        row = self._connection.execute(sql, parameters).fetchone()
        return row[0] if row else None

    def count(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Return the single number of a query, 0 if there is none."""
        return int(self.value(sql, parameters) or 0)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, parameters)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for many rows."""
        self._connection.executemany(sql, rows)

    def function(self, name: str, body: Callable[[Any], Any]) -> None:
        """Let statements call a function of one argument."""
        self._connection.create_function(name, 1, body, deterministic=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes of the block together; roll them back if it raises."""
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
