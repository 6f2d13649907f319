"""What happens inside the training processes of `make faults`: hooks, as a user would write them.

Each acts before the second batch of the second epoch, so that one checkpoint is there and an epoch is half done. What
they tell the outside lies in the folder that `SIGHTLINE_FAULTS` names: a file is written when something happens, with
the machine's monotonic time, and says to later attempts that it has happened.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

FOLDER = "SIGHTLINE_FAULTS"  # environment variable
MET, GO, STRUCK = "met-{rank}", "go", "struck-{rank}"
FILLER = "filler"  # a file that fills the disk
EPOCH, BATCH = 2, 2  # when a hook acts, both from 1
PATIENCE = 20.0  # seconds that processes wait at most to be hurt
FITTING = 2  # images per pass for which `out_of_memory_while_large` has the memory


def nothing(trainer: Any) -> None:
    """Leave a training alone."""


def meet(trainer: Any, epoch: int = EPOCH) -> None:
    """Wait there, all processes together and alive by their heartbeats, until the fault was put; once."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not (_folder() / GO).exists() and time.monotonic() < deadline:
            trainer.beat.tick()
            time.sleep(0.05)

    _at(trainer, wait, epoch=epoch, mark=MET)


def meet_later(trainer: Any) -> None:
    """The same in the third epoch, with two checkpoints."""
    meet(trainer, EPOCH + 1)


def out_of_memory(trainer: Any) -> None:
    """Raise what torch raises when the memory of a GPU is too small; once, in the last process."""
    _at(trainer, _no_gpu_memory, who="last")


def out_of_memory_in_validation(trainer: Any) -> None:
    """The same while the second epoch is validated; once."""
    _at(trainer, _no_gpu_memory, event="on_val_batch_start", batch=1)


def out_of_memory_while_large(trainer: Any) -> None:
    """The same in every attempt that passes more images at a time than fit."""
    if trainer.job.images > FITTING:
        _at(trainer, _no_gpu_memory, always=True)


def eat_memory(trainer: Any) -> None:
    """Take memory, and use it, until the kernel or a limit says no; once, in the last process."""

    def eat() -> None:
        eaten = []
        while True:
            eaten.append(bytearray(os.urandom(1 << 20)) * 64)

    _at(trainer, eat, who="last")


def ask_for_too_much(trainer: Any) -> None:
    """Ask for as much address space as the limit allows in all; once, in the last process."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    _at(trainer, lambda: bytearray(allowed), who="last")


def not_a_number(trainer: Any) -> None:
    """Put NaN into a weight; once."""
    _at(trainer, lambda: _poison(trainer))


def not_a_number_ever(trainer: Any) -> None:
    """Put NaN into a weight in every attempt."""
    _at(trainer, lambda: _poison(trainer), always=True)


def full_disk(trainer: Any) -> None:
    """Fill the disk that checkpoints go to; once, in the first process."""

    def fill() -> None:
        with contextlib.suppress(OSError), open(Path(trainer.job.checkpoints) / FILLER, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    _at(trainer, fill, who="first")


def mistaken(trainer: Any) -> None:
    """A mistake of the user's."""

    def wrong() -> None:
        raise KeyError("no such column: 'patient'")

    _at(trainer, wrong, always=True)


def _at(
    trainer: Any,
    act: Callable[[], object],
    *,
    who: Literal["all", "first", "last"] = "all",
    event: str = "on_train_batch_start",
    epoch: int = EPOCH,
    batch: int = BATCH,
    mark: str = STRUCK,
    always: bool = False,
) -> None:
    """Act in these processes before a batch of an epoch: once, or in every attempt that comes there."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if rank != {"all": rank, "first": 0, "last": world - 1}[who]:
        return
    batches: dict[int, int] = {}

    def called(_: Any) -> None:
        running = trainer.epoch + 1
        batches[running] = batches.get(running, 0) + 1
        if running == epoch and batches[running] == batch and (_noted(mark.format(rank=rank)) or always):
            act()

    trainer.add_callback(event, called)


def _no_gpu_memory() -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of …")


def _poison(trainer: Any) -> None:
    next(trainer.model.parameters()).data.fill_(float("nan"))


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _noted(name: str) -> bool:
    """Note that something happens; returns whether it has never happened before."""
    path = _folder() / name
    if path.exists():
        return False
    beside = path.with_suffix(".part")
    beside.write_text(str(time.monotonic()))
    beside.replace(path)
    return True
