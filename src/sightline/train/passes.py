"""How many images may pass at a time, and on CPUs how many do: what memory holds by the least that a training needs."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.config import TrainConfig
from sightline.config.sizing import divisors
from sightline.train import needs


def candidates(config: TrainConfig, images: int, ceiling: int | None = None) -> list[int]:
    """Return how many images can pass at a time, over all processes, in rising order.

    They are the divisors of the batch that the processes can share evenly, at most the `images` of train and the
    `ceiling` that an earlier end for lack of memory has set; one image for each process is always among them.
    """
    ranks = config.world_size
    most = min(images, config.batch if ceiling is None else ceiling)
    return [part for part in divisors(config.batch, most) if part % ranks == 0] or [ranks]


def by_memory(config: TrainConfig) -> bool:
    """Say whether the machine's memory decides: on CPUs, where nothing is measured, unless a person gave the batch."""
    return not config.gpus and config.sizing == "auto" and "batch" not in config.given


def held(config: TrainConfig, size: str, cores: int, room: int, sizes: Sequence[int] | None = None) -> int:
    """Return the most images that `room` bytes hold at a time, of `sizes` in rising order; the fewest if none does.

    `size` is the model's, n to x. By default the sizes are all divisors of the batch.
    """
    sizes = sizes or candidates(config, config.batch)
    return max([part for part in sizes if needs.memory(config, size, cores, part) <= room], default=sizes[0])
