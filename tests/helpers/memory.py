"""Data sets made by a test, without a source to read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.datasets.types import Dataset, Label, Sample
from sightline.documents import SPLITS, Split

CAT: Label = (0, 0.5, 0.5, 0.2, 0.2)
DOG: Label = (1, 0.25, 0.25, 0.1, 0.1)


class MemoryDataset(Dataset):
    """Images of noise. It remembers where its images lie, as an index does."""

    def __init__(self, folder: Path, classes: Iterable[str] = ("cat", "dog")) -> None:
        self.folder = folder
        self.classes = list(classes)
        self.images: dict[tuple[Split, str], Sample] = {}
        self.packs: dict[str, str] = {}

    def put(
        self, split: Split, name: str, labels: Iterable[Label] = (CAT,), *, size: int = 2000, seed: int | str = ""
    ) -> Sample:
        """Add or replace an image; its bytes are those of `seed`, by default of its name."""
        return self.put_bytes(split, name, random.Random(f"{seed or name}").randbytes(size), labels)

    def put_bytes(self, split: Split, name: str, data: bytes, labels: Iterable[Label] = (CAT,)) -> Sample:
        path = self.folder / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        sample = Sample(split, name, str(path), f"{split}/{name}", sha256, len(data), 40, 20, tuple(sorted(labels)))
        self.images[split, name] = sample
        return sample

    def relabel(self, split: Split, name: str, *labels: Label) -> None:
        self.images[split, name] = self.images[split, name]._replace(labels=tuple(sorted(labels)))

    def move(self, split: Split, name: str, to: Split, new_name: str | None = None) -> None:
        sample = self.images.pop((split, name))
        self.images[to, new_name or name] = sample._replace(split=to, name=new_name or name)

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        for part in (split,) if split else SPLITS:
            for key in sorted(key for key in self.images if key[0] == part):
                yield self.images[key]._replace(pack=self.packs.get(self.images[key].sha256))

    def stored(self, packs: Iterable[tuple[str, str]]) -> None:
        self.packs.update(packs)


def filled(folder: Path, count: int = 20, **options: int) -> MemoryDataset:
    """Return a data set of `count` images, eight in ten for training, with names from 000.png."""
    dataset = MemoryDataset(folder)
    for number in range(count):
        split: Split = "val" if number % 10 == 8 else "test" if number % 10 == 9 else "train"
        dataset.put(split, f"{number:03}.png", (CAT, DOG)[number % 2 : number % 2 + 1], **options)
    return dataset
