"""How much shared memory a training needs: loader processes hand their images over in it.

Containers get 64 MB of it by default, and a loader that finds no room dies of SIGBUS.
"""

from __future__ import annotations

import os

from sightline.config import TrainConfig
from sightline.config.cluster_values import amount

CHANNELS = 3
TRAIN_AHEAD = 4  # batches that the engine (Ultralytics 8.4, data/build.py) lets each loader of train prepare
VAL_AHEAD = 2 * 2 * 2  # for val it starts twice the loaders, each of which prepares 2 batches of twice the images
CEILING = "SIGHTLINE_TRAIN_SHM"  # what training's pod will have, such as 2Gi: set by the pipeline in validate's pod
OTHER = 256 << 20  # bytes for all else: NCCL's buffers between GPUs, labels, semaphores


def shm_bytes(workers: int, batch: int, image_size: int) -> int:
    """Return the size that /dev/shm must have for a training on one node, in bytes. It is a limit, not a reservation.

    `workers` are the loaders of each process, `batch` the images of a step over all processes, `image_size` the side of
    the square input in pixels. Images are handed over as uint8, 3 bytes a pixel. With p processes each loader holds
    batches of batch / p images and there are p times the loaders, so p cancels out.
    """
    return OTHER + workers * (TRAIN_AHEAD + VAL_AHEAD) * batch * CHANNELS * image_size**2


def training_shm_bytes(train: TrainConfig) -> int:
    """Return the size that /dev/shm must have on each node of a training, in bytes."""
    return shm_bytes(train.workers, train.batch // train.nodes, train.image_size)


def shm_ceiling() -> str | None:
    """Return the shared memory that training will have, in units of Kubernetes; None where nothing limits it."""
    return os.environ.get(CEILING)


def too_much_shared_memory(train: TrainConfig, ceiling: str | None) -> str | None:
    """Say why a training does not fit into the shared memory that it will have; None if it does."""
    if train.sizing == "auto" and "workers" not in train.given:
        return None  # as many loaders are started as fit
    need = training_shm_bytes(train)
    room = amount(ceiling) if ceiling else None
    if room is None or need <= room:
        return None
    wanted = f"{-(-need // (1 << 20))}Mi"
    return (
        f"train.workers {train.workers}, train.batch {train.batch} and train.image_size {train.image_size} together "
        f"need {wanted} of shared memory, and training has {ceiling}: lower one of them, or compile the pipeline with "
        f"more (make compile SHM={wanted})."
    )
