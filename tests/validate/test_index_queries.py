"""Queries of the index take any number of values."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sightline.validate.index.rows import marks
from sightline.validate.index.schema import quoted


@pytest.mark.parametrize(
    ("values", "found"), [((), []), (("a",), ["a"]), (("a", "c"), ["a", "c"]), (("it's", "b"), ["b", "it's"])]
)
def test_a_list_of_no_one_or_several_texts_is_valid_sql(values, found):
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE word (text TEXT)")
        database.executemany("INSERT INTO word VALUES (?)", [("a",), ("b",), ("c",), ("it's",)])
        query = "SELECT text FROM word WHERE text IN {} ORDER BY text"
        assert [text for (text,) in database.execute(query.format(quoted(values)))] == found
        assert [text for (text,) in database.execute(query.format(marks(values)), values)] == found
