"""Compares images closely with those that may look the same: which are copies, and which show the same scene.

A close look at an image is a grey picture of 64 x 64 places. Each image with a neighbour is decoded once more for it,
on all cores; it takes 8 kB in a temporary table of the index.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from sightline.datasets.sources import STAGE
from sightline.image_files.thumbnails import look_closer
from sightline.runtime import progress
from sightline.validate import worker_pool
from sightline.validate.checks import near_duplicates
from sightline.validate.checks.near_duplicates import Codes
from sightline.validate.checks.similarity import CLOSER, Floats, reduced, same_picture, same_scene
from sightline.validate.index import Index
from sightline.validate.index.rows import ComparedImage

SHAPE = 0.02  # relative difference of the aspect ratio up to which two pictures have the same shape
BATCH = 64  # images that a process decodes at once
FEW = 2  # batches for which starting processes costs more than it saves


class Pair(NamedTuple):
    """Ids of two images with similar thumbnails, and whether they are copies or at least show the same scene."""

    image: int
    other: int
    copy: bool
    scene: bool


class Copies:
    """Finds copies among the images of an index; `levels` is `near_levels` of the policy, in grey levels.

    Without `scenes`, only copies count as the same scene.
    """

    def __init__(self, index: Index, levels: float, *, scenes: bool = False) -> None:
        """Compute the codes of all images; close looks that the index already has are reused."""
        self.comparisons, self.levels, self.scenes = index.comparisons, levels, scenes
        self.ticker = progress.Ticker(STAGE, 0, "comparing images")
        self.codes = near_duplicates.codes(index)

    def pairs(self, images: Codes, among: Codes, wanted: Callable[[int, int], bool]) -> Iterator[Pair]:
        """Yield pairs of `images` and their neighbours in `among` with similar thumbnails, the most similar first.

        Pairs that `wanted` declines are skipped. It is called again just before a pair is compared closely.
        """
        self.ticker.total += len(images.ids) if len(among.ids) else 0
        for ids, others in near_duplicates.neighbours(images, among):
            candidates = [
                (int(id), int(other))
                for id, row in zip(ids, others, strict=True)
                for other in row[row > 0]
                if wanted(int(id), int(other))
            ]
            rows = self.comparisons.compared({id for pair in candidates for id in pair})
            candidates = [pair for pair in candidates if self._comparable(rows[pair[0]], rows[pair[1]])]
            self._look({id for pair in candidates for id in pair}, rows)
            for id, other in candidates:
                if wanted(id, other) and (looks := self._looks(rows[id], rows[other])):
                    copy = same_picture(*looks, self.levels)
                    yield Pair(id, other, copy, copy or (self.scenes and same_scene(*looks)))
            self.ticker.tick(len(ids))

    def image(self, id: int) -> ComparedImage:
        """Return the row of an image."""
        return self.comparisons.compared([id])[id]

    def _comparable(self, a: ComparedImage, b: ComparedImage) -> bool:
        """Tell whether two images have similar shapes and thumbnails, and are not copies that another rule reports."""
        same_source = a.augmented_from is not None and a.augmented_from == b.augmented_from
        if a.sha256 == b.sha256 or same_source or abs(a.width * b.height / (a.height * b.width) - 1) > SHAPE:
            return False
        return near_duplicates.thumbnails_alike(a.thumb, b.thumb, self.levels)

    def _look(self, ids: set[int], rows: dict[int, ComparedImage]) -> None:
        """Add the close looks of images that the index does not have yet."""
        known = {id for id in ids if self.comparisons.has_look(id)}
        batches = _batches((id, rows[id].path) for id in sorted(ids - known))
        for _, looks in worker_pool.map_batches(_decode, batches, FEW):
            self.comparisons.add_looks(looks)

    def _looks(self, a: ComparedImage, b: ComparedImage) -> tuple[Floats, Floats] | None:
        """Return close looks at two images in a resolution that both have; None if one cannot be read."""
        pixels = min(a.width, a.height, b.width, b.height)
        first, second = (self.comparisons.look(image.id) for image in (a, b))
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
