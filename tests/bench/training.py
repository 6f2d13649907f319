"""Measures what training under supervision costs beside the engine alone: `make bench ARGS="--only training"`.

The rival is the engine's own trainer in a process: same snapshot, weights, settings and epochs, its own checkpoint
after each epoch, and no loaders, as it decides on a CPU. All run in turn. The rate counts from the end of the first
epoch to the end of the last, with validation and checkpoints; imports and scans are in the time of the whole command.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.datasets.synthetic import draw
from tests.bench import hooks
from tests.bench.trainings import Trained, Trainings

ROUNDS = 2
EPOCHS = 3
SIZE = 320
ENGINE = "engine"
VARIANTS: dict[str, dict[str, Any]] = {  # in turn, on a CPU
    "as configured": {},
    "no loaders": {"train.workers": 0},
    "1 loader": {"train.workers": 1},
    "2 loaders": {"train.workers": 2},
    "2 processes": {"train.workers": 0, "train.cpu_processes": 2},
}
MODELS = ("yolo11n.yaml", "yolo11s.yaml")


def main(folder: Path, shared: Path, rounds: int = ROUNDS, epochs: int = EPOCHS, size: int = SIZE) -> dict[str, Any]:
    """Measure the rate of training, and the cost of checkpoints."""
    values = {"train.epochs": epochs, "train.image_size": size, "train.augment.close_mosaic": 0}
    data, weights = shared / "data" / "bccd", shared / "weights" / "yolo11n.pt"
    trainings = Trainings(folder / "bccd", str(data), str(weights), "fast", values)
    return {
        "images": trainings.images,
        "image_size": size,
        "epochs": epochs,
        "rates": rates(trainings, VARIANTS, rounds),
        "checkpoints": [checkpoint(folder / model, model, size) for model in MODELS],
    }


def rates(trainings: Trainings, variants: Mapping[str, Mapping[str, Any]], rounds: int) -> dict[str, Any]:
    """Train with the engine and each variant of ours in turn; returns rates, and their ratios to the engine's."""
    runs: dict[str, list[Trained]] = {name: [] for name in (ENGINE, *variants)}
    for number in range(rounds):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))  # so that nobody always comes first
        for name in order:
            runs[name].append(trainings.engine({}) if name == ENGINE else trainings.ours(variants[name]))
    result = {name: _rate(done, trainings.images) for name, done in runs.items()}
    for each in result.values():
        each["ratio"] = each["images_per_second"] / result[ENGINE]["images_per_second"]
    return result


def _rate(runs: list[Trained], images: int) -> dict[str, Any]:
    rates = [images / run.seconds_per_epoch for run in runs]
    saved = [second for run in runs for second in run.found.get("checkpoint_seconds", [])]
    return {
        "images_per_second": statistics.median(rates),
        "all_images_per_second": rates,
        "wall_seconds": statistics.median(run.wall_seconds for run in runs),
        "checkpoint_seconds": statistics.median(saved) if saved else None,
    }


def checkpoint(folder: Path, model: str, size: int) -> dict[str, Any]:
    """Train a model on drawn images, and time its checkpoints inside the training and those of the engine alone."""
    draw(folder / "data")
    values = {"train.epochs": 3, "train.image_size": size}
    trainings = Trainings(folder, "data", model, "quickstart", values)
    done = trainings.ours({"train.hook": f"{hooks.__name__}:{hooks.clock_checkpoints.__name__}"})
    found = json.loads((trainings.kept / hooks.CHECKPOINTS).read_text(encoding="utf-8"))
    middle = {name: statistics.median(seconds) for name, seconds in found["seconds"].items()}
    engine = trainings.engine({"train.epochs": 2})
    return {
        "model": model,
        "images": trainings.images,
        "bytes": found["bytes"],
        "seconds": middle,
        "epoch_seconds": done.seconds_per_epoch,
        "share": middle["whole"] / done.seconds_per_epoch,
        "engine_bytes": engine.found["checkpoint_bytes"],
        "engine_seconds": statistics.median(engine.found["checkpoint_seconds"]),
    }
