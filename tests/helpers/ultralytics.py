"""The training engine on its own, as a user without Sightline would call it: the reference for tests and benchmarks.

python -m tests.helpers.ultralytics predict WEIGHTS IMAGE_SIZE CONFIDENCE NMS_FREE IMAGE…
    detections as JSON, one list an image
python -m tests.helpers.ultralytics plain JOB.json
    train, val on test, export; times as JSON
python -m tests.helpers.ultralytics train OPTIONS.json
    train with the engine's loop; seconds and bytes of its checkpoints as JSON
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sightline import ultralytics_env


def predict(weights: str, image_size: int, confidence: float, nms_free: bool, images: list[str]) -> list[Any]:
    """Return [[x1, y1, x2, y2, score, class], …] for each image, best first."""
    from ultralytics import YOLO

    model = YOLO(weights)
    results = model.predict(
        images, imgsz=image_size, conf=confidence, iou=0.7, max_det=300, rect=False, device="cpu",
        nms=False if nms_free else None, verbose=False,
    )  # fmt: skip
    return [result.boxes.data.tolist() for result in results]


def score(weights: str, data_yaml: str, image_size: int) -> dict[str, float]:
    """Return the engine's own scores on the test split, with square batches."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        result = YOLO(weights).val(
            data=data_yaml,
            split="test",
            imgsz=image_size,
            rect=False,
            batch=16,
            device="cpu",
            plots=False,
            project=folder,
        )
    return {"map50": float(result.box.map50), "map50_95": float(result.box.map)}


def plain(job: dict[str, Any]) -> dict[str, Any]:
    """Train, score the best checkpoint on the test split with square batches, and export it to ONNX."""
    from ultralytics import YOLO

    start = time.monotonic()
    model = YOLO(job["model"])
    model.train(**job["train"])
    trained = time.monotonic()
    best = Path(job["train"]["save_dir"]) / "weights" / "best.pt"
    scores = score(str(best), job["train"]["data"], job["train"]["imgsz"])
    scored = time.monotonic()
    YOLO(best).export(format="onnx", dynamic=True, simplify=True, imgsz=job["train"]["imgsz"], device="cpu")
    return {
        "train_seconds": trained - start,
        "val_seconds": scored - trained,
        "export_seconds": time.monotonic() - scored,
        **scores,
    }


def train(options: dict[str, Any]) -> dict[str, Any]:
    """Train with the engine's own loop, and time the two checkpoints that it writes after each epoch."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    seconds, sizes = [], []

    class ClockedTrainer(DetectionTrainer):  # type: ignore[misc]
        def save_model(self) -> None:
            start = time.monotonic()
            super().save_model()
            seconds.append(time.monotonic() - start)
            sizes.append(self.last.stat().st_size)

    ClockedTrainer(overrides=options).train()
    return {"checkpoint_seconds": seconds, "checkpoint_bytes": max(sizes)}


if __name__ == "__main__":
    ultralytics_env.prepare()
    if sys.argv[1] == "predict":
        weights, size, confidence, nms_free, *images = sys.argv[2:]
        answer: Any = predict(weights, int(size), float(confidence), nms_free == "True", images)
    elif sys.argv[1] == "score":
        answer = score(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1] == "train":
        answer = train(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    else:
        answer = plain(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    print("\n" + json.dumps(answer))
