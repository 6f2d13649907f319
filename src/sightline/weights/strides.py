"""By how much the layers of a network shrink the image, read from their description without building them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

# Where a module's stride stands among its arguments, and the stride without that: Ultralytics 8.4.190,
# nn/modules/conv.py and block.py, and torch.nn.
STRIDES = {
    "Conv": (2, 1),
    "ConvTranspose": (2, 2),
    "DWConv": (2, 1),
    "DWConvTranspose2d": (2, 1),
    "Focus": (2, 1),
    "GhostBottleneck": (2, 1),
    "GhostConv": (2, 1),
    "ResNetLayer": (2, 1),
    "SCDown": (2, 1),
    "nn.Conv2d": (3, 1),
    "nn.ConvTranspose2d": (2, 1),
    "nn.Upsample": (1, None),
    "nn.UpsamplingBilinear2d": (1, None),
    "nn.UpsamplingNearest2d": (1, None),
}
ENLARGING = ("Transpose", "Upsampl")
HALVING = {"ADown": 2, "AConv": 2, "Focus": 2, "HGStem": 4}  # whatever their stride
POOLS = ("nn.AvgPool2d", "nn.MaxPool2d")  # of which the kernel is the stride, unless there is one
UNKNOWN = ("Pad", "Pool", "Shuffle")  # in the name of a module of torch.nn of which the arguments alone do not say it


class Layer(NamedTuple):
    """One row of a description, in the order of the engine's format."""

    source: Any  # the layer that it takes, or several; counted from 0, or back from itself
    repeats: Any
    module: Any
    arguments: Any


def deepest(layers: Sequence[Layer]) -> int | None:
    """Return the pixels of the image for each cell of the deepest level that the head, the last layer, takes.

    None where the text does not say.
    """
    shrunk: list[Fraction | None] = []
    for layer in layers[:-1]:
        source = layer.source[-1] if isinstance(layer.source, list) else layer.source
        before, own = shrunk[source] if shrunk else Fraction(1), _shrinks(layer)
        shrunk.append(before * own if before is not None and own is not None else None)
    levels = [shrunk[level] for level in layers[-1].source]
    found = [level for level in levels if level is not None]
    if len(found) < len(levels) or max(found).denominator != 1 or max(found) < 1:
        return None
    return int(max(found))


def _shrinks(layer: Layer) -> Fraction | None:
    """Return by how much one layer shrinks what it takes; below 1 if it enlarges it."""
    module, arguments = layer.module, layer.arguments
    if module in STRIDES:
        place, without = STRIDES[module]
        stride = arguments[place] if len(arguments) > place else without
    elif module in POOLS:
        stride = next((value for value in arguments[1::-1] if value is not None), None)
    elif module.startswith("nn.") and any(word in module for word in UNKNOWN):
        return None
    else:
        stride = 1
    if module == "ResNetLayer" and len(arguments) > 3 and arguments[3] is True:
        stride = 4  # a convolution and a pooling
    if isinstance(stride, bool) or not isinstance(stride, int | float) or stride <= 0:
        return None
    factor = Fraction(stride).limit_denominator(64) * HALVING.get(module, 1)
    if not factor:
        return None
    if any(word in module for word in ENLARGING):
        factor = 1 / factor
    return factor if factor == 1 or layer.repeats == 1 else None
