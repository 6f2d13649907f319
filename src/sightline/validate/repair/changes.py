"""The changes that a repaired copy makes for each rule, in the words of `changes.csv`."""

from __future__ import annotations

from typing import NamedTuple

from sightline.rules import RULES, Repair


def _changes(*repairs: Repair) -> dict[str, str]:
    return {rule.id: rule.change for rule in RULES.values() if rule.repair in repairs}


WRITTEN = _changes(Repair.WRITTEN)  # corrected by writing the copy
LEFT_OUT = _changes(Repair.LEFT_OUT, Repair.SAVED)  # images that are left out, if they cannot be re-encoded
COPIES = _changes(Repair.COPY_REMOVED)


class Change(NamedTuple):
    """One change: a row of `changes.csv`."""

    rule: str
    where: str
    change: str
