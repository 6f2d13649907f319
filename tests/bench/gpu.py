"""Measures training on GPUs, with mixed precision: `make bench ARGS="--only gpu"`; skipped where there is none.

The engine alone and under supervision on one GPU in turn; two GPUs with the same batch, if there are two; and a batch
four times too large: the process gets no more memory than a training with a quarter of the batch took, and the ladder
of recoveries halves the images of a pass until it fits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.runtime import provenance
from tests.bench import hooks
from tests.bench.training import rates
from tests.bench.trainings import Trainings

ROUNDS = 2
BATCH = 16
TIMES = 4  # how many times the batch is too large
ROOM = 1.1  # of the memory that fits: the allocator's blocks differ from run to run
VALUES = {"train.epochs": 5, "train.image_size": 640, "train.augment.close_mosaic": 0, "train.gpus": 1}


def main(folder: Path, shared: Path) -> dict[str, Any]:
    """Measure, or say why not."""
    gpus = provenance.hardware().gpus
    if not gpus:
        return {"skipped": "the driver shows no NVIDIA GPU on this machine"}
    data, weights = shared / "data" / "bccd", shared / "weights" / "yolo11n.pt"
    values = {**VALUES, "train.batch": BATCH, "train.workers": 8}
    trainings = Trainings(folder / "gpu", str(data), str(weights), "fast", values)
    variants: dict[str, dict[str, Any]] = {"1 GPU": {}}
    if len(gpus) > 1:
        variants["2 GPUs"] = {"train.gpus": 2}
    return {
        "gpus": gpus,
        "images": trainings.images,
        "image_size": VALUES["train.image_size"],
        "epochs": VALUES["train.epochs"],
        "rates": rates(trainings, variants, ROUNDS),
        "ladder": ladder(trainings),
    }


def ladder(trainings: Trainings) -> dict[str, Any]:
    """Train with a batch four times too large for the memory that the process gets."""
    hook = {"train.hook": f"{hooks.__name__}:{hooks.watch_gpu.__name__}"}
    fits = trainings.ours(hook)
    peak = json.loads((trainings.kept / hooks.PEAK).read_text(encoding="utf-8"))["bytes"]
    limit = int(peak * ROOM)
    done = trainings.ours({**hook, "train.batch": TIMES * BATCH}, {hooks.LIMIT: str(limit)})
    return {
        "batch": TIMES * BATCH,
        "limit_bytes": limit,
        "attempts": [
            {"batch": each["settings"]["batch"], "ending": each["ending"], "seconds": each["seconds"]}
            for each in done.found["attempts"]
        ],
        "wall_seconds": done.wall_seconds,
        "seconds_per_epoch": done.seconds_per_epoch,
        "map50_95": done.map50_95,
        "fitting": {"batch": BATCH, "seconds_per_epoch": fits.seconds_per_epoch, "map50_95": fits.map50_95},
    }
