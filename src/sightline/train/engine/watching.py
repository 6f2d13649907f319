"""What the first process shows of a training while it goes on: progress, a line an epoch, the event file, a sheet.

All of it but one copy of a few images happens between steps, from the engine's callbacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.runtime import progress
from sightline.runtime.progress import Ticker
from sightline.train import epoch_line, event_file, history
from sightline.train.engine.sheets import TrainSheet


def watch(trainer: Any) -> None:
    """Show what a trainer does, from its callbacks."""
    _report_progress(trainer)
    if trainer.job.config.tensorboard:
        _write_events(trainer)
    sheet = TrainSheet(Path(trainer.job.checkpoints).parent, trainer.out)
    trainer.look = sheet.take
    trainer.add_callback("on_fit_epoch_end", lambda trainer: sheet.draw(trainer.data["names"], trainer.epoch + 1))


def _report_progress(trainer: Any) -> None:
    """Report progress over all batches of all epochs, and print a line for each epoch."""
    ticker: Ticker | None = None

    def start(trainer: Any) -> None:
        nonlocal ticker
        batches, epoch = len(trainer.train_loader), min(trainer.start_epoch + 1, trainer.epochs)
        ticker = Ticker("train", trainer.epochs * batches, f"epoch {epoch}/{trainer.epochs}")
        ticker.tick(trainer.start_epoch * batches)

    def batch_end(trainer: Any) -> None:
        assert ticker
        ticker.tick()

    def epoch_end(trainer: Any) -> None:
        assert ticker
        config = trainer.job.config
        early = 0 < config.patience < trainer.epochs or config.max_hours is not None
        known = history.epochs(trainer.rows, trainer.measured)
        line = epoch_line.line(trainer.rows[-1], known, trainer.epochs, may_end_early=early)
        ticker.note = f"epoch {min(trainer.epoch + 2, trainer.epochs)}/{trainer.epochs}"
        print(line, flush=True)
        progress.emit("line", stage="train", text=line)

    trainer.add_callback("on_train_start", start)
    trainer.add_callback("on_train_batch_end", batch_end)
    trainer.add_callback("on_fit_epoch_end", epoch_end)


def _write_events(trainer: Any) -> None:
    """Write the curves for TensorBoard."""
    made = event_file.EventFile(trainer.out / event_file.FOLDER, trainer.save_dir.name)
    trainer.add_callback("on_train_start", lambda trainer: made.begin(trainer.rows, trainer.measured))
    trainer.add_callback("on_fit_epoch_end", lambda trainer: made.add(trainer.rows[-1], trainer.measured[-1]))
