"""All cases, in the order in which they are played."""

from __future__ import annotations

from tests.faults import cases_kills, cases_memory, cases_nodes, cases_run, cases_state, cases_store
from tests.faults.registry import CASES, Case

__all__ = ["CASES", "Case", "cases_kills", "cases_memory", "cases_nodes", "cases_run", "cases_state", "cases_store"]
