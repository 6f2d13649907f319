"""The rules of the data gate: what each looks for, why it matters, and what is done about it.

`definitions` is the list; a check in `validate.checks`, `image_files` or a format's reader makes the issues. To add a
rule, add its definition and its check: every collection of rules elsewhere is derived from the fields with `ids`. A
policy says how severe a rule is (see `policy`).
"""

from __future__ import annotations

from collections.abc import Callable

from sightline.rules.definitions import DEFINITIONS
from sightline.rules.rule import Handling, Issue, Repair, Rule, Scope, Severity

__all__ = ["RULES", "Handling", "Issue", "Repair", "Rule", "Scope", "Severity", "ids"]

RULES: dict[str, Rule] = {rule.id: rule for rule in DEFINITIONS}


def ids(of: Callable[[Rule], bool]) -> tuple[str, ...]:
    """Return the ids of the rules for which `of` is true, in the order of the list."""
    return tuple(rule.id for rule in DEFINITIONS if of(rule))
