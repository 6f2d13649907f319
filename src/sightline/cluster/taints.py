"""Taints, and the tolerations that bear them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Taint = Mapping[str, str]

KEEPS_OUT = ("NoSchedule", "NoExecute")  # effects; PreferNoSchedule keeps nothing out


def tolerated(taint: Taint, tolerations: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether one of the tolerations bears a taint, as the scheduler decides it."""
    for each in tolerations:
        if each.get("effect") not in (None, "", taint.get("effect")):
            continue
        if each.get("key") not in (None, "", taint["key"]):
            continue
        if each.get("operator", "Equal") == "Exists" or each.get("value", "") == taint.get("value", ""):
            return True
    return False


def written(taint: Taint) -> str:
    """Write a taint as kubectl does."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint.get('effect', '')}"
