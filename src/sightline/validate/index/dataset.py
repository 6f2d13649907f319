"""The accepted images of an index, as the data set that is stored or written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from sightline.datasets.types import SYNONYMS, Dataset, Label, Sample
from sightline.documents import Split
from sightline.validate.index.index import Index
from sightline.validate.index.rows import unpack


class IndexedDataset(Dataset):
    """The accepted images of an index. `renumber` maps class numbers of labels to positions in `classes`."""

    def __init__(
        self, index: Index, classes: list[str], renumber: dict[int, int], omitted: dict[int, set[int]]
    ) -> None:
        """Take the classes and numbers, and by image id the positions of labels to omit."""
        self.index, self.classes, self.renumber, self.omitted = index, classes, renumber, omitted

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        """Yield the images of one split, or of all in the order train, val, test; within a split by name."""
        parts: tuple[Split, ...] = (split,) if split else tuple(SYNONYMS)
        for part in parts:
            for id, name, path, source, sha256, size, width, height, labels, pack in self.index.images.of_split(part):
                yield Sample(
                    part, name, os.fsdecode(path), source, sha256, size, width, height, self.labels(id, labels), pack
                )

    def labels(self, image: int, packed: bytes | None) -> tuple[Label, ...]:
        """Return the labels of an image in canonical order."""
        new = self.renumber
        found = [(new[c], x / 1e6, y / 1e6, w / 1e6, h / 1e6) for c, x, y, w, h in unpack(packed)]
        if image in self.omitted:
            found = [label for place, label in enumerate(found) if place not in self.omitted[image]]
        found.sort()
        return tuple(found)

    def stored(self, packs: Iterable[tuple[str, str]]) -> None:
        """Remember that images lie in packs of a store: pairs of an image's sha256 and a pack's key."""
        self.index.images.remember_packs(packs)
