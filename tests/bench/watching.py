"""What the watchers of a training cost: progress, the line of an epoch, TensorBoard's file, the sheets of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.datasets.synthetic import draw
from tests.bench import hooks
from tests.bench.trainings import Trainings

MODEL, EPOCHS, SIZE = "yolo11n.yaml", 3, 320


def main(folder: Path) -> dict[str, Any]:
    """Train once on drawn images, and time in the process itself what is done for people, and all of it.

    Two trainings, with and without, would differ by more than that.
    """
    draw(folder / "data")
    trainings = Trainings(folder, "data", MODEL, "quickstart", {"train.epochs": EPOCHS, "train.image_size": SIZE})
    done = trainings.ours({"train.hook": f"{hooks.__name__}:{hooks.clock_watching.__name__}"})
    spent = json.loads((trainings.kept / hooks.WATCHING).read_text(encoding="utf-8"))
    steps = [trainings.images / epoch["images_per_second"] for epoch in done.found["history"]]
    return {
        "image_size": SIZE,
        "images": trainings.images,
        "epochs": EPOCHS,
        "seconds": spent,
        "epoch_seconds": done.epoch_seconds,
        "share_of_steps": spent["batch"] / sum(steps),
        "share": sum(spent.values()) / sum(done.epoch_seconds),
    }
