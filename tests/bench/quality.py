"""Measures whether our values train as well as the engine's defaults: `make bench ARGS="--only quality"`.

On a CPU the values of `balanced` are compared, with a nano model for a dozen epochs at 320 pixels; with a GPU
`balanced` and `accurate` as they are. The rival is the engine's own trainer with its own defaults in all else: same
snapshot, starting weights, epochs, image size and seed. Both checkpoints are exported and scored on the test split by
the pipeline, so that one measure judges both. They draw order, augmentation and mosaics from other generators, so that
only distributions over some seeds can be compared.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline.config.presets import resolve
from sightline.documents import EvaluateDocument, TrainDocument, read
from sightline.runtime import provenance
from sightline.storage import sha256_file
from tests.bench.timing import timed
from tests.bench.trainings import SIGHTLINE, Trainings

SEEDS = (0, 1, 2)
SETS = ("bccd", "rbc-wbc-coco")
ON_CPUS = {"train.epochs": 12, "train.image_size": 320}
SCORES = ("map50_95", "map50")


def main(folder: Path, shared: Path, seeds: Sequence[int] = SEEDS, sets: Sequence[str] = SETS) -> dict[str, Any]:
    """Train with both in turn, from pretrained weights."""
    gpus = len(provenance.visible_gpus())
    values = {"train.gpus": 1} if gpus else ON_CPUS
    return {
        "seeds": list(seeds),
        "sets": {
            f"{name}, {preset}": _compared(folder / name / preset, shared, name, preset, values, seeds)
            for name in sets
            for preset in (("balanced", "accurate") if gpus else ("balanced",))
        },
    }


def _compared(
    folder: Path, shared: Path, name: str, preset: str, values: dict[str, Any], seeds: Sequence[int]
) -> dict[str, Any]:
    """Train on one set and return the scores of both, by seed."""
    weights = shared / "weights" / str(resolve(preset, {}).weights.source if "train.gpus" in values else "yolo11n.pt")
    trainings = Trainings(folder, str(shared / "data" / name), str(weights), preset, values)
    runs: dict[str, list[dict[str, float]]] = {"engine": [], "ours": []}
    for seed in seeds:
        for who, train in (("ours", _ours), ("engine", _engine)):
            runs[who].append(train(trainings, seed))
            print(f"{name}, {preset}, seed {seed}, {who}: {runs[who][-1]}", file=sys.stderr, flush=True)
    config = trainings.config({})
    return {
        "images": trainings.images,
        "weights": weights.name,
        "image_size": config.image_size,
        "epochs": config.epochs,
        "runs": runs,
        **{score: {who: _spread([run[score] for run in found]) for who, found in runs.items()} for score in SCORES},
    }


def _ours(trainings: Trainings, seed: int) -> dict[str, float]:
    trained = trainings.ours({"train.seed": seed})
    return {**_scored(trainings.folder), "seconds": trained.wall_seconds}


def _engine(trainings: Trainings, seed: int) -> dict[str, float]:
    """Train with the engine alone, and score its best checkpoint as the pipeline scores ours."""
    config = trainings.config({})
    given = {
        "model": trainings.weights, "data": str(trainings.data_yaml), "epochs": config.epochs,
        "imgsz": config.image_size, "seed": seed, "device": "0" if config.gpus else "cpu", "plots": False,
    }  # fmt: skip
    shutil.rmtree(trainings.folder / "engine", ignore_errors=True)
    _, seconds, _ = timed(trainings.plain_command(given, "engine"), trainings.folder)
    stage = trainings.folder / "run" / "train"
    shutil.copy(trainings.folder / "engine" / "weights" / "best.pt", stage / "best.pt")
    document = read(TrainDocument, stage)
    document.model_copy(update={"checkpoint_sha256": sha256_file(stage / "best.pt")}).write(stage)
    return {**_scored(trainings.folder), "seconds": seconds}


def _scored(folder: Path) -> dict[str, float]:
    """Export the checkpoint of the run and score the file on test."""
    for stage in ("export", "evaluate"):
        timed([*SIGHTLINE, stage, "--run", "run", "--json"], folder)
    document = read(EvaluateDocument, folder / "run" / "evaluate")
    return json.loads(document.model_dump_json(include=set(SCORES)))  # type: ignore[no-any-return]


def _spread(values: list[float]) -> dict[str, float | None]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "deviation": deviation}
