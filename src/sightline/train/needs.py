"""What a training needs of a machine: memory, shared memory and disk, in bytes. Nothing here looks at a machine."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sightline.config import TrainConfig, sides
from sightline.runtime.shared_memory import CHANNELS, TRAIN_AHEAD
from sightline.weights.official import LEAST_PARAMETERS

# Memory of a training on the CPU in float32, in bytes, measured with torch 2.13 and Ultralytics 8.4.190; of each size
# the leanest architecture counts, so that nothing is refused that could work.
LIBRARIES = 380_000_000  # once: code that all processes share
PROCESS = 500_000_000  # each process, with a nano model, before any image
MODEL = {"n": 0, "s": 180_000_000, "m": 400_000_000, "l": 500_000_000, "x": 1_100_000_000}  # each process, beyond that
IMAGE = {"n": 225_000_000, "s": 400_000_000, "m": 770_000_000, "l": 975_000_000, "x": 1_400_000_000}  # at 640 pixels
LOADER = 80_000_000  # each process that loads images
SIDE = 640

PARAMETERS = LEAST_PARAMETERS
HALF, SINGLE = 2, 4  # bytes of a number in float16 and float32
CHECKPOINTS = 4  # in the work folder at once: the newest two, the best, and the next one while it is written
RESULT = 4 * HALF  # bytes of a parameter in best.pt and last.pt together: weights in both, in one the optimizer's means
NPY_HEADER = 128  # bytes before the pixels in a file of numpy


def loaders(config: TrainConfig, cores: int) -> int:
    """Return the loader processes of each training process: no more than its share of the cores."""
    return min(config.workers, max(1, cores // config.node_processes))


def memory(config: TrainConfig, size: str, cores: int, passing: int | None = None) -> int:
    """Return the least memory of the processes on one node; `size` is the model's, n to x.

    `passing` images pass at a time over all nodes, by default the whole batch.
    """
    processes = config.node_processes
    need = LIBRARIES + processes * (PROCESS + loaders(config, cores) * LOADER)
    if config.gpus:  # the images of a batch lie in the GPU's memory
        return need
    images, side = (passing or config.batch) // config.nodes, sides(config.image_size, config.multi_scale)[1]
    return need + processes * MODEL[size] + round(images * IMAGE[size] * (side / SIDE) ** 2)


def batch(config: TrainConfig) -> int:
    """Return the size of one batch as a loader hands it to its process: uint8, 3 bytes a pixel."""
    return config.batch // config.world_size * CHANNELS * config.image_size**2


def shared_memory(config: TrainConfig, cores: int) -> int:
    """Return what the loaders of one node fill of /dev/shm while they prepare batches of train."""
    return config.node_processes * loaders(config, cores) * TRAIN_AHEAD * batch(config)


def checkpoint(config: TrainConfig, parameters: int) -> int:
    """Return the size of one checkpoint, all of it in float32.

    Live weights, their moving average, the optimizer's running means (one for SGD, else two), and the gradients that
    have been gathered where the optimizer does not step after every batch.
    """
    copies = 2 + (1 if config.optimizer == "SGD" else 2) + (round(config.nominal_batch / config.batch) > 1)
    return copies * SINGLE * parameters


def kept_epochs(config: TrainConfig) -> int:
    """Return how many checkpoints `train.save_period` keeps besides the others, if no epoch is saved by stopping."""
    return config.epochs // config.save_period if config.save_period else 0


def ram_cache(config: TrainConfig, sizes: Iterable[tuple[int, int]]) -> int:
    """Return the memory in which each process keeps images of these widths and heights.

    They are decoded, with the longer side at the training's image size: Ultralytics 8.4, data/base.py, `load_image`.
    """
    total = 0
    for width, height in sizes:
        ratio = config.image_size / max(width, height)
        total += math.ceil(width * ratio) * math.ceil(height * ratio) * CHANNELS
    return total


def disk_cache(sizes: Iterable[tuple[int, int]]) -> int:
    """Return the disk space of images of these widths and heights, decoded at their own size, one file each."""
    return sum(width * height * CHANNELS + NPY_HEADER for width, height in sizes)
