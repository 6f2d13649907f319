"""Hooks for the benchmarks of training: they look into a training process from inside (`train.hook`).

What they find lies in the folder that `SIGHTLINE_BENCH` names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "SIGHTLINE_BENCH"  # environment variable
CHECKPOINTS, PEAK, WATCHING = "checkpoints.json", "gpu-peak.json", "watching.json"
LIMIT = "SIGHTLINE_BENCH_GPU_BYTES"  # environment variable


def clock_checkpoints(trainer: Any) -> None:
    """Time what is done between two epochs: taking the state, writing it, and all of it with manifest and pruning."""
    from sightline.train.engine import loop, state

    seconds: dict[str, list[float]] = {"capture": [], "write": [], "whole": []}

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.monotonic()
            result = function(*arguments)
            seconds[name].append(time.monotonic() - start)
            return result

        return call

    state.capture = clocked("capture", state.capture)
    state.write = clocked("write", state.write)
    loop.Epochs.keep = clocked("whole", loop.Epochs.keep)  # type: ignore[method-assign]

    def end(trainer: Any) -> None:
        size = max(path.stat().st_size for path in Path(trainer.job.checkpoints).glob("epoch-*.pt"))
        _leave(CHECKPOINTS, {"seconds": seconds, "bytes": size})

    trainer.add_callback("on_train_end", end)


def clock_watching(trainer: Any) -> None:
    """Time what shows a training to people: in a batch, after an epoch, at the end; and the epochs themselves."""
    from sightline.train.engine import sheets

    spent = {"batch": 0.0, "epoch": 0.0, "end": 0.0}

    def clocked(when: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent[when] += time.perf_counter() - start
            return result

        return call

    for event, when in (("on_train_batch_end", "batch"), ("on_fit_epoch_end", "epoch")):
        ours = [call.__module__.startswith("sightline.") for call in trainer.callbacks[event]]
        calls = zip(trainer.callbacks[event], ours, strict=True)
        trainer.callbacks[event] = [clocked(when, call) if own else call for call, own in calls]
    trainer.look = clocked("batch", trainer.look)
    trainer.beat.step = clocked("batch", trainer.beat.step)
    sheets.draw_val = clocked("end", sheets.draw_val)
    trainer.add_callback("on_train_end", lambda trainer: _leave(WATCHING, spent))


def keep_states(trainer: Any) -> None:
    """Keep the state of every epoch, which goes with the work folder when a training is done."""

    def keep(trainer: Any) -> None:
        name = f"epoch-{trainer.epoch + 1:04d}.pt"
        kept = _folder() / name
        kept.unlink(missing_ok=True)
        os.link(Path(trainer.job.checkpoints) / name, kept)

    trainer.add_callback("on_model_save", keep)


def watch_gpu(trainer: Any) -> None:
    """Give a process no more of the GPU's memory than asked for, and keep the most that it took."""
    import torch

    if limit := os.environ.get(LIMIT):

        def start(trainer: Any) -> None:
            whole = torch.cuda.get_device_properties(trainer.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, int(limit) / whole), trainer.device)

        trainer.add_callback("on_train_start", start)
    trainer.add_callback("on_train_end", lambda trainer: _leave(PEAK, {"bytes": torch.cuda.max_memory_reserved()}))


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _leave(name: str, what: dict[str, Any]) -> None:
    (_folder() / name).write_text(json.dumps(what), encoding="utf-8")
