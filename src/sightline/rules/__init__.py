"""The rules of the data gate: what each looks for, why it matters, and what happens to what it finds.

`definitions` lists the rules; a check in `validate.checks`, in `image_files` or in the reader of a format finds their
issues. To add a rule, add its definition and its check: all other collections of rules are derived from the fields of
their definitions with `rule_ids`. A policy decides how severe a rule is (see `policy`).
"""

from __future__ import annotations

from collections.abc import Callable

from sightline.rules.definitions import DEFINITIONS
from sightline.rules.rule import Handling, Issue, Repair, Rule, Scope, Severity

__all__ = ["RULES", "Handling", "Issue", "Repair", "Rule", "Scope", "Severity", "rule_ids"]

RULES: dict[str, Rule] = {rule.id: rule for rule in DEFINITIONS}


def rule_ids(condition: Callable[[Rule], bool]) -> tuple[str, ...]:
    """Return the ids of the rules that meet a condition, in the order of `DEFINITIONS`."""
    return tuple(rule.id for rule in DEFINITIONS if condition(rule))
