"""Renders what was measured into this folder's README.md, between its markers.

python -m tests.bench.readme            write
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench import tables

PAGE, RESULTS = Path(__file__).with_name("README.md"), Path(__file__).with_name("results.json")
MARKED = re.compile(r"(<!-- (\w+): rendered from results.json -->\n).*?(<!-- end -->)", re.DOTALL)
PACKAGES = ("torch", "ultralytics-opencv-headless", "onnxruntime-gpu", "kfp", "mlflow")


def rendered(page: str, results: dict[str, Any]) -> str:
    """Return the page with each part's tables in its place."""
    return MARKED.sub(lambda mark: mark[1] + part(mark[2], results) + mark[3], page)


def part(name: str, results: dict[str, Any]) -> str:
    """Render the tables of one part, and below them what they were measured with."""
    pieces = getattr(tables, name)(results[name])
    texts = [markdown(piece) if isinstance(piece, Table) else f"{piece}\n" for piece in pieces]
    return "\n" + "\n".join([*texts, f"*{made(results['made'][name])}*\n"]) + "\n"


def markdown(table: Table) -> str:
    """Render a table: the first column to the left, numbers to the right."""
    rows = [[str(column.header) for column in table.columns]]
    rows += [list(row) for row in zip(*(map(str, column.cells) for column in table.columns), strict=True)]
    rows.insert(1, ["---", *["---:"] * (len(table.columns) - 1)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def made(by: dict[str, Any]) -> str:
    """Say on which machine, with which packages and at which commit a part was measured."""
    machine, packages = by["machine"], by["packages"]
    return (
        f"{machine['machine']}, {machine['cpu_count']} cores, {machine['memory_bytes'] / 1e9:.0f} GB; Python "
        f"{packages['python']}, {', '.join(f'{name} {packages[name]}' for name in PACKAGES)}; commit "
        f"{by['git_commit'][:7]}"
    )


if __name__ == "__main__":
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
