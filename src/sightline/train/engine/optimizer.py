"""The optimizer of a training, made by the engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def build(trainer: Any) -> Any:
    """Return the optimizer as the engine makes it (`_build_train_pipeline`); sets how many batches make up a step.

    With `auto` the engine chooses optimizer, rate and momentum by the length of the training and the number of classes,
    and puts them into the trainer's arguments; its momentum it forgets, so that warm-up would end at another one. A
    rate that a recovery has lowered stays lowered by as much.
    """
    arguments, batch = trainer.args, trainer.batch_size
    accumulate = max(round(arguments.nbs / batch), 1)
    decay = arguments.weight_decay * batch * accumulate / arguments.nbs
    trainer.accumulate = min(accumulate, len(trainer.train_loader) * trainer.epochs)
    images, chosen = len(trainer.train_loader.dataset), arguments.optimizer == "auto"
    optimizer = trainer.build_optimizer(
        model=trainer.model,
        name=arguments.optimizer,
        lr=arguments.lr0,
        momentum=arguments.momentum,
        decay=decay,
        iterations=math.ceil(images / max(batch, arguments.nbs)) * trainer.epochs,
    )
    if chosen:
        group = optimizer.param_groups[0]
        arguments.momentum = group["momentum"] if "momentum" in group else group["betas"][0]
        lowered = trainer.job.settings.lr0 / trainer.job.config.lr0
        arguments.lr0 *= lowered
        for group in optimizer.param_groups:
            group["lr"] *= lowered
    return optimizer


def warm_up(epochs: Any, count: int, epoch: int) -> None:
    """Set rates, momentum and accumulation for a batch of the warm-up, as the engine does.

    `epochs` is the loop's; `count` is the batch over all epochs, and `epoch` its epoch, both from 0.
    """
    trainer, arguments, span = epochs.trainer, epochs.trainer.args, [0, epochs.warmup]
    trainer.accumulate = max(1, int(np.interp(count, span, [1, epochs.accumulate]).round()))
    for group in trainer.optimizer.param_groups:
        low = arguments.warmup_bias_lr * group.get("layer_decay", 1.0) if group.get("param_group") == "bias" else 0.0
        group["lr"] = float(np.interp(count, span, [low, group["initial_lr"] * trainer.lf(epoch)]))
        if "momentum" in group:
            group["momentum"] = float(np.interp(count, span, [arguments.warmup_momentum, arguments.momentum]))


def used(trainer: Any) -> dict[str, Any]:
    """Return what the document says of the optimizer (`documents.OptimizerUsed`)."""
    arguments = trainer.args
    return {
        "name": arguments.optimizer,
        "lr0": arguments.lr0,
        "momentum": arguments.momentum,
        "warmup_bias_lr": arguments.warmup_bias_lr,
    }
