"""Writes the ONNX file with the engine's exporter, without dates and paths: equal weights give equal bytes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from sightline.atomic import write_bytes
from sightline.config import ExportConfig
from sightline.contract import KEY, Contract
from sightline.errors import ConfigError

DROPPED_METADATA = (
    "date",
    "description",
    "args",
)  # the engine's own entries that hold the time, and paths of this machine


def load_checkpoint(path: Path) -> Any:
    """Return the engine's model of a checkpoint, float32, on the CPU, in evaluation mode."""
    from ultralytics.nn.tasks import load_checkpoint

    model, _ = load_checkpoint(path, device="cpu")
    return model.float().eval()


def select_head(model: Any, nms_free: bool, max_det: int = 300) -> None:
    """Select the head that the model outputs: one-to-one (nms-free, `max_det` rows), or the one every family has.

    Raises ConfigError if the model has no nms-free head and one is asked for.
    """
    if nms_free and getattr(model.model[-1], "one2one_cv2", None) is None:
        raise ConfigError(
            "export.nms_free: got true, but this model has no one-to-one head; only yolov10 and yolo26 have one."
        )
    model.end2end = nms_free
    model.model[-1].max_det = max_det


def export(checkpoint: Path, target: Path, config: ExportConfig, image_size: int) -> None:
    """Export with dynamic batch, height and width to `target`."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory(prefix="sightline-export-") as folder:
        # The exporter writes beside its input.
        copy = Path(shutil.copy(checkpoint, Path(folder) / "model.pt"))
        written = YOLO(copy, task="detect").export(
            format="onnx",
            imgsz=image_size,
            dynamic=True,
            simplify=True,
            opset=config.opset,
            nms=False if config.nms_free else None,
            max_det=config.max_det,
            device="cpu",
            verbose=False,
        )
        shutil.move(written, target)


def write_contract(path: Path, contract: Contract) -> None:
    """Write the contract into the file's metadata and remove what differs between two exports of one checkpoint."""
    import onnx

    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props if entry.key not in DROPPED_METADATA}
    entries[KEY] = contract.dump()
    del model.metadata_props[:]
    for key in sorted(entries):
        model.metadata_props.add(key=key, value=entries[key])
    model.doc_string = ""
    # Shapes of intermediate results: a third of them is left over from the simplifier, which third differs from one
    # export to the next, and every runtime infers them anyway.
    del model.graph.value_info[:]
    write_bytes(path, model.SerializeToString(deterministic=True))


def opset(path: Path) -> int:
    """Return the ONNX opset version of a file's default domain."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
