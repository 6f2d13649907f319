"""The energy that a training takes: its cards' own counters, by NVIDIA's library.

A counter goes up from the start of the driver on, in millijoules, whoever uses the card. Cards before Volta have none,
and a slice of a card (MIG) has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline.runtime import devices


class Meter:
    """The counters of the cards that train on this machine, from when it is made."""

    def __init__(self, gpus: int, nodes: int = 1) -> None:
        """Read the counters of the first `gpus` cards that this process may use, on one of `nodes` machines."""
        self.nodes = nodes
        self._cards = _cards(gpus)
        self._begin = _read(self._cards)

    def joules(self, others: Sequence[float | None] = ()) -> float | None:
        """Return what all nodes took by now, `others` being what the others say; None where one cannot tell."""
        now = _read(self._cards)
        if now is None or self._begin is None:
            return None
        known = [value for value in others if value is not None]
        if len(known) < self.nodes - 1:
            return None
        return round((now - self._begin) / 1000 + sum(known), 3)


def _cards(gpus: int) -> list[Any]:
    """Return NVIDIA's handles of cards; none where there is no driver, or one of them is not known to it."""
    if not gpus:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByUUID(card.uuid) for card in devices.visible()[:gpus]]
    except pynvml.NVMLError:
        return []


def _read(cards: list[Any]) -> int | None:
    """Return the sum of the counters, in millijoules; None without cards, or if one has no counter."""
    if not cards:
        return None
    import pynvml

    try:
        return sum(int(pynvml.nvmlDeviceGetTotalEnergyConsumption(card)) for card in cards)
    except pynvml.NVMLError:
        return None
