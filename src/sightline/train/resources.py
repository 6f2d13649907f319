"""Checks before training whether this machine has enough memory, cores, shared memory and disk.

That is known only where the stage runs; validate may run on another machine. What cannot work is refused, what is
unwise is reported.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sightline.config import TrainConfig
from sightline.errors import DeviceError, no_space_left
from sightline.runtime import machine, progress, provenance
from sightline.runtime.machine import Memory, size_text
from sightline.runtime.shared_memory import TRAIN_AHEAD
from sightline.storage import work_root

# Memory of a training on the CPU in float32, in bytes, measured with torch 2.13 and Ultralytics 8.4.190 on yolov8, 11,
# 12 and 26; of each size the leanest architecture counts, so that nothing is refused that could work.
LIBRARIES = 380_000_000  # once: code that all processes share
PROCESS = 500_000_000  # each process, with a nano model, before any image
MODEL = {"n": 0, "s": 180_000_000, "m": 400_000_000, "l": 500_000_000, "x": 1_100_000_000}  # each process, beyond that
IMAGE = {"n": 250_000_000, "s": 420_000_000, "m": 800_000_000, "l": 1_000_000_000, "x": 1_400_000_000}  # at 640 pixels
LOADER = 80_000_000  # each process that loads images
SIDE = 640
CHECKPOINTS = 60_000_000  # best and last checkpoint of a nano model with its optimizer, in work and in the result


def judge(
    config: TrainConfig, size: str | None, memory: Memory, cores: int, shared: tuple[int, int] | None
) -> tuple[list[str], list[str]]:
    """Return what makes a training impossible on a machine, and what makes it unwise.

    `size` is the model's, n to x; None counts as nano, the smallest. `shared` is the size and the free part
    of shared memory, in bytes.
    """
    problems: list[str] = []
    warnings: list[str] = []
    need, words = _memory(config, size or "n", cores)
    names = "train.batch, train.image_size" + (" or train.cpu_processes" if config.cpu_processes > 1 else "")
    if need > memory.most + memory.swap:
        whose = "The container's limit" if memory.limit is not None and memory.most == memory.limit else "The machine"
        has = "is" if whose.endswith("limit") else "has"
        problems.append(f"{words}. {whose} {has} {size_text(memory.most)}: lower {names}, or give it more memory.")
    elif need > memory.room:
        warnings.append(
            f"{words}, and only {size_text(memory.room)} of {size_text(memory.most)} are free: the kernel may "
            f"end it when memory runs out. Lower {names}, or end what else runs"
        )
    if not config.gpus and config.cpu_processes > cores:
        warnings.append(
            f"train.cpu_processes is {config.cpu_processes}, and there are {cores} cores: more processes than cores "
            "only cost memory and time"
        )
    if config.gpus and config.workers:
        _loaders(config, cores, shared, problems, warnings)
    return problems, warnings


def check(config: TrainConfig, size: str | None, *folders: Path) -> None:
    """Refuse what cannot work and report what is unwise; `folders` will be written to.

    `size` is the model's, as for `judge`. Raises DeviceError if this machine cannot do the training, StorageError if
    its disk is full.
    """
    problems, warnings = judge(config, size, machine.memory(), machine.cores(), machine.shared_memory())
    if config.gpus and len(found := provenance.visible_gpus()) < config.gpus:
        problems.insert(
            0,
            f"train.gpus: got {config.gpus}, but this machine shows {len(found)} NVIDIA GPUs. "
            "Set train.gpus to what is there, or to 0 to train on the CPU.",
        )
    if problems:
        raise DeviceError("This machine cannot do this training:", problems)
    for folder in folders:
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        disk = shutil.disk_usage(there)
        if disk.total and disk.free < CHECKPOINTS:  # /proc and the like have no size; writing there fails by itself
            what = "the checkpoints of even a nano model"
            raise no_space_left(folder, CHECKPOINTS, what, instead=work_root.ELSEWHERE)
    for warning in warnings:
        progress.notice(f"{warning}.")


def _memory(config: TrainConfig, size: str, cores: int) -> tuple[int, str]:
    """Return the least memory that a training needs, in bytes, and a clause that says what for."""
    processes = config.node_processes
    loaders = processes * min(config.workers, max(1, cores // processes)) if config.gpus else 0
    need = LIBRARIES + processes * PROCESS + loaders * LOADER
    many = f"{processes} processes" if processes > 1 else "One process"
    if config.gpus:  # the images of a batch lie in the GPU's memory
        return need, f"{many} on GPUs with {loaders} loaders need about {size_text(need)} of memory or more"
    need += processes * MODEL[size] + round(config.batch * IMAGE[size] * (config.image_size / SIDE) ** 2)
    share = f"{config.batch} images of {config.image_size} pixels"
    return need, f"{many} on the CPU with batches of {share} need about {size_text(need)} of memory or more"


def _loaders(
    config: TrainConfig, cores: int, shared: tuple[int, int] | None, problems: list[str], warnings: list[str]
) -> None:
    """Check the cores for the processes that load images for GPUs, and the shared memory that carries the images."""
    loaders = min(config.workers, max(1, cores // config.gpus))
    if loaders < config.workers:
        warnings.append(
            f"train.workers is {config.workers} for each of {config.gpus} GPUs, and there are {cores} cores: "
            f"{loaders} each are used"
        )
    batch = config.batch // config.gpus * 3 * config.image_size**2
    if shared is None:
        return
    cure = "give it more (docker: --shm-size; Kubernetes: a Memory volume at /dev/shm), or set train.workers=0"
    if shared[0] < batch:
        problems.append(
            f"/dev/shm holds {size_text(shared[0])}, and a batch of images, which loaders hand over in it, "
            f"{size_text(batch)}: {cure}."
        )
    elif shared[1] < config.gpus * loaders * TRAIN_AHEAD * batch:
        warnings.append(
            f"/dev/shm has {size_text(shared[1])} free, and {config.gpus * loaders} loaders may fill up to "
            f"{size_text(config.gpus * loaders * TRAIN_AHEAD * batch)}: {cure}"
        )
