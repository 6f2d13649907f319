"""The index has one home: whoever wants to know something of it asks a named query, by the names of its columns."""

from __future__ import annotations

import re
from pathlib import Path

VALIDATE = Path(__file__).parents[2] / "src/sightline/validate"
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE FROM|CREATE (TEMP )?TABLE)\b|\.(execute|executemany|executescript)\(")


def test_the_gate_writes_sql_in_the_package_of_the_index_alone() -> None:
    home, others = [], []
    for path in VALIDATE.rglob("*.py"):
        (home if path.parent.name == "index" else others).append(path)
    assert sum(len(SQL.findall(path.read_text())) for path in home) > 50
    assert {path.name: SQL.findall(path.read_text()) for path in others if SQL.search(path.read_text())} == {}
