"""What a supervisor asks of its training processes: one JSON file for each attempt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sightline.config import TrainConfig
from sightline.config.elsewhere import handed_on
from sightline.documents import AttemptSettings, Part
from sightline.runtime import machine

FILE = "job.json"
TABLE, SHEETS = "results.csv", "sheets"  # the engine's table of epochs, and the folder of pictures, for people
RESULT = "result.json"  # what rank 0 leaves beside the job when all went well
REFUSED = "refused.txt"  # why this network cannot be trained as configured, which only the engine could tell


class Job(Part):
    """One attempt, as every training process of it reads it."""

    key: str  # of the training
    snapshot: str  # its digest
    config: TrainConfig
    settings: AttemptSettings
    engine: dict[str, Any]  # the engine's own options
    checkpoints: str  # the folder in which rank 0 reads and writes them
    cache: str  # the folder of decoded images and of what is known of the labels, which this training alone writes
    out: str | None = None  # the folder where people follow the training; None: the attempt's
    resume: int | None = None  # the checkpoint, by its finished epochs, to go on from
    began: float = 0.0  # seconds since 1970
    spent: float = 0.0  # seconds of earlier attempts

    @property
    def images(self) -> int:
        """Images of a forward pass in each process."""
        return max(1, self.settings.batch // self.config.world_size)

    def out_of_time(self) -> bool:
        """Whether all attempts together have taken `max_hours`."""
        hours = self.config.max_hours
        return hours is not None and self.spent + time.time() - self.began >= hours * 3600


def read(path: Path) -> Job:
    """Read the job in a file."""
    return Job.model_validate_json(path.read_bytes())


def prepare(
    folder: Path,
    key: str,
    snapshot: str,
    config: TrainConfig,
    settings: AttemptSettings,
    data_yaml: Path,
    model: str,
    *,
    checkpoints: Path,
    cache: Path,
    out: Path | None = None,
    resume: int | None,
    spent: float = 0.0,
) -> Path:
    """Write the job of an attempt into its folder, and return the file; `spent` are the seconds of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        key=key,
        snapshot=snapshot,
        config=config,
        settings=settings,
        engine=engine_options(config, settings, data_yaml, model, folder),
        checkpoints=str(checkpoints),
        cache=str(cache),
        out=str(out) if out else None,
        resume=resume,
        began=time.time(),
        spent=spent,
    )
    (folder / FILE).write_text(job.model_dump_json(), encoding="utf-8")
    return folder / FILE


def environment(config: TrainConfig) -> dict[str, str]:
    """Share the cores among CPU processes; by default torchrun gives each of several one core."""
    if config.gpus or config.node_processes == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, machine.cores() // config.node_processes))}


def engine_options(
    config: TrainConfig, settings: AttemptSettings, data_yaml: Path, model: str, save_dir: Path
) -> dict[str, Any]:
    """Translate the configuration into the engine's own options.

    The batch is that of the configuration, whatever the settings say: smaller passes are parts of it.
    """
    return {
        **handed_on(config),
        **config.engine,
        "model": model,
        "data": str(data_yaml),
        "save_dir": str(save_dir),
        "device": ",".join(str(index) for index in range(config.gpus)) or "cpu",
        "imgsz": settings.image_size,
        "lr0": settings.lr0,
        "warmup_bias_lr": config.bias_rate,
        "freeze": config.freeze or None,
        "amp": False,  # ours: `engine/precision.py`
        "cache": False if settings.cache == "off" else settings.cache,
        "plots": False,
        "exist_ok": True,
        "verbose": False,
    }
