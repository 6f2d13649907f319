"""The whole state of a training between two epochs: captured, written, read, and put back.

What the engine's own file lacks is here: live weights beside their average (EMA), the optimizer in full precision, the
random generators of every process, and the gradients of an optimizer step that is not complete.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from sightline.atomic import replacing
from sightline.errors import FULL, no_space_left
from sightline.storage import sha256_file


class Written(NamedTuple):
    """A state on the disk."""

    sha256: str
    size_bytes: int


def capture(trainer: Any, last_step: int) -> dict[str, Any]:
    """Return the state as tensors and plain values; in a group every process has to call it.

    `last_step` is the batch, counted over all epochs, with which the optimizer stepped last.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    model = unwrap_model(trainer.model)
    criterion = getattr(model, "criterion", None)
    return {
        "model": model.state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "ema_updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "stopper": {name: getattr(trainer.stopper, name) for name in ("best_epoch", "possible_stop")}
        | {"best_fitness": float(trainer.stopper.best_fitness)},
        "best_fitness": None if trainer.best_fitness is None else float(trainer.best_fitness),
        "criterion_updates": getattr(criterion, "updates", 0),
        "last_step": last_step,
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
        "loss_names": list(trainer.loss_names),
        "generators": _gathered(trainer),
    }


def write(state: dict[str, Any], path: Path) -> Written:
    """Write a state whole or not at all. Raises StorageError where the disk is full."""
    import torch

    try:
        with replacing(path, durable=True) as beside:
            torch.save(state, beside)
            written = Written(sha256_file(beside), beside.stat().st_size)
    except (OSError, RuntimeError) as error:  # torch's writer has its own words for a full disk
        if (isinstance(error, OSError) and error.errno in FULL) or "file write failed" in str(error):
            raise no_space_left(path, None, "a checkpoint") from error
        raise
    return written


def read(path: Path) -> dict[str, Any]:
    """Read a state into the CPU's memory; nothing in it is executed."""
    import torch

    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def shared(state: dict[str, Any] | None, world_size: int) -> dict[str, Any] | None:
    """Return rank 0's state in every process: the others, perhaps on other machines, have no file."""
    from torch import distributed

    if world_size < 2:
        return state
    box = [state]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def restore(trainer: Any, state: dict[str, Any]) -> int:
    """Put a state back into a trainer that is set up; returns `last_step`.

    The learning rate is the trainer's own: a recovery may have lowered it.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    model = unwrap_model(trainer.model)
    model.load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["ema_updates"]
    for saved, group in zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
        saved["fused"] = group.get("fused")  # the device at hand picks the kernel
    trainer.optimizer.load_state_dict(state["optimizer"])
    for group, rate in zip(trainer.optimizer.param_groups, trainer.scheduler.base_lrs, strict=True):
        group["initial_lr"] = rate
    if state["scaler"] and trainer.scaler.is_enabled():  # on another card it may be off
        trainer.scaler.load_state_dict(state["scaler"])
    vars(trainer.stopper).update(state["stopper"])
    trainer.best_fitness = state["best_fitness"]
    trainer.loss_names = tuple(state["loss_names"])
    if updates := state["criterion_updates"]:  # of a head whose losses shift from epoch to epoch
        model.criterion = model.init_criterion()
        model.criterion.updates = updates - 1
        model.criterion.update()
    for name, parameter in model.named_parameters():
        if (gradient := state["gradients"].get(name)) is not None:
            parameter.grad = gradient.to(parameter.device, memory_format=_format(parameter))
    _set_generators(state["generators"][_rank()])
    return int(state["last_step"])


def _format(parameter: Any) -> Any:
    import torch

    channels_last = parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def _rank() -> int:
    from torch import distributed

    return distributed.get_rank() if distributed.is_initialized() else 0


def _gathered(trainer: Any) -> list[dict[str, Any]]:
    """Return the random generators of all processes, by rank."""
    from torch import distributed

    mine = _generators()
    if trainer.world_size < 2:
        return [mine]
    found: list[Any] = [None] * trainer.world_size
    distributed.all_gather_object(found, mine)
    return found


def _generators() -> dict[str, Any]:
    """Return the states of Python's, numpy's and torch's generators.

    Loaders need none: what they draw follows from seed, epoch and image (`batches`).
    """
    import torch

    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "python": (version, list(words), gauss),
        "numpy": (kind, keys.tolist(), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_generators(states: dict[str, Any]) -> None:
    import torch

    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
