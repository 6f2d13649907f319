"""Compares images closely with those that may look the same: what is a copy of what, and what shows the same ground.

A close look decodes an image once more, on all cores, at most once each, and is kept beside the index while it is open:
8 kB in a file for each image that has a neighbour.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from sightline.datasets.sources import STAGE
from sightline.image_files.images import look_closer
from sightline.runtime import progress
from sightline.validate import worker_pool
from sightline.validate.checks import near_duplicates
from sightline.validate.checks.near_duplicates import Codes
from sightline.validate.checks.similarity import CLOSER, Floats, reduced, same_ground, same_picture
from sightline.validate.index import Index
from sightline.validate.index.rows import ComparedImage

SHAPE = 0.02  # relative difference of the aspect ratio up to which two pictures have the same shape
BATCH = 64  # images that a process decodes at a time
FEW = 2  # batches for which starting processes costs more than it saves


class Pair(NamedTuple):
    """Two images that look alike from afar: whether they show the same picture, and whether the same ground."""

    image: int
    other: int
    copy: bool
    ground: bool


class Copies:
    """Finds pairs among the images of an index; `levels` is near_levels of the policy.

    Without `grounds` only copies are told to show the same ground.
    """

    def __init__(self, index: Index, levels: float, *, grounds: bool = False) -> None:
        """Take over the looks of an earlier comparison."""
        self.known, self.levels, self.grounds = index.comparisons, levels, grounds
        self.ticker = progress.Ticker(STAGE, 0, "comparing images")
        self.codes = near_duplicates.codes(index)

    def pairs(self, images: Codes, among: Codes, wanted: Callable[[int, int], bool]) -> Iterator[Pair]:
        """Yield each image with its neighbours among others, the most alike first, that are alike from afar.

        What `wanted` says no to is passed over. It is asked again before a pair is compared closely.
        """
        self.ticker.total += len(images.ids) if len(among.ids) else 0
        for ids, others in near_duplicates.neighbours(images, among):
            asked = [
                (int(id), int(other))
                for id, row in zip(ids, others, strict=True)
                for other in row[row > 0]
                if wanted(int(id), int(other))
            ]
            items = self.known.compared({id for pair in asked for id in pair})
            asked = [pair for pair in asked if self._comparable(items[pair[0]], items[pair[1]])]
            self._look({id for pair in asked for id in pair}, items)
            for id, other in asked:
                if wanted(id, other) and (looks := self._looks(items[id], items[other])):
                    copy = same_picture(*looks, self.levels)
                    yield Pair(id, other, copy, copy or (self.grounds and same_ground(*looks)))
            self.ticker.tick(len(ids))

    def image(self, id: int) -> ComparedImage:
        """Return what is known of an image."""
        return self.known.compared([id])[id]

    def _comparable(self, a: ComparedImage, b: ComparedImage) -> bool:
        """Tell two of a like shape, alike from afar, of which no other rule tells: not of equal bytes or one source."""
        same_source = a.augmented_from is not None and a.augmented_from == b.augmented_from
        if a.sha256 == b.sha256 or same_source or abs(a.width * b.height / (a.height * b.width) - 1) > SHAPE:
            return False
        return near_duplicates.alike(a.thumb, b.thumb, self.levels)

    def _look(self, ids: set[int], items: dict[int, ComparedImage]) -> None:
        """Take a close look at what was not looked at yet."""
        known = {id for id in ids if self.known.has_look(id)}
        batches = _batches((id, items[id].path) for id in sorted(ids - known))
        for _, looks in worker_pool.worked(_decode, batches, FEW):
            self.known.add_looks(looks)

    def _looks(self, a: ComparedImage, b: ComparedImage) -> tuple[Floats, Floats] | None:
        """Return the looks of two images at one resolution, which both of them have; None if one cannot be read."""
        pixels = min(a.width, a.height, b.width, b.height)
        first, second = (self.known.look(image.id) for image in (a, b))
        if first is None or second is None:
            return None
        return reduced(_array(first), pixels), reduced(_array(second), pixels)


def _decode(batch: list[tuple[int, bytes]]) -> list[tuple[int, bytes | None]]:
    return [(id, look_closer(os.fsdecode(path), CLOSER)) for id, path in batch]


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _array(data: bytes) -> Floats:
    return np.frombuffer(data, np.float16).reshape(CLOSER, CLOSER).astype(np.float32)
