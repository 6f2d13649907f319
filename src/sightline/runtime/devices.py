"""Which NVIDIA GPUs there are, and which of them this process and those that it starts may use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from sightline.errors import DeviceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
GPU = re.compile(r"GPU (\d+): (.+) \(UUID: (GPU-[^)]+)\)")
SLICE_GB = re.compile(r"(\d+)gb")  # in the name of a slice
SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")


class Card(NamedTuple):
    """A GPU, or a slice of one."""

    number: int | None  # as nvidia-smi shows it; None for a slice
    name: str
    uuid: str
    sliced: bool = False  # whether only its slices can be used


def cards() -> list[Card]:
    """Return what nvidia-smi lists, each slice after its GPU, whatever CUDA_VISIBLE_DEVICES says."""
    if not shutil.which("nvidia-smi"):
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    found: list[Card] = []
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        if gpu := GPU.match(line):
            found.append(Card(int(gpu[1]), gpu[2], gpu[3]))
        elif part := SLICE.match(line):
            whole = next(place for place in reversed(range(len(found))) if found[place].number is not None)
            found[whole] = found[whole]._replace(sliced=True)
            found.append(Card(None, f"{found[whole].name} {part[1]}", part[2]))
    return found


def memory(chosen: Sequence[Card], *, free: bool = False) -> list[int | None]:
    """Return the memory of cards in bytes, or what is free of it; None where nvidia-smi does not say.

    Of a slice its name does: `3g.20gb` has 20 GB, and counts as free.
    """
    whole: dict[str, int] = {}
    if any(card.number is not None for card in chosen):
        query = [
            "nvidia-smi",
            f"--query-gpu=uuid,memory.{'free' if free else 'total'}",
            "--format=csv,noheader,nounits",
        ]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        rows = (line.split(", ") for line in done.stdout.splitlines())
        whole = {row[0]: int(row[1]) << 20 for row in rows if len(row) == 2 and row[1].isdecimal()}
    found: list[int | None] = []
    for card in chosen:
        part = SLICE_GB.search(card.name) if card.number is None else None
        found.append(int(part[1]) << 30 if part else whole.get(card.uuid))
    return found


def smallest(count: int, *, free: bool = False) -> tuple[Card, int] | None:
    """Return the smallest of the first `count` cards that this process may use, with its memory in bytes.

    With `free` it is the one that has least memory free, with that. None where there is none, or where the memory of
    one is not known.
    """
    used = visible()[:count]
    sizes = [size for size in memory(used, free=free) if size is not None]
    if not used or len(sizes) < len(used):
        return None
    return min(zip(used, sizes, strict=True), key=lambda pair: pair[1])


def visible() -> list[Card]:
    """Return the cards that this process may use; as with CUDA, the first entry that is none ends the list.

    In place of a card that is divided CUDA shows its first slice (NVIDIA's MIG User Guide, "CUDA Device Enumeration").
    """
    there = cards()
    allowed = os.environ.get(VISIBLE)
    if allowed is None:
        return [_undivided(card, there) for card in there if card.number is not None]
    found: list[Card] = []
    for entry in allowed.split(","):
        card = _matching(entry.strip(), there)
        if card is None:
            break
        found.append(_undivided(card, there))
    return found


def choose(text: str) -> int:
    """Let this process and those that it starts use the cards of a list such as `2,3` alone; returns how many.

    A card is named by its number in nvidia-smi, or by its UUID or the beginning of it. Where CUDA_VISIBLE_DEVICES is
    set, it must allow them. Raises DeviceError.
    """
    there, allowed = cards(), visible()
    chosen: list[Card] = []
    for entry in (part.strip() for part in text.split(",")):
        card = _matching(entry, there)
        if card is None:
            raise DeviceError(f"--devices: got '{entry}', expected {_shown(allowed)}.")
        if card.sliced:
            slices = [other for other in there if other.number is None]
            raise DeviceError(f"--devices: GPU {entry} is divided by MIG, expected {_shown(slices)}.")
        if os.environ.get(VISIBLE) is not None and card not in allowed:
            raise DeviceError(
                f"--devices: got '{entry}', but {VISIBLE} is {os.environ[VISIBLE]}: expected {_shown(allowed)}."
            )
        if card in chosen:
            raise DeviceError(f"--devices: {entry} is named twice in '{text}'.")
        chosen.append(card)
    if len(chosen) > 1 and any(card.number is None for card in chosen):
        raise DeviceError(f"--devices: got '{text}', but beside a slice of MIG a process sees no other GPU: name one.")
    os.environ[VISIBLE] = ",".join(card.uuid for card in chosen)
    return len(chosen)


def _matching(entry: str, there: Sequence[Card]) -> Card | None:
    """Return the card that a number, a UUID or the beginning of one names; None if none or several."""
    if entry.isdecimal():
        return next((card for card in there if card.number == int(entry)), None)
    found = [card for card in there if entry.startswith(("GPU-", "MIG-")) and card.uuid.startswith(entry)]
    return found[0] if len(found) == 1 else None


def _undivided(card: Card, there: Sequence[Card]) -> Card:
    """Return the card, or the first slice of one that is divided, which CUDA takes for it."""
    return there[there.index(card) + 1] if card.sliced else card


def _shown(allowed: Sequence[Card]) -> str:
    names = [f"{card.uuid if card.number is None else card.number} ({card.name})" for card in allowed]
    return f"numbers or UUIDs of {', '.join(names)}" if names else "none: this machine shows no NVIDIA GPU to use"
