"""`train.llrd`: how much slower each layer of a network learns than the next one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from sightline import expected

USUAL = 0.9  # where it is switched on without a number
WORDS = f"off, on (which is {USUAL:g}) or a number between 0 and 1"


def _read(value: Any) -> Any:
    """Accept a switch beside a number. Raises ValueError."""
    if value is False or value == "off":
        return "off"
    if value is True or value == "on":
        return USUAL
    if isinstance(value, int | float) and 0 < value < 1:
        return float(value)
    raise ValueError(f"got {expected.shown(value)}, expected {WORDS}")


LayerDecay = Annotated[Literal["off"] | float, BeforeValidator(_read)]
