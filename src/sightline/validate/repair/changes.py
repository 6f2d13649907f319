"""What a repaired copy changes, rule by rule, in the words of `changes.csv`."""

from __future__ import annotations

from typing import NamedTuple

from sightline.rules import RULES, Repair


def _changes(*repairs: Repair) -> dict[str, str]:
    return {rule.id: rule.change for rule in RULES.values() if rule.repair in repairs}


WRITTEN = _changes(Repair.WRITTEN)  # what the copy has otherwise, just by being written from what was understood
LEFT_OUT = _changes(Repair.LEFT_OUT, Repair.SAVED)  # images, those among them that cannot be saved
COPIES = _changes(Repair.COPY_REMOVED)


class Change(NamedTuple):
    """One thing that was changed."""

    rule: str
    where: str
    change: str
