"""What the form asks of a cluster: amounts, labels of nodes, tolerations, as Kubernetes takes them.

A cluster refuses a wrong one only when the task is to start, long after the data was checked, and in its own words.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sightline import expected

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # of a label, and its value
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
AMOUNT = re.compile(r"(?P<number>\d{1,9}(\.\d{1,3})?)(?P<unit>m|[kMGT]|[KMGT]i)?")
UNITS = {"": 1.0, "m": 0.001} | {
    unit: float(base**power)
    for base, units in ((1000, ("k", "M", "G", "T")), (1024, ("Ki", "Mi", "Gi", "Ti")))
    for power, unit in enumerate(units, 1)
}
TIME, TIMES = re.compile(r"(\d{1,9})([smhd])"), {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST_CPU, MOST_CPU = 0.1, 1024
LEAST_MEMORY = 128 << 20  # bytes; less is a number whose unit was forgotten
LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
LOST = 60  # seconds on a lost node, where Kubernetes by itself gives 300
SELECTOR = 'expected a JSON object of labels, such as {"gpu": "a100"}'
TOLERATIONS = 'expected a JSON list, such as [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]'


class Toleration(BaseModel):
    """A taint that a pod bears, in the names that Kubernetes and KFP's driver read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(None, alias="tolerationSeconds")

    @model_validator(mode="after")
    def _as_the_api_server_checks(self) -> Toleration:
        if self.key and not is_label(self.key):
            raise ValueError(f"key: got {expected.shown(self.key)}, expected a label such as nvidia.com/gpu")
        if not self.key and self.operator != "Exists":
            raise ValueError("key: missing; only the operator Exists may do without")
        if self.value and self.operator == "Exists":
            raise ValueError("value: the operator Exists takes none")
        if self.value and not NAME.fullmatch(self.value):
            raise ValueError(f"value: got {expected.shown(self.value)}, expected a label's value")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("tolerationSeconds: only for the effect NoExecute")
        return self


FIELDS = [field.alias or name for name, field in Toleration.model_fields.items()]


def is_label(key: str) -> bool:
    """Say whether Kubernetes takes a text as the key of a label."""
    domain, slash, name = key.rpartition("/")
    return bool(NAME.fullmatch(name)) and (not slash or bool(DOMAIN.fullmatch(domain)))


def amount(text: str) -> float | None:
    """Return what an amount such as 500m, 1.5, 4Gi stands for; None for any other text."""
    match = AMOUNT.fullmatch(text)
    return float(match["number"]) * UNITS[match["unit"] or ""] if match else None


def times(text: str, count: int) -> str:
    """Return so many times an amount, in its unit: twice 32Gi is 64Gi."""
    match = AMOUNT.fullmatch(text)
    return f"{float(match['number']) * count:.12g}{match['unit'] or ''}" if match else text


def seconds(text: str) -> int | None:
    """Return the seconds of a time such as 90s, 30m, 2h or 1d; None for any other text."""
    match = TIME.fullmatch(text)
    return int(match[1]) * TIMES[match[2]] if match else None


def cpu(text: str) -> str:
    """Return an amount of CPUs as it is. Raises ValueError."""
    found = amount(text)
    if found is None or not LEAST_CPU <= found <= MOST_CPU:
        raise ValueError(f"got {expected.shown(text)}, expected CPUs from 100m to {MOST_CPU}, such as 4 or 500m")
    return text


def memory(text: str) -> str:
    """Return an amount of memory as it is. Raises ValueError."""
    found = amount(text)
    if found is None or text.endswith("m") or found < LEAST_MEMORY:
        raise ValueError(f"got {expected.shown(text)}, expected memory of at least 128Mi, such as 16Gi")
    return text


def node_selector(text: str) -> dict[str, str]:
    """Return the labels that a node must have. Raises ValueError with every mistake."""
    found = _json(text, SELECTOR)
    if not isinstance(found, dict):
        raise ValueError(f"got {expected.shown(found)}, {SELECTOR}")
    problems = [f"{expected.shown(key)} is no label's key" for key in found if not is_label(key)]
    problems += [
        f"{key}: got {expected.shown(value)}, expected a label's value in quotes"
        for key, value in found.items()
        if not isinstance(value, str) or (value and not NAME.fullmatch(value))
    ]
    if problems:
        raise ValueError(f"{'; '.join(problems)}: {SELECTOR}")
    return found


def tolerations(text: str) -> list[dict[str, Any]]:
    """Return tolerations, with no more than their own fields. Raises ValueError with every mistake."""
    found = _json(text, TOLERATIONS)
    if not isinstance(found, list):
        raise ValueError(f"got {expected.shown(found)}, {TOLERATIONS}")
    problems, whole = [], []
    for number, item in enumerate(found, 1):
        try:
            whole.append(Toleration.model_validate(item).model_dump(by_alias=True, exclude_defaults=True))
        except ValidationError as error:
            problems += [f"number {number}: {_explained(each)}" for each in error.errors()]
    if problems:
        raise ValueError(f"{'; '.join(problems)}: {TOLERATIONS}")
    return whole


def lost_node_tolerations(chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tolerations with which a pod leaves a lost node early; `chosen` ones for the same taint come first."""
    borne = {item.get("key", "") for item in chosen if item.get("effect", "NoExecute") == "NoExecute"}
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST}
        for key in LOST_NODE
        if not borne & {key, ""}
    ]


def _json(text: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}); {wanted}") from None


def _explained(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown field '{name}', expected one of {', '.join(FIELDS)}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message if item["type"] == "value_error" else f"{name or 'it'} should be {message}"
