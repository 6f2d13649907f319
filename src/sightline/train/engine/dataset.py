"""The engine's dataset: its caches in a folder that this training alone writes, and augmentation by seed and image.

The engine would write decoded images and a pickle of the labels beside the images, which other runs and users share,
and read whatever lies there. And it would ask the machine for free memory, where the container's limit counts; that is
what the preflight asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from sightline.train.engine.batches import MosaicPool, Sample, seeded
from sightline.train.own_folder import is_own

NOWHERE = Path(os.devnull)  # below which there is no file


def classes(folder: Path) -> tuple[Any, Any]:
    """Return the datasets for val and for train; what they keep lies in `folder`.

    The engine may be imported only after its preparation.
    """
    from ultralytics.data.dataset import YOLODataset

    class CachedDataset(YOLODataset):  # type: ignore[misc]
        """Keeps labels and decoded images in the folder of this training, and reads no others."""

        _arrays: list[Path]

        @property
        def npy_files(self) -> list[Path]:
            """Where decoded images are kept with `train.cache=disk`."""
            return self._arrays

        @npy_files.setter
        def npy_files(self, beside: Sequence[Path]) -> None:
            own = is_own(folder)
            for split in {path.parent.name for path in beside} if own else ():
                (folder / split).mkdir(exist_ok=True, mode=0o700)
            self._arrays = [(folder if own else NOWHERE) / path.parent.name / path.name for path in beside]

        def _load_or_scan_cache(self, cache_path: Path, cache_hash: str) -> tuple[dict[str, Any], bool]:
            """Read the labels again, unless this training has written what it knows of them: that is a pickle."""
            own = folder / cache_path.name
            if not is_own(folder):
                return self.cache_labels(own), False
            return super()._load_or_scan_cache(own, cache_hash)  # type: ignore[no-any-return]

        def check_cache_ram(self, safety_margin: float = 1.0) -> bool:
            """Keep images in memory: the preflight has compared what that takes with what there is."""
            return True

        def check_cache_disk(self, safety_margin: float = 0.1) -> bool:
            """Keep images on the disk: the preflight has compared what that takes with what there is."""
            self.cache = "disk" if is_own(folder) else None
            return self.cache == "disk"

    class SeededDataset(CachedDataset):
        """Changes each image in an epoch always in the same way, and ends mosaics by itself."""

        def __init__(self, *arguments: Any, hyp: Any, **options: Any) -> None:
            super().__init__(*arguments, hyp=hyp, **options)
            self.buffer = MosaicPool()
            self._settings = hyp
            self._closing = hyp.epochs - hyp.close_mosaic if hyp.close_mosaic else hyp.epochs
            self._closed = False

        def build_transforms(self, hyp: Any = None) -> Any:
            """Let mosaics choose from the same images whether these are kept in memory or not."""
            transforms = super().build_transforms(hyp)
            for item in _each(transforms):
                if hasattr(item, "buffer_enabled"):
                    item.buffer_enabled = True
            return transforms

        def __getitem__(self, sample: Sample) -> dict[str, Any]:
            """Load the image of a sample and change it; in the last epochs without mosaic and mixing."""
            if sample.epoch >= self._closing and not self._closed:
                self.close_mosaic(hyp=copy(self._settings))  # it changes what it is given
                self._closed = True
            self.buffer.near = sample.near
            with seeded(self._settings.seed, sample.epoch, sample.image):
                return super().__getitem__(sample.image)  # type: ignore[no-any-return]

    return CachedDataset, SeededDataset


def _each(transforms: Any) -> Iterator[Any]:
    """Yield transforms, and those within them."""
    for item in getattr(transforms, "transforms", ()):
        yield item
        yield from _each(item)
        yield from _each(getattr(item, "pre_transform", None))
