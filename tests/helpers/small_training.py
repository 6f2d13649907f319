"""Trainings of a minute or less on a few drawn images, in this process: for scripts that tests start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline import ultralytics_env
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.train import decisions, job
from sightline.train.engine.beat import Beat

VALUES: dict[str, Any] = {
    "train.epochs": 2,
    "train.image_size": 64,
    "train.batch": 8,
    "train.nominal_batch": 8,
    "train.warmup_epochs": 1,
}


def prepared(folder: Path, data_yaml: Path, values: dict[str, Any], *, model: str = "yolo11n.yaml", **at: Any) -> Path:
    """Write the job of a training with `values` over VALUES; `at` may name `checkpoints` and `resume`."""
    config = apply(quickstart(), VALUES | values).train
    places: dict[str, Any] = {"checkpoints": folder / "checkpoints", "cache": folder / "cache", "resume": None} | at
    return job.prepare(folder, "0" * 64, "0" * 64, config, decisions.first(config), data_yaml, model, **places)


def trainer(path: Path, rank: int = 0) -> Any:
    """Return our trainer for a job, not yet set up."""
    ultralytics_env.prepare()
    from sightline.train.engine.trainer import trainer_class

    return trainer_class()(job.read(path), Beat(path.parent, rank))
