"""How much shared memory a training needs: loader processes hand their images over in it.

Containers get 64 MB of it by default, and a loader that finds no room dies of SIGBUS.
"""

from __future__ import annotations

CHANNELS = 3
TRAIN_AHEAD = 4  # batches that the engine (Ultralytics 8.4, data/build.py) lets each loader of train prepare
VAL_AHEAD = 2 * 2 * 2  # for val it starts twice the loaders, each of which prepares 2 batches of twice the images
OTHER = 256 << 20  # bytes for all else: NCCL's buffers between GPUs, labels, semaphores


def shm_bytes(workers: int, batch: int, image_size: int) -> int:
    """Return the size that /dev/shm must have for a training on one node, in bytes. It is a limit, not a reservation.

    `workers` are the loaders of each process, `batch` the images of a step over all processes, `image_size` the side of
    the square input in pixels. Images are handed over as uint8, 3 bytes a pixel. With p processes each loader holds
    batches of batch / p images and there are p times the loaders, so p cancels out.
    """
    return OTHER + workers * (TRAIN_AHEAD + VAL_AHEAD) * batch * CHANNELS * image_size**2
