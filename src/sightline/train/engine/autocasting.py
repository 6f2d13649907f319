"""Mixed precision inside a network: its layers compute in bf16 or fp16, what is made of its raw outputs in float32.

The engine has autocast around all of it. In bf16, with 8 significant bits, a box that is decoded at 600 pixels then
lies at every fourth one: confident boxes of yolo11n, at 640 pixels, were 1.8 pixels off on average, and 0.4 where they
are decoded in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sightline.documents import ComputeType

NAMES: dict[ComputeType, str] = {"bf16": "bfloat16", "fp16": "float16"}  # in torch


@contextlib.contextmanager
def computing(model: Any, kind: ComputeType, device_type: str) -> Iterator[None]:
    """Within, the layers of a detector compute in a type; boxes and losses come from its raw outputs in float32.

    `model` is the engine's, not wrapped for several processes; its weights stay float32.
    """
    import torch

    if kind == "off":
        yield
        return
    head = model.model[-1]
    predict, raw, decode = model.predict, head.forward_head, head._inference

    def in_type(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device_type, dtype=getattr(torch, NAMES[kind])):
            return predict(*arguments, **options)

    def in_float32(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device_type, enabled=False):
            return decode(*arguments, **options)

    model.predict, head._inference = in_type, in_float32
    head.forward_head = lambda *arguments, **options: _float32(raw(*arguments, **options))
    try:
        yield
    finally:
        del model.predict, head._inference, head.forward_head  # the methods of their classes come back


def _float32(outputs: dict[str, Any]) -> dict[str, Any]:
    """Return the raw outputs of one branch of a head in float32; of the features, the anchors take their type."""
    return {
        name: [level.float() for level in value] if isinstance(value, list) else value.float()
        for name, value in outputs.items()
    }
