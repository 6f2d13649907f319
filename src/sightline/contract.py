"""The contract inside an exported ONNX file: the input it takes, the output it gives, and its operating point.

Part of the runtime that ships: needs the standard library and numpy.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np

from sightline.errors import ConfigError, ModelFileError, shown

KEY = "sightline"  # of the contract in the metadata of the file
# Output of shape (batch, 4 + classes, anchors) with cx cy w h, or (batch, n, 6) with x1 y1 x2 y2 score class.
Head = Literal["anchors", "nms-free"]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an exported file promises about its input, its output and its operating point."""

    schema_version: int
    architecture: str  # such as yolo11n
    classes: tuple[str, ...]  # index in the output -> name
    image_size: int  # side of the square input it was trained and scored at, in pixels
    stride: int  # height and width of the input must be multiples of it
    head: Head
    confidence: float  # operating confidence: best mean F1 on val
    iou: float  # NMS overlap threshold within a class; unused by an nms-free head
    max_det: int  # most detections per image
    preprocessing: str = (
        "letterbox: scale to fit (up or down, bilinear), centre, pad with 114; RGB; divide by 255; NCHW float32"
    )

    @classmethod
    def parse(cls, metadata: dict[str, str], where: str) -> Contract:
        """Read the contract from ONNX metadata.

        Raises ModelFileError if it is missing or not understood.
        """
        if KEY not in metadata:
            raise ModelFileError(
                f"{where} carries no Sightline contract (metadata key '{KEY}'), so its preprocessing is unknown. "
                "Use a file that `sightline export` wrote."
            )
        try:
            values = json.loads(metadata[KEY])
            contract = cls(**{**values, "classes": tuple(values["classes"])})
            contract._check()
            return contract
        except (ValueError, KeyError, TypeError, ConfigError):
            expected = ", ".join(field.name for field in fields(cls))
            raise ModelFileError(f"The Sightline contract of {where} is damaged; expected {expected}.") from None

    def _check(self) -> None:
        """Raise ValueError or TypeError if a value cannot be what its field means."""
        counts = (self.schema_version, self.image_size, self.stride, self.max_det)
        if self.schema_version != 1 or self.head not in get_args(Head) or not self.classes:
            raise ValueError
        if not all(isinstance(name, str) for name in self.classes) or not all(type(n) is int and n > 0 for n in counts):
            raise TypeError
        fraction("confidence", self.confidence)
        fraction("iou", self.iou)

    def dump(self) -> str:
        """Return the metadata text."""
        return json.dumps(asdict(self), sort_keys=True)


def fraction(name: str, value: object) -> float:
    """Return a number from 0 to 1 as a float.

    Raises ConfigError for anything else.
    """
    real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    number: Any = value if real else math.nan  # compared before it is made a float, which some integers exceed
    if not 0 <= number <= 1:
        raise ConfigError(f"{name}: got {shown(value)}, expected a number from 0 to 1.")
    return float(number)
