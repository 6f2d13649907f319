"""Starts the probe: real steps with more and more images on one card, in a process of its own (`engine/batch_probe`).

It is started as an attempt is, so it ends with its supervisor, and when it hangs. That memory runs out in it is an
answer, no error.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings
from sightline.documents.base import Part
from sightline.documents.signs import Pulse
from sightline.documents.sizing import Probed
from sightline.runtime import devices
from sightline.train import endings, heartbeats, job
from sightline.train.launch import Torchrun, free_port, launch
from sightline.train.nodes import lines
from sightline.train.work_folder import cache_folder

if TYPE_CHECKING:
    from sightline.train.supervisor import Training

WORKER = "sightline.train.engine.batch_probe"
FOLDER = "attempt-probe"  # in the work folder, removed with those of attempts
REQUEST, FOUND = "request.json", "found.json"
SHARE = 0.85  # of the free memory that a process may hold


class Request(Part):
    """What the probe tries, beside its job."""

    sizes: list[int] = Field(min_length=1, description="Images of a pass of one process, in rising order.")
    ranks: int = Field(1, ge=1, description="Processes that will train: several hold their gradients twice.")
    to_the_end: bool = Field(False, description="Try a size too that would take more than its share.")
    memory_limit: int | None = Field(
        None, ge=1, description="Bytes that the process may hold, as if the card were no larger; null: all of it."
    )


class Found(Part):
    """What the probe measured."""

    free_bytes: int
    allowed_bytes: int
    boxes: int
    side: int
    probed: list[Probed]


def run(
    training: Training,
    settings: AttemptSettings,
    sizes: Sequence[int],
    *,
    card: str | None,
    to_the_end: bool = False,
    memory_limit: int | None = None,
) -> Found | str:
    """Measure passes of so many images per process; returns why it could not be measured if it failed.

    `card` is the UUID of the one to measure; None is the CPU. Raises what `launch` does, and what says that this
    training was taken over meanwhile.
    """
    config = alone(training.config, sizes[-1])
    # A pass of two while the trainer is set up: how many pass after that, the probe itself decides.
    settings = settings.model_copy(update={"batch": min(2, sizes[-1]), "accumulation": 1, "workers": 0, "cache": "off"})
    folder = training.work.folder / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    path = job.prepare(
        folder, training.key, training.snapshot, config, settings, training.data_yaml, training.model,
        checkpoints=folder / "checkpoints", cache=cache_folder(training.work.folder, training.snapshot), resume=None,
    )  # fmt: skip
    ranks = training.config.world_size
    request = Request(sizes=list(sizes), ranks=ranks, to_the_end=to_the_end, memory_limit=memory_limit)
    (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    before = training.log.stat().st_size if training.log.exists() else 0
    ended = launch(
        Torchrun(job=path, processes=1, port=free_port(), worker=WORKER),
        training.log,
        {devices.VISIBLE: card} if card else {},
        held=[training.work.lock.descriptor],
        patience=heartbeats.patience(),
        on_tick=_while_ours(training),
    )
    if (folder / FOUND).exists():
        found: Found | str = Found.model_validate_json((folder / FOUND).read_bytes())
    else:
        printed = lines.own(training.log.read_bytes()[before:].decode(errors="replace"))
        found = endings.judge(ended, folder, printed, config, settings).reason
    shutil.rmtree(folder, ignore_errors=True)
    return found


def alone(config: TrainConfig, images: int) -> TrainConfig:
    """Return the configuration of one process of a training, with so many images a batch; no hook acts twice."""
    update = {"nodes": 1, "gpus": min(config.gpus, 1), "cpu_processes": 1, "batch": images, "cache": "off"}
    return config.model_copy(update={**update, "hook": None})


def read_request(job_file: Path) -> Request:
    """Return the request beside a job."""
    return Request.model_validate_json((job_file.parent / REQUEST).read_bytes())


def _while_ours(training: Training) -> Callable[[Pulse], None]:
    """Return what ends the probe once another run has taken the training over."""

    def tick(pulse: Pulse) -> None:
        if training.remote and training.remote.lost:
            raise training.remote.lost

    return tick
