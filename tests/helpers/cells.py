"""A detector that needs no training: it sees red and green squares on a grid, with a score that is their brightness.

An image has 4 x 4 cells of 16 pixels; a cell is named by its number, 0 to 15, row by row. So a test says what is
labelled in an image and what is found there, and the real stages run on it, in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sightline import evaluate
from sightline.config import GateConfig
from sightline.detect import Contract
from sightline.documents import EvaluateDocument
from sightline.snapshots import publish
from sightline.storage import open_store, sha256_file
from tests.helpers import documents
from tests.helpers.memory import MemoryDataset

SIDE, CELL, CELLS = 64, 16, 16
CLASSES = ("red", "green")
CONFIDENCE = 0.5


@dataclass(frozen=True)
class Scene:
    """What is labelled in an image, cell by cell, and what the detector sees there: class and score."""

    labelled: Mapping[int, int] = field(default_factory=dict)
    seen: Mapping[int, tuple[int, float]] = field(default_factory=dict)

    def picture(self) -> bytes:
        """Return it as a PNG file."""
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for cell, (index, score) in self.seen.items():
            x, y = CELL * (cell % 4), CELL * (cell // 4)
            image[y : y + CELL, x : x + CELL, 2 - index] = round(255 * score)  # BGR
        return cv2.imencode(".png", image)[1].tobytes()


def right(*cells: int, score: float = 0.9) -> Scene:
    """Objects that are found."""
    return Scene(dict.fromkeys(cells, 0), dict.fromkeys(cells, (0, score)))


@dataclass(frozen=True)
class Run:
    """The folders of a run up to its export, and its data."""

    folder: Path
    snapshot: str

    @property
    def export(self) -> Path:
        return self.folder / "export"

    @property
    def evaluate(self) -> Path:
        return self.folder / "evaluate"

    def evaluated(self) -> EvaluateDocument:
        """Run evaluate on the exported file."""
        return evaluate.run(export=self.export, snapshot=self.snapshot, gate=GateConfig(), out=self.evaluate)

    def ship(self, **changes: float) -> None:
        """Export the detector, or another one (see `model`)."""
        model = self.export / "model.onnx"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_bytes(detector(**changes))
        document = documents.export(sha256_file(model), model.stat().st_size)
        values = {"snapshot": self.snapshot, "classes": list(CLASSES), "image_size": SIDE, "confidence": CONFIDENCE}
        document.model_copy(update=values).write(self.export)


def run_of(folder: Path, scenes: Mapping[str, Scene], store: str | None = None) -> Run:
    """Store scenes as the test split of a snapshot, by default in `folder/store`, and export the detector for it."""
    dataset = MemoryDataset(folder / "source", CLASSES)
    for split, name, scene in (
        ("train", "t.png", right(0)),
        ("val", "v.png", right(1)),
        *(("test", name, scene) for name, scene in scenes.items()),
    ):
        labels = [
            (index, (cell % 4 + 0.5) / 4, (cell // 4 + 0.5) / 4, 0.25, 0.25) for cell, index in scene.labelled.items()
        ]
        sample = dataset.put_bytes(split, name, scene.picture(), labels)
        dataset.images[split, name] = sample._replace(width=SIDE, height=SIDE)
    run = Run(folder, publish(dataset, open_store(store or str(folder / "store")), "cells").uri)
    run.ship()
    return run


def detector(shift: float = 0.0, scale: float = 1.0) -> bytes:
    """Return the ONNX file; `shift` moves its boxes by so many pixels, `scale` multiplies its scores."""
    centres = np.array([[CELL * (cell % 4 + 0.5), CELL * (cell // 4 + 0.5)] for cell in range(CELLS)]).T
    boxes = np.concatenate([centres + shift, np.full((2, CELLS), CELL)]).astype(np.float32)[None]
    constants = {
        "boxes": boxes,
        "zero": np.float32(0),
        "scale": np.float32(scale),
        "shape": np.array([0, 3, CELLS], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "none": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["pooled", "shape"], ["cells"]),
        helper.make_node("Slice", ["cells", "none", "two", "one"], ["colours"]),
        helper.make_node("Mul", ["colours", "scale"], ["scores"]),
        helper.make_node("Slice", ["cells", "none", "one", "one"], ["row"]),
        helper.make_node("Mul", ["row", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "boxes"], ["places"]),
        helper.make_node("Concat", ["places", "scores"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4 + len(CLASSES), CELLS])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = Contract(
        schema_version=1,
        architecture="cells",
        classes=CLASSES,
        image_size=SIDE,
        stride=32,
        head="anchors",
        confidence=CONFIDENCE,
        iou=0.7,
        max_det=300,
    )
    helper.set_model_props(model, {"sightline": contract.dump()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
