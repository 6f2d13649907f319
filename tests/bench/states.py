"""Compares what two trainings ended with, bit for bit; prints JSON.

python -m tests.bench.states A.pt B.pt                  two states of ours
python -m tests.bench.states --engine A.pt B.pt         two checkpoints of the engine: their weights
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch

from sightline import ultralytics_env


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values in nested dictionaries and lists, with their places."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from leaves(each, f"{name}.{index}")
    else:
        yield name, value


def compared(one: Any, other: Any) -> dict[str, Any]:
    """Return how many tensors and other values there are, how many of them differ, and by how much at most."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    result: dict[str, Any] = {"tensors": 0, "differing": 0, "values": 0, "differing_values": 0, "largest": 0.0}
    for name in mine.keys() | theirs.keys():
        a, b = mine.get(name), theirs.get(name)
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            result["values"] += 1
            result["differing_values"] += a != b
            continue
        result["tensors"] += 1
        if a.dtype != b.dtype or not torch.equal(a, b):
            result["differing"] += 1
            if a.is_floating_point() and a.shape == b.shape:
                result["largest"] = max(result["largest"], float((a.double() - b.double()).abs().max()))
    return result


def main(one: str, other: str, engine: bool) -> None:
    """Compare two files."""
    if not engine:
        found = [torch.load(path, map_location="cpu", weights_only=True) for path in (one, other)]
    else:
        ultralytics_env.prepare()
        files = [torch.load(path, map_location="cpu", weights_only=False) for path in (one, other)]
        found = [(file.get("ema") or file["model"]).state_dict() for file in files]
    print(json.dumps(compared(*found)))


if __name__ == "__main__":
    main(*sys.argv[-2:], engine=sys.argv[1] == "--engine")
