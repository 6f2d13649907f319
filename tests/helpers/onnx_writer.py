"""Exports a checkpoint as the export stage does.

python -m tests.helpers.onnx_writer WEIGHTS NMS_FREE TARGET [SIZE CONFIDENCE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from sightline import ultralytics_env
from sightline.config import ExportConfig
from sightline.detect import Contract
from sightline.export import onnx_file


def main(weights: Path, nms_free: bool, target: Path, size: int = 320, confidence: float = 0.25) -> None:
    """Write `target` with a contract of the checkpoint's own classes."""
    ultralytics_env.prepare()
    model = onnx_file.load_checkpoint(weights)
    config = ExportConfig(nms_free=nms_free)
    onnx_file.export(weights, target, config, size)
    contract = Contract(
        schema_version=1,
        architecture=weights.stem,
        classes=tuple(model.names.values()),
        image_size=size,
        stride=32,
        head="nms-free" if nms_free else "anchors",
        confidence=confidence,
        iou=0.7,
        max_det=300,
    )
    onnx_file.write_contract(target, contract)


if __name__ == "__main__":
    size, confidence = sys.argv[4:] or ("320", "0.25")
    main(Path(sys.argv[1]), sys.argv[2] == "True", Path(sys.argv[3]), int(size), float(confidence))
