"""What a training leaves for those who do not resume it: the engine's table and its own checkpoint files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from sightline.atomic import write_text
from sightline.train import checkpoints
from sightline.train.engine import sheets, state


def write_table(path: Path, rows: list[dict[str, float | None]]) -> None:
    """Write the engine's results.csv, whole."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: "nan" if value is None else f"{value:.6g}" for name, value in row.items()})
    write_text(path, text.getvalue())


def leave(trainer: Any, rows: list[dict[str, float | None]], best: int, folder: Path) -> None:
    """Write best and last checkpoint in the engine's format; without an optimizer the best, which is exported."""
    from ultralytics.utils.torch_utils import strip_optimizer

    trainer.beat.now("checkpoint")
    last = {name: value.clone() for name, value in trainer.ema.ema.state_dict().items()}
    trainer.epoch = len(rows) - 1
    trainer.metrics = {name: value for name, value in rows[-1].items() if name.startswith(("metrics/", "val/"))}
    best = trainer.best_epoch = best or len(rows)
    if best != len(rows):
        trainer.ema.ema.load_state_dict(state.read(checkpoints.state_path(folder, best))["ema"])
    unsynchronise(trainer.ema.ema)
    trainer.fitness = trainer.best_fitness  # then the engine writes both files
    trainer.save_model()
    strip_optimizer(trainer.best)
    sheets.draw_val(trainer, best)
    if best != len(rows):
        trainer.ema.ema.load_state_dict(last)
        trainer.fitness = None
        trainer.save_model()
    trainer.beat.now("end")


def unsynchronise(module: Any) -> None:
    """Replace batch normalisation over all GPUs by the plain one, which every machine can run, with the same values."""
    from torch import nn

    for name, child in module.named_children():
        if isinstance(child, nn.SyncBatchNorm):
            plain = nn.BatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum)
            plain.load_state_dict(child.state_dict())
            setattr(module, name, plain.to(child.weight.device))
        else:
            unsynchronise(child)
