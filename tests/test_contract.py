"""What an exported file says of itself is whole, or the file is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sightline.contract import Contract
from sightline.errors import ModelFileError

CONTRACT = Contract(
    schema_version=1, architecture="x", classes=("a",), image_size=64, stride=32, head="anchors", confidence=0.5,
    iou=0.7, max_det=300,
)  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        {"confidence": "0.5"},
        {"confidence": float("nan")},
        {"iou": 1.5},
        {"image_size": 0},
        {"max_det": 2.5},
        {"classes": [3]},
        {"classes": []},
        {"head": "other"},
        {"schema_version": 2},
    ],
    ids=str,
)
def test_damaged_contract_is_refused(damage: dict[str, Any]) -> None:
    whole = json.loads(CONTRACT.dump())
    assert Contract.parse({"sightline": json.dumps(whole)}, "x.onnx") == CONTRACT
    for values in ({**whole, **damage}, {"classes": ["a"]}, [1]):
        with pytest.raises(ModelFileError, match=r"x\.onnx is damaged"):
            Contract.parse({"sightline": json.dumps(values)}, "x.onnx")
