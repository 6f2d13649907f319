"""Amounts as Kubernetes writes them: read exactly, and written for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

Amounts = Mapping[str, Decimal]  # by resource, in its base unit: CPUs, bytes, GPUs

BYTES = ("memory", "storage")  # how the names of resources end that are counted in bytes


def amount(text: object) -> Decimal:
    """Return what an amount such as 500m, 4Gi, 1e3 stands for. Raises ValueError."""
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(str(text)))


def amounts(texts: Mapping[str, object] | None) -> dict[str, Decimal]:
    """Return the amounts of an object's requests, limits or capacity."""
    return {name: amount(text) for name, text in (texts or {}).items()}


def total(parts: Iterable[Amounts]) -> dict[str, Decimal]:
    """Return the sum of amounts, resource by resource."""
    whole: dict[str, Decimal] = {}
    for part in parts:
        for name, value in part.items():
            whole[name] = whole.get(name, Decimal(0)) + value
    return whole


def shown(resource: str, value: Decimal) -> str:
    """Write an amount in the unit that people use for its resource: 500m, 3.8, 7.7Gi, 2."""
    if resource.endswith(BYTES):
        for unit, size in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if value >= size:
                return f"{_short(value / size)}{unit}"
        return f"{_short(value)}"
    if resource.endswith("cpu") and value < 1:
        return f"{_short(value * 1000)}m"
    return _short(value)


def _short(value: Decimal) -> str:
    """Write a number with one digit behind the point, cut off: what is free is never shown larger than it is."""
    cut = value.quantize(Decimal("0.1"), rounding="ROUND_DOWN")
    return f"{cut.normalize():f}" if cut else f"{value.normalize():f}"
