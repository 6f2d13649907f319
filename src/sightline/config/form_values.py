"""What the parameters of the pipeline can be: text that says a value, a choice, or to leave it to the preset."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from sightline import expected
from sightline.config import cluster_values
from sightline.config.sizing import TIER_NAMES

PRESET, AUTO, NONE = "preset", "auto", "none"
WHOLE = re.compile("[0-9]{1,9}")
OVERRIDES = 'expected a JSON object such as {"train.lr0": 0.001}'


@dataclass(frozen=True)
class Sets:
    """The dotted configuration key that a parameter sets, unless it has the value that leaves it to the preset."""

    key: str
    read: Callable[[str], Any] = str
    unless: str = PRESET


@dataclass(frozen=True)
class Choices:
    """All values that a parameter can have: a drop-down in the form."""

    values: tuple[str, ...]


def _text(value: Any) -> Any:
    """Accept a number for its text: files of schedules hold numbers, KFP's form knows text."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, bool) or not isinstance(value, int | float) else str(value)


def _whole(text: str) -> str:
    if WHOLE.fullmatch(text) is None:
        raise ValueError(f"got {expected.shown(text)}, expected a whole number")
    return text


def _whole_or_preset(text: str) -> str:
    if text != PRESET and WHOLE.fullmatch(text) is None:
        raise ValueError(f"got {expected.shown(text)}, expected a whole number or {PRESET}")
    return text


def _number_or_preset(text: str) -> str:
    try:
        found = text == PRESET or math.isfinite(float(text))
    except ValueError:
        found = False
    if not found:
        raise ValueError(f"got {expected.shown(text)}, expected a number or {PRESET}")
    return text


def _overrides(text: str) -> str:
    try:
        overrides = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}); {OVERRIDES}") from None
    if not isinstance(overrides, dict):
        raise ValueError(f"got {expected.shown(overrides)}, {OVERRIDES}")
    if "train.gpus" in overrides:
        raise ValueError("got train.gpus; set the parameter train_gpus, by which the GPUs are also requested")
    return text


def _tier(text: str) -> str:
    if text not in (AUTO, *TIER_NAMES):
        raise ValueError(f"got {expected.shown(text)}, expected one of {AUTO}, {', '.join(TIER_NAMES)}")
    return text


def _selector(text: str) -> str:
    cluster_values.node_selector(text)
    return text


def _tolerations(text: str) -> str:
    if text != AUTO:
        cluster_values.tolerations(text)
    return text


Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[Text, AfterValidator(_whole)]
WholeOrPreset = Annotated[Text, AfterValidator(_whole_or_preset)]
NumberOrPreset = Annotated[Text, AfterValidator(_number_or_preset)]
Overrides = Annotated[str, AfterValidator(_overrides)]
NodeSelector = Annotated[str, AfterValidator(_selector)]
Tolerations = Annotated[str, AfterValidator(_tolerations)]
TierOrAuto = Annotated[str, AfterValidator(_tier), Choices((AUTO, *TIER_NAMES))]
