"""Which images come in which order, and how each is changed: functions of seed, epoch and image alone.

So a training that resumes draws what it would have drawn, whatever the loaders had read ahead when it was killed. The
engine draws from generators that run on, in the main process or in each loader. A mosaic takes images that its loader
has decoded, as in the engine; which these are follows from the number of loaders in the configuration, so fewer of them
after a fault give the same images, at the cost of decoding some again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np


class Sample(NamedTuple):
    """One image to load in one epoch (from 0), with those that its mosaic may take beside it."""

    image: int
    epoch: int
    near: Sequence[int]


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """Draw from generators of Python and numpy seeded with `parts` (each from 0); they then go on where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    first, second = (int(word) for word in np.random.SeedSequence(parts).generate_state(2))
    random.seed(first)
    np.random.seed(second)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class MosaicPool:
    """Stands in for the engine's list of images that it keeps decoded for mosaics.

    As a list it is what a mosaic may choose from, `near`; by its length, `append` and `pop` it remains the engine's
    account of what is decoded, which depends on what was loaded before.
    """

    def __init__(self) -> None:
        self.near: Sequence[int] = ()
        self._decoded: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return iter(self.near)

    def __len__(self) -> int:
        return len(self._decoded)

    def __contains__(self, index: int) -> bool:
        return index in self._decoded

    def append(self, index: int) -> None:
        """Note a decoded image."""
        self._decoded.append(index)

    def pop(self, place: int) -> int:
        """Forget a decoded image."""
        return self._decoded.pop(place)


class EpochBatches:
    """The batches of one process: each iteration is one epoch, and the next one the epoch after it.

    In each epoch the images are shuffled, and dealt out to the processes like cards; as with torch's
    DistributedSampler, the first come again where they do not share evenly.
    """

    def __init__(
        self, *, images: int, batch: int, seed: int, rank: int = 0, world_size: int = 1, shuffled: bool = True
    ) -> None:
        """Draw from `images`, `batch` at a time in each of `world_size` processes."""
        self.shuffled = shuffled
        self.images, self.batch, self.seed, self.rank, self.world_size = images, batch, seed, rank, world_size
        self.epoch = 0  # of the next iteration
        self.loaders = 1  # of the configuration, which take the batches in turn
        self.window = min(images, batch * 8, 1000) - batch  # of the engine's decoded images, those of earlier batches

    def __len__(self) -> int:
        return -(-self._share() // self.batch)

    def __iter__(self) -> Iterator[list[Sample]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        before = self._batches(epoch - 1) if epoch else []
        batches = self._batches(epoch)
        stream = [*before, *batches]
        for place, batch in enumerate(batches, start=len(before)):
            near: list[int] = []
            for earlier in range(place - self.loaders, -1, -self.loaders):
                if len(near) >= self.window:
                    break
                near += stream[earlier]
            near = near[: self.window] if len(near) >= self.batch else [*near, *batch]
            yield [Sample(image, epoch, near) for image in batch]

    def order(self, epoch: int) -> list[int]:
        """Return the images of this process in an epoch."""
        if not self.shuffled:
            return list(range(self.images))
        order: list[int] = np.random.default_rng([self.seed, epoch]).permutation(self.images).tolist()
        whole = self._share() * self.world_size
        order += (order * -(-whole // self.images))[: whole - self.images]
        return order[self.rank :: self.world_size]

    def _batches(self, epoch: int) -> list[list[int]]:
        order = self.order(epoch)
        return [order[start : start + self.batch] for start in range(0, len(order), self.batch)]

    def _share(self) -> int:
        return -(-self.images // self.world_size)


def parts(batch: dict[str, Any], images: int) -> list[dict[str, Any]]:
    """Split a batch as the engine collates it into parts of at most so many images, with their boxes.

    Objects are matched to images by `batch_idx`, which counts from 0 in each part.
    """
    total = len(batch["img"])
    if total <= images:
        return [batch]
    found = []
    for start in range(0, total, images):
        end = min(start + images, total)
        mine = (batch["batch_idx"] >= start) & (batch["batch_idx"] < end)
        found.append(
            {
                "img": batch["img"][start:end],
                "cls": batch["cls"][mine],
                "bboxes": batch["bboxes"][mine],
                "batch_idx": batch["batch_idx"][mine] - start,
            }
        )
    return found
