"""All cases, in the order in which they are played."""

from __future__ import annotations

from tests.faults import cases_kills  # noqa: F401
from tests.faults.registry import CASES, Case

__all__ = ["CASES", "Case"]
