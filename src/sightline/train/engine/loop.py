"""The epochs of a training: the engine's loop, with three differences.

- Between two epochs the whole state is written, and a training begins with the state of the one before it.
- A batch may pass through the network in parts: less memory, and the optimizer sees the very same batch.
- It never recovers by itself. The engine halves the batch in the first epoch of a single process, and loads its average
  after a loss that is not a number; here both end the process, and the supervisor decides.

What is computed in between is the engine's `_do_train` (Ultralytics 8.4.190). Its callbacks are called where it calls
them, but for `on_model_save`, which comes last: any other may stop the training, and the state has to say so.
"""

from __future__ import annotations

import contextlib
import math
import random
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sightline.runtime import progress
from sightline.runtime.stage_frame import moment
from sightline.train import checkpoints, history
from sightline.train.engine import batches, clock, finite, llrd, optimizer, results, state
from sightline.train.engine.autocasting import computing
from sightline.ultralytics_env import version

LOOK = 50  # batches on a GPU between two looks at the loss: each look waits for the device


class Epochs:
    """A training between its epochs: what is carried from one to the next besides the trainer's own attributes."""

    def __init__(self, trainer: Any) -> None:
        """Take a trainer that is set up, and put back the state that its job names."""
        self.trainer, self.job = trainer, trainer.job
        self.folder = Path(self.job.checkpoints)
        self.batches = len(trainer.train_loader)
        self.warmup = trainer._get_warmup_iterations(self.batches)
        self.accumulate = trainer.accumulate  # after warm-up
        self.last_step = -1
        self.rows: list[dict[str, float | None]] = []
        self.measured: list[history.Measured] = []
        self.best_epoch = 0
        self.finished = False
        self.cut_short = False  # by `max_hours`: with more time it would go on
        self.seconds = 0.0  # of the epochs before this process
        trainer.optimizer.zero_grad()
        self._resume()
        trainer.rows, trainer.measured = self.rows, self.measured  # for callbacks

    def _resume(self) -> None:
        trainer, saved, start = self.trainer, None, 0
        if _first() and self.job.resume is not None:
            path = checkpoints.state_path(self.folder, self.job.resume)
            found = checkpoints.Manifest.model_validate_json(path.with_suffix(".json").read_bytes())
            saved = {"state": state.read(path), "manifest": found.model_dump(mode="json")}
        if (saved := state.shared(saved, trainer.world_size)) is not None:
            manifest = checkpoints.Manifest.model_validate(saved["manifest"])
            self.last_step = state.restore(trainer, saved["state"])
            start, self.rows, self.best_epoch = manifest.epoch, list(manifest.rows), manifest.best_epoch
            self.measured = list(manifest.measured)
            self._check_best()
            self.finished, self.seconds = manifest.finished, float(self.rows[-1]["time"] or 0)
            if _first():
                results.write_table(trainer.csv, self.rows)
        trainer.start_epoch = start
        trainer.scheduler.last_epoch = start - 1
        trainer.train_loader.batch_sampler.sampler.epoch = start

    def _check_best(self) -> None:
        """Choose the best epoch again from here on, where the checkpoint of the best so far cannot be used."""
        if not _first() or self.best_epoch in (0, self.rows[-1]["epoch"]):
            return
        path = checkpoints.state_path(self.folder, self.best_epoch).with_suffix(".json")
        found = checkpoints.check(path, self.job.key)
        if isinstance(found, str):
            progress.notice(
                f"the best epoch so far, {self.best_epoch}, is lost: {found}. The best from here on counts."
            )
            self.best_epoch, self.trainer.best_fitness = 0, None

    def keep(self, epoch: int) -> None:
        """Write the state after an epoch (from 0); every process takes part, the first one writes."""
        trainer = self.trainer
        trainer.beat.now("checkpoint")
        whole = state.capture(trainer, self.last_step)
        if not _first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        written = state.write(whole, checkpoints.state_path(self.folder, epoch + 1))
        manifest = checkpoints.Manifest(
            key=self.job.key,
            epoch=epoch + 1,
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            best_epoch=self.best_epoch,
            fitness=None if trainer.fitness is None else float(trainer.fitness),
            finished=bool(trainer.stop) and not self.cut_short,
            world_size=max(trainer.world_size, 1),
            seed=self.job.config.seed,
            snapshot=self.job.snapshot,
            config=self.job.config,
            settings=self.job.settings,
            engine=version(),
            rows=self.rows,
            measured=self.measured,
            created_at=moment(),
        )
        checkpoints.write_manifest(self.folder, manifest)
        trainer.run_callbacks("on_model_save")


def train(trainer: Any) -> None:
    """Train to the end and leave `best.pt` and `last.pt`, in the engine's own format, in the trainer's folder."""
    if trainer.world_size > 1:
        trainer._setup_ddp()
    trainer._setup_train()
    epochs = Epochs(trainer)
    trainer.epoch_time, trainer.clock = None, clock.of_device(trainer.device)
    trainer.epoch_time_start = trainer.train_time_start = time.time()
    trainer.run_callbacks("on_train_start")
    if trainer.start_epoch and not epochs.finished:
        epochs.finished = epochs.cut_short = _agreed(trainer, trainer.job.out_of_time())
    for epoch in range(trainer.start_epoch, trainer.epochs):
        if epochs.finished:
            break
        _epoch(epochs, epoch)
        if trainer.stop:
            break
    if _first():
        trainer.stopped_by = _stopped_by(epochs)
        trainer.history = history.epochs(epochs.rows, epochs.measured)
        results.leave(trainer, epochs.rows, epochs.best_epoch, epochs.folder)
        trainer.run_callbacks("on_train_end")
    for loader in (trainer.train_loader, trainer.test_loader):
        loader.close()


def _epoch(epochs: Epochs, epoch: int) -> None:
    """Train and validate one epoch (from 0), and keep the state after it."""
    trainer = epochs.trainer
    trainer.epoch, trainer.tloss, trainer.overflows = epoch, None, 0
    trainer.beat.now("train", epoch=epoch + 1)
    trainer.run_callbacks("on_train_epoch_start")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the first step of the scheduler before the optimizer's
        trainer.scheduler.step()
    trainer._model_train()
    began, images = time.monotonic(), 0
    for number, batch in enumerate(trainer.clock.waited(trainer.train_loader)):
        trainer.look(batch)
        _step(epochs, epoch, number, batch)
        images += len(batch["img"])
    finite.check(trainer, weights=True)
    criterion = trainer.model.module.criterion if trainer.world_size > 1 else trainer.model.criterion
    if hasattr(criterion, "update"):
        criterion.update()
    trainer.lr = llrd.columns(trainer.optimizer)
    trainer.run_callbacks("on_train_epoch_end")
    per_second = images * max(trainer.world_size, 1) / (time.monotonic() - began)
    trainer.clock.enter("validation")
    _validate(epochs, epoch)
    epochs.measured.append(_measured(trainer, per_second))
    trainer.epoch_time = time.time() - trainer.epoch_time_start
    trainer.epoch_time_start = time.time()
    trainer.run_callbacks("on_fit_epoch_end")
    if not trainer.stop and trainer.job.out_of_time():
        trainer.stop = epochs.cut_short = True
    trainer.stop = _agreed(trainer, trainer.stop)
    trainer.clock.enter("checkpoint")
    epochs.keep(epoch)
    trainer.clock.enter("other")
    trainer._clear_memory(0.5)


def _measured(trainer: Any, images_per_second: float) -> history.Measured:
    """Return what an epoch that ends now took."""
    import torch

    cuda = trainer.device.type == "cuda"
    memory = torch.cuda.max_memory_reserved() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    spent = clock.of_group(trainer.clock.take(), trainer.world_size)
    return history.Measured(
        ended_at=moment(), images_per_second=round(images_per_second, 3), memory_bytes=memory, spent=spent
    )


def _step(epochs: Epochs, epoch: int, number: int, batch: dict[str, Any]) -> None:
    """Train on one batch; the optimizer steps after `accumulate` of them."""
    trainer = epochs.trainer
    trainer.run_callbacks("on_train_batch_start")
    count = number + epochs.batches * epoch
    if epochs.warmup and count <= epochs.warmup:
        optimizer.warm_up(epochs, count, epoch)
    images = len(batch["img"])
    items = passes(trainer, batch)
    mean = trainer.tloss
    trainer.tloss = items if mean is None else {k: (mean[k] * number + v) / (number + 1) for k, v in items.items()}
    if count - epochs.last_step >= trainer.accumulate:
        trainer.optimizer_step()
        epochs.last_step = count
    trainer.clock.enter("other")
    if trainer.device.type == "cpu" or number % LOOK == LOOK - 1:
        finite.check(trainer, weights=False)
    trainer.beat.step(images)
    trainer.run_callbacks("on_train_batch_end")


def passes(trainer: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Pass a batch through the network and back, in parts where the settings say so; returns its mean losses.

    The engine's loss is a sum over images, so gradients of the parts add up to those of the whole, but for the
    normalisations that depend on a pass: of the batch, and by the number of assigned targets.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    parts = batches.parts(batch, trainer.job.images)
    total, mean = len(batch["img"]), None
    same_size = random.getstate()  # `multi_scale` draws one size for a batch
    for index, part in enumerate(parts):
        random.setstate(same_size)
        share = len(part["img"]) / total
        last = index == len(parts) - 1
        apart = contextlib.nullcontext() if last or trainer.world_size < 2 else trainer.model.no_sync()
        with apart:
            with computing(unwrap_model(trainer.model), trainer.precision.used, trainer.device.type):
                trainer.clock.enter("transfer")
                moved = trainer.preprocess_batch(part)
                trainer.clock.enter("compute")
                loss, items = trainer.model(moved)
                trainer.loss = loss.sum() * max(trainer.world_size, 1)
            trainer.scaler.scale(trainer.loss).backward()
        weighted = {name: value * share for name, value in items.items()} if len(parts) > 1 else items
        mean = weighted if mean is None else {name: mean[name] + value for name, value in weighted.items()}
        trainer.beat.tick()
    assert mean is not None
    trainer.loss_items = mean
    if not trainer.loss_names:
        trainer.loss_names = tuple(mean)
        if _first():
            trainer.metrics.update(dict.fromkeys(trainer.label_loss_items(prefix="val"), 0.0))
    return mean


def _validate(epochs: Epochs, epoch: int) -> None:
    """Score the averaged weights on val, and note the row of the epoch."""
    trainer = epochs.trainer
    trainer.beat.now("val")
    if _first():
        trainer.ema.update_attr(trainer.model, include=["yaml", "nc", "args", "names", "stride", "class_weights"])
    trainer._clear_memory(0.5)
    trainer.metrics, trainer.fitness = trainer.validate()
    if _first():
        if not np.isfinite(trainer.fitness):
            raise finite.NotFinite(f"the score on val is {trainer.fitness} in epoch {epoch + 1}")
        if trainer.best_fitness == trainer.fitness:
            epochs.best_epoch = epoch + 1
        losses = trainer.label_loss_items(trainer.tloss)
        values = {**losses, **trainer.metrics, **trainer.lr}
        elapsed = epochs.seconds + time.time() - trainer.train_time_start
        row = {"epoch": float(epoch + 1), "time": elapsed, **values}
        epochs.rows.append({name: float(v) if math.isfinite(v) else None for name, v in row.items()})
        results.write_table(trainer.csv, epochs.rows)
        trainer.stop |= bool(trainer.stopper(epoch + 1, trainer.fitness)) or epoch + 1 >= trainer.epochs


def _agreed(trainer: Any, stop: bool) -> bool:
    """Return in every process whether the first one, or a callback in it, wants to stop."""
    from torch import distributed

    if trainer.world_size < 2:
        return bool(stop)
    box = [bool(stop) if _first() else None]
    distributed.broadcast_object_list(box, src=0)
    return bool(box[0])


def _stopped_by(epochs: Epochs) -> str:
    """Return what ended the training, in the words of its document."""
    trainer, done = epochs.trainer, len(epochs.rows)
    if epochs.cut_short:
        return "max_hours"
    if done >= trainer.epochs:
        return "epochs"
    return "patience" if done - trainer.stopper.best_epoch >= trainer.stopper.patience else "callback"


def _first() -> bool:
    """Tell whether this is the process that writes."""
    from ultralytics.utils import RANK

    return RANK in (-1, 0)
