"""`train.freeze`: which weights stay as they are, and what a network must have for it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BeforeValidator

from sightline import expected
from sightline.errors import did_you_mean

MOST = 10_000
WORDS = "a whole number of leading layers, or a list of layers and names of parts such as [0, 1, 22.cv2]"
NAME = re.compile(r"\d+(\.\w+)*")  # of a part of the network: its layer, and the path within it


def _read(value: Any) -> Any:
    """Accept a count of layers, or a list of layers and names. Raises ValueError."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        fits = isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= MOST
        named = value is not item and isinstance(item, str) and NAME.fullmatch(item)
        if not fits and not named:
            raise ValueError(f"got {expected.shown(value)}, expected {WORDS}; layers count from 0, at most {MOST}")
    if not items:
        raise ValueError(f"got [], expected {WORDS}; 0 freezes nothing")
    return value


Freeze = Annotated[int | list[int | str], BeforeValidator(_read)]


def beyond(freeze: int | list[int | str], layers: int, owner: str) -> list[str]:
    """Say what of the choice a network of so many layers cannot follow; `owner` names it."""
    if isinstance(freeze, int):
        if freeze < layers:
            return []
        return [
            f"train.freeze: got {freeze}, but {owner} has {layers} layers; expected at most {layers - 1}, which leaves "
            "the head to train"
        ]
    if missing := [item for item in freeze if int(str(item).partition(".")[0]) >= layers]:
        return [f"train.freeze: got {', '.join(map(str, missing))}, but {owner} has {layers} layers, 0 to {layers - 1}"]
    if {str(item) for item in freeze} >= {str(layer) for layer in range(layers)}:
        return [f"train.freeze: got all {layers} layers of {owner}, which leaves nothing to train"]
    return []


def unmatched(freeze: int | list[int | str], parameters: Collection[str]) -> list[str]:
    """Say which names fit no parameter of a network, and whether nothing would be left to train.

    `parameters` are the engine's names, such as `model.22.cv2.0.0.conv.weight`; it freezes those that hold
    `model.<item>.`, and those of a distribution's fixed weights (`.dfl`) in any case (engine/trainer.py).
    """
    items = list(range(freeze)) if isinstance(freeze, int) else freeze
    chosen = [f"model.{item}." for item in items]
    parts = {
        ".".join(words[1 : end + 1])
        for words in (name.split(".") for name in parameters)
        for end in range(1, len(words) - 1)
    }
    problems = [
        f"train.freeze: '{item}' fits no parameter of the network{did_you_mean(item, sorted(parts))}"
        for item, part in zip(items, chosen, strict=True)
        if isinstance(item, str) and not any(part in name for name in parameters)
    ]
    left = [name for name in parameters if ".dfl" not in name and not any(part in name for part in chosen)]
    return problems if problems or left else ["train.freeze: everything is frozen, which leaves nothing to train"]
