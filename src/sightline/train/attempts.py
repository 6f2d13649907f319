"""The attempts of a training: each starts the engine in its own folder and is judged by the files it leaves there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.config import TrainConfig
from sightline.documents import Attempt
from sightline.errors import ConfigError, TrainError
from sightline.runtime import machine
from sightline.train import fault
from sightline.train.launch import Ended, Torchrun, free_port, launch
from sightline.train.trainer import REFUSED
from sightline.train.work_folder import WorkFolder
from sightline.train.worker import RESULT

ATTEMPTS = 1  # how often the engine is started before a training counts as failed


def attempt(
    work: WorkFolder, config: TrainConfig, data_yaml: Path, model: str, log: Path
) -> tuple[Path, list[Attempt]]:
    """Train until an attempt succeeds; returns its folder and all attempts. What the workers print goes to `log`.

    `model` is an architecture or a checkpoint's path. Raises ConfigError for mistakes in the configuration that
    only the engine could find, TrainError if the last attempt stops too.
    """
    log.unlink(missing_ok=True)  # another run may share the old one
    attempts: list[Attempt] = []
    for number in range(1, ATTEMPTS + 1):
        folder = work.folder / f"attempt-{number}"
        folder.mkdir(parents=True)
        before = log.stat().st_size if log.exists() else 0
        job = folder / "job.json"
        job.write_text(json.dumps({"engine": engine_options(config, data_yaml, model, folder)}), encoding="utf-8")
        torchrun = Torchrun(job=job, nodes=config.nodes, processes=config.node_processes, port=free_port())
        ended = launch(torchrun, log, _environment(config), held=[work.lock.descriptor])
        if (folder / REFUSED).exists():
            refuse((folder / REFUSED).read_text(encoding="utf-8").splitlines())
        reason = _why(ended, folder, config, log.read_bytes()[before:].decode(errors="replace"))
        attempts.append(
            Attempt(number=number, exit_code=ended.exit_code, seconds=ended.seconds, reason=reason or "finished")
        )
        if reason is None:
            return folder, attempts
    raise TrainError(f"Training stopped before its last epoch: {attempts[-1].reason} The engine's full log is {log}.")


def _why(ended: Ended, folder: Path, config: TrainConfig, printed: str) -> str | None:
    """Say why an attempt did not succeed; None if it did."""
    if not ended.exit_code and (folder / RESULT).exists():
        return None
    return fault.explain(ended.exit_code, printed, folder, ended.watch, config).rstrip()


def refuse(problems: list[str]) -> None:
    """Raise ConfigError if a network cannot be trained with its settings."""
    if problems:
        raise ConfigError("This network cannot be trained as configured:", problems)


def engine_options(config: TrainConfig, data_yaml: Path, model: str, save_dir: Path) -> dict[str, Any]:
    """Translate the configuration into the engine's own options."""
    return {
        "model": model,
        "data": str(data_yaml),
        "save_dir": str(save_dir),
        "device": ",".join(str(index) for index in range(config.gpus)) or "cpu",
        "epochs": config.epochs,
        "imgsz": config.image_size,
        "batch": config.batch,
        "workers": min(config.workers, max(1, machine.cores() // config.node_processes)),
        "seed": config.seed,
        "optimizer": config.optimizer,
        "lr0": config.lr0,
        "lrf": config.lrf,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "warmup_epochs": config.warmup_epochs,
        "nbs": config.nominal_batch,
        "cos_lr": config.cosine,
        "patience": config.patience,
        "freeze": config.freeze or None,
        "amp": config.amp,
        **config.augment.model_dump(),
        "deterministic": True,
        "plots": False,
        "exist_ok": True,
        "verbose": False,
    }


def _environment(config: TrainConfig) -> dict[str, str]:
    """Share the cores among CPU processes; by default torchrun gives each of several one core."""
    if config.gpus or config.node_processes == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, machine.cores() // config.node_processes))}
