"""The page of measurements says what was stored."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from tests.bench.readme import MARKED, PAGE, RESULTS, rendered


def test_tables_of_the_page_are_those_of_the_stored_results() -> None:
    page, results = PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))
    assert {mark[2] for mark in MARKED.finditer(page)} == results["made"].keys()
    assert page == rendered(page, results), "run `python -m tests.bench.readme` and commit the page"


def test_every_benchmark_can_be_started() -> None:
    """`make bench` is not part of the tests, and its imports would break unnoticed."""
    for module in Path(__file__).parent.glob("*.py"):
        importlib.import_module(f"tests.bench.{module.stem}")
