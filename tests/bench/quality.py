"""Measures whether our loop trains as well as the engine's: `make bench ARGS="--only quality"`.

Both read the same images with the same settings; they draw order, augmentation and mosaics from other generators, so
that only distributions can be compared: over some seeds, in mAP50-95 of the best epoch on val, both by the engine's
validator in float32.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.trainings import Trainings

SEEDS = (0, 1, 2)
VALUES = {"train.epochs": 6, "train.image_size": 160, "train.augment.close_mosaic": 2}


def main(folder: Path, shared: Path, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Train with both in turn on BCCD, with mosaics, from pretrained weights."""
    data, weights = shared / "data" / "bccd", shared / "weights" / "yolo11n.pt"
    trainings = Trainings(folder / "quality", str(data), str(weights), "fast", VALUES)
    scores: dict[str, list[float]] = {"engine": [], "ours": []}
    for seed in seeds:
        scores["engine"].append(trainings.engine({"train.seed": seed}).map50_95)
        scores["ours"].append(trainings.ours({"train.seed": seed}).map50_95)
    return {
        "images": trainings.images,
        "image_size": VALUES["train.image_size"],
        "epochs": VALUES["train.epochs"],
        "seeds": list(seeds),
        "map50_95": scores,
        "mean": {who: statistics.mean(values) for who, values in scores.items()},
        "deviation": {who: statistics.stdev(values) if len(values) > 1 else None for who, values in scores.items()},
    }
