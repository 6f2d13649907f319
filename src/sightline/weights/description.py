"""Reads a person's own description of a network: the engine's format, strictly, and as data alone.

The engine builds whatever name of its own modules or of torch's a description gives, evaluates `activation` as code
(`nn/tasks.py`, `parse_model`), and takes the size from the file's name. So what is pinned is not the file but what was
read from it, in one spelling: known modules only, an activation that is a call with numbers, and one size.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from sightline import strict_yaml
from sightline.errors import WeightsError, did_you_mean, shortened, shown
from sightline.weights import strides
from sightline.weights.shipped import MODULES
from sightline.weights.strides import Layer

MAX_BYTES = 1 << 20
HEADS = ("Detect", "v10Detect")
FACTORS = ("depth_multiple", "width_multiple")
SIZE = re.compile(r"yolo(?:e-)?v?\d+([nslmx])")  # in a file's name, as the engine looks for it
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST = 1 << 20  # of a number in a layer, and channels of a network that states no limit
MOST_LAYERS, MOST_REPEATS, MOST_ARGUMENTS = 1000, 100, 20
Numbers = (int, float)
# What each key holds, in the words of a message; those without which there is no network come first.
KEYS = {
    "backbone": "a list of layers",
    "head": "a list of layers",
    "nc": "a whole number of classes, which those of the data replace",
    "scales": "sizes with depth, width and most channels each, such as n: [0.5, 0.25, 1024]",
    "depth_multiple": "a number above 0",
    "width_multiple": "a number above 0",
    "activation": "a module of torch.nn called with numbers, such as nn.LeakyReLU(0.1)",
    "end2end": "true or false",
    "reg_max": "a whole number from 1 to 64",
}
LAYER = "[from, repeats, module, arguments], such as [-1, 1, Conv, [64, 3, 2]]"


@dataclass(frozen=True)
class Description:
    """A network as it was read, of one size."""

    values: dict[str, Any]

    @property
    def all_layers(self) -> list[Layer]:
        """The layers from the image to the head."""
        return [Layer(*layer) for layer in (*self.values["backbone"], *self.values["head"])]

    @property
    def layers(self) -> int:
        """How many there are."""
        return len(self.all_layers)

    @property
    def one_to_one(self) -> bool:
        """Whether it has a head that needs no NMS."""
        return bool(self.values.get("end2end")) or self.all_layers[-1].module == "v10Detect"

    @property
    def stride(self) -> int | None:
        """Pixels of the image for each cell of the deepest level; None where the text does not say."""
        return strides.deepest(self.all_layers)

    def text(self) -> str:
        """Return YAML that the engine reads as these very values; equal networks have equal texts."""
        return yaml.safe_dump(self.values, default_flow_style=None, width=120, sort_keys=True)


def read(path: Path, source: str) -> Description:
    """Read a description; messages call it `source`, whose name decides the size. Raises WeightsError."""
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"weights.source: {source} has more than {MAX_BYTES >> 20} MiB, expected a description.")
    try:
        values = strict_yaml.parse(path.read_bytes())
    except ValueError as problem:
        raise WeightsError(f"weights.source: {source} is not YAML that can be read: {problem}.") from None
    if not isinstance(values, dict):
        raise WeightsError(f"weights.source: {source} describes no network; expected backbone and head.")
    problems = [*_wrong_keys(values), *_wrong_layers(values)]
    if not problems:
        values, problems = _in_one_size(values, source)
    if problems:
        raise WeightsError(f"weights.source: {source} is not a network that can be trained:", problems)
    return Description(values)


def _wrong_keys(values: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with the keys and with all values but the layers."""
    for key in ("backbone", "head"):
        if key not in values:
            yield f"{key}: missing; expected {KEYS[key]}"
    for key, value in values.items():
        if key not in KEYS:
            instead = did_you_mean(str(key), KEYS) or "; expected " + ", ".join(KEYS)
            yield f"unknown key {shown(key)}{instead}"
        elif key not in ("backbone", "head") and not _fits(key, value):
            yield f"{key}: got {shown(value)}, expected {KEYS[key]}"


def _fits(key: str, value: Any) -> bool:
    if key == "end2end":
        return isinstance(value, bool)
    if key == "scales":
        return isinstance(value, dict) and bool(value) and all(map(_is_scale, value, value.values()))
    if key == "activation":
        return isinstance(value, str) and _is_activation(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key == "nc":
        return whole and value >= 1
    return whole and 1 <= value <= 64 if key == "reg_max" else _is_factor(value)


def _is_factor(value: Any) -> bool:
    return isinstance(value, Numbers) and not isinstance(value, bool) and 0 < value <= 100


def _is_scale(name: Any, scale: Any) -> bool:
    return (
        isinstance(name, str)
        and isinstance(scale, list)
        and len(scale) == 3
        and all(map(_is_factor, scale[:2]))
        and isinstance(scale[2], int)
        and not isinstance(scale[2], bool)
        and 1 <= scale[2] <= LARGEST
    )


def _is_activation(text: str) -> bool:
    """Say whether a text is nothing but a call of one of torch's modules with plain values."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or any(word.arg is None for word in call.keywords):
            return False
        for value in (*call.args, *(word.value for word in call.keywords)):
            ast.literal_eval(value)
        name = ast.unparse(call.func).removeprefix("torch.")
        return name.startswith("nn.") and name in MODULES
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _wrong_layers(values: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with the layers; they are numbered from 0 through backbone and head, as `from` counts."""
    parts = [values.get(key, []) for key in ("backbone", "head")]
    for key, part in zip(("backbone", "head"), parts, strict=True):
        if key in values and (not isinstance(part, list) or not part):
            yield f"{key}: got {shown(part)}, expected {KEYS[key]}"
    if not all(isinstance(part, list) and part for part in parts):
        return
    layers = [*parts[0], *parts[1]]
    if len(layers) > MOST_LAYERS:
        yield f"backbone and head: got {len(layers)} layers, expected at most {MOST_LAYERS}"
        return
    for index, layer in enumerate(layers):
        if not isinstance(layer, list) or len(layer) != 4:
            yield f"layer {index}: got {shown(layer)}, expected {LAYER}"
            continue
        for problem in _wrong_layer(index, Layer(*layer), last=index == len(layers) - 1):
            yield f"layer {index}: {problem}"


def _wrong_layer(index: int, layer: Layer, *, last: bool) -> Iterator[str]:
    sources = layer.source if isinstance(layer.source, list) else [layer.source]
    whole = all(isinstance(item, int) and not isinstance(item, bool) for item in sources)
    least = -max(index, 1)
    if not sources or not whole or not all(least <= item < max(index, 0) for item in sources):
        allowed = f"layers before it, {least} to {index - 1}" if index else "-1, the image"
        yield f"from: got {shown(layer.source)}, expected {allowed}"
    repeats = layer.repeats
    if not isinstance(repeats, int) or isinstance(repeats, bool) or not 1 <= repeats <= MOST_REPEATS:
        yield f"repeats: got {shown(repeats)}, expected a whole number from 1 to {MOST_REPEATS}"
    if last:
        if layer.module not in HEADS:
            yield f"got module {shown(layer.module)}, expected {' or '.join(HEADS)}: the head of a detector comes last"
        elif layer.arguments != ["nc"] or not isinstance(layer.source, list) or layer.repeats != 1:
            yield f"expected [[levels], 1, {layer.module}, [nc]]"
        return
    if layer.module in HEADS:
        yield f"got module {layer.module}, expected it as the last layer alone"
    elif not isinstance(layer.module, str) or layer.module not in MODULES:
        yield f"unknown module {shown(layer.module)}{did_you_mean(str(layer.module), MODULES) or '.'}".rstrip(".")
    arguments = layer.arguments
    if not isinstance(arguments, list) or len(arguments) > MOST_ARGUMENTS or not all(map(_is_argument, arguments)):
        yield f"arguments: got {shown(arguments)}, expected a list of numbers, switches and single words"


def _is_argument(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_ARGUMENTS and all(_is_argument(item) and not isinstance(item, list) for item in value)
    if isinstance(value, Numbers):
        return abs(value) <= LARGEST  # neither inf nor nan is
    return value is None or bool(WORD.fullmatch(str(value)))


def _in_one_size(values: dict[Any, Any], source: str) -> tuple[dict[str, Any], list[str]]:
    """Return the values with one size alone, and what is wrong; the engine would take the first, if none is named."""
    found = SIZE.search(PurePosixPath(source).stem)
    named = found[1] if found else None
    scales = values.get("scales")
    if scales is None and named:  # a size is more than its factors: some modules look at its letter
        scales = {named: [*(values.get(factor, 1.0) for factor in FACTORS), LARGEST]}
    if scales is None:
        return {"nc": 80, **values}, []
    size = named or (next(iter(scales)) if len(scales) == 1 else None)
    if size not in scales:
        sizes = ", ".join(map(shortened, scales))
        which = f"and the file's name says {named}" if named else "and the file's name says none"
        example = f"such as mine-yolo11{next(iter(scales))}.yaml"
        return values, [f"scales: got {sizes}, {which}; keep one of them, or name the file for one, {example}"]
    rest = {key: value for key, value in values.items() if key not in ("scales", *FACTORS)}
    return {"nc": 80, **rest, "scales": {size: scales[size]}}, []
