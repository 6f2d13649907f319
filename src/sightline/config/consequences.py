"""What one setting means for others: here the values that a person gives count, not those of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHOSEN = ("train.lr0", "train.momentum", "train.warmup_bias_lr")  # what the engine's auto sets by itself


def chosen_by_auto(train: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Refuse values that the optimizer `auto` would put aside; `values` are those that a person has given."""
    if train["optimizer"] != "auto":
        return []
    return [
        f"{key}: got {values[key]}, but train.optimizer auto chooses it: leave it out, or name the optimizer"
        for key in CHOSEN
        if values.get(key) is not None
    ]
