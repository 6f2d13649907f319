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

SHAPE = 0.02  # relative difference of the aspect ratio up to which two pictures have the same shape
COLUMNS = "id, source, split, image, sha256, width, height, thumb, origin"
BATCH = 64  # images that a process decodes at a time
FEW = 2  # batches for which starting processes costs more than it saves


class Pair(NamedTuple):
    """Two images that look alike from afar: whether they show the same picture, and whether the same ground."""

    image: int
    other: int
    copy: bool
    ground: bool


class Item(NamedTuple):
    """What of a row is compared."""

    id: int
    source: str
    split: str
    image: bytes
    sha256: str
    width: int
    height: int
    thumb: bytes
    origin: str | None


class Copies:
    """Finds pairs among the images of an index; `levels` is near_levels of the policy.

    Without `grounds` only copies are told to show the same ground.
    """

    def __init__(self, index: Index, levels: float, *, grounds: bool = False) -> None:
        """Take over the looks of an earlier comparison."""
        self.index, self.levels, self.grounds = index, levels, grounds
        index.rows("CREATE TEMP TABLE IF NOT EXISTS look (id INTEGER PRIMARY KEY, data BLOB)")
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
            items = self._items({id for pair in asked for id in pair})
            asked = [pair for pair in asked if self._comparable(items[pair[0]], items[pair[1]])]
            self._look({id for pair in asked for id in pair}, items)
            for id, other in asked:
                if wanted(id, other) and (looks := self._looks(items[id], items[other])):
                    copy = same_picture(*looks, self.levels)
                    yield Pair(id, other, copy, copy or (self.grounds and same_ground(*looks)))
            self.ticker.tick(len(ids))

    def item(self, id: int) -> Item:
        """Return what is known of an image."""
        return self._items({id})[id]

    def _items(self, ids: set[int]) -> dict[int, Item]:
        rows = (self.index.rows(f"SELECT {COLUMNS} FROM item WHERE id = ?", (id,)).fetchone() for id in ids)
        return {row[0]: Item(*row) for row in rows}

    def _comparable(self, a: Item, b: Item) -> bool:
        """Tell two of a like shape, alike from afar, of which no other rule tells: not of equal bytes or one source."""
        same_source = a.origin is not None and a.origin == b.origin
        if a.sha256 == b.sha256 or same_source or abs(a.width * b.height / (a.height * b.width) - 1) > SHAPE:
            return False
        return near_duplicates.alike(a.thumb, b.thumb, self.levels)

    def _look(self, ids: set[int], items: dict[int, Item]) -> None:
        """Take a close look at what was not looked at yet."""
        known = {id for id in ids if self.index.value("SELECT 1 FROM look WHERE id = ?", (id,))}
        batches = _batches((id, items[id].image) for id in sorted(ids - known))
        for _, looks in worker_pool.worked(_decode, batches, FEW):
            self.index.many("INSERT INTO look VALUES (?, ?)", looks)

    def _looks(self, a: Item, b: Item) -> tuple[Floats, Floats] | None:
        """Return the looks of two images at one resolution, which both of them have; None if one cannot be read."""
        pixels = min(a.width, a.height, b.width, b.height)
        data = [self.index.value("SELECT data FROM look WHERE id = ?", (item.id,)) for item in (a, b)]
        if data[0] is None or data[1] is None:
            return None
        return reduced(_array(data[0]), pixels), reduced(_array(data[1]), pixels)


def remember(index: Index, id: int, data: bytes) -> None:
    """Keep the close look of an image that is about to change, as half floats."""
    index.rows("CREATE TEMP TABLE IF NOT EXISTS look (id INTEGER PRIMARY KEY, data BLOB)")
    index.rows("INSERT OR REPLACE INTO look VALUES (?, ?)", (id, data))


def _decode(batch: list[tuple[int, bytes]]) -> list[tuple[int, bytes | None]]:
    return [(id, look_closer(os.fsdecode(image), CLOSER)) for id, image in batch]


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _array(data: bytes) -> Floats:
    return np.frombuffer(data, np.float16).reshape(CLOSER, CLOSER).astype(np.float32)
