"""How far the images and labels of one snapshot lie from those of another.

Each split is compared with itself in the other snapshot, property by property, as the data report compares val and test
with train. Only lists of images are read, no image; what a million images take in memory is a few megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sightline.datasets.statistics import LabelCounts, Statistics, compared
from sightline.documents import SPLITS, Split
from sightline.snapshots.items import load_items
from sightline.snapshots.manifest import Manifest
from sightline.snapshots.parallel import several
from sightline.storage import Store


def limit(most: float) -> str:
    """Say up to which distance nothing counts as drift."""
    return f"retrain.max_drift is {most:g}"


class Distance(NamedTuple):
    """How far one property moved, 0 to 1, and how much of that chance explains."""

    what: str
    split: Split
    distance: float
    noise: float

    def text(self) -> str:
        """Return it in words: `box sizes in train 0.31`."""
        return f"{self.what} in {self.split} {self.distance:.2f}"


class Drift(NamedTuple):
    """What is new in kind, in words, and the distance of everything else."""

    new: list[str]
    distances: list[Distance]

    def reasons(self, most: float) -> list[str]:
        """Return what counts as drift if distances up to `most` do not: the new first, then the largest distance."""
        far = [each for each in self.distances if each.distance > max(most, each.noise)]
        return [*self.new, *(each.text() for each in sorted(far, key=lambda each: -each.distance))]

    def within(self, most: float) -> str:
        """Say, where nothing counts as drift, how far it is from that."""
        if not self.distances:
            return "each split looks the same as before"
        largest = max(self.distances, key=lambda each: each.distance)
        few = ", which chance explains" if largest.distance > most else ""
        return f"the largest distance is {largest.text()}{few} ({limit(most)})"


def measure(store: Store, before: Manifest, after: Manifest) -> Drift:
    """Compare two snapshots of one store.

    The order and the names of images do not count, and neither does the order of classes. Raises StorageError.
    """
    new = [
        *(f"class '{name}' is new" for name in after.classes if name not in before.classes),
        *(f"class '{name}' is gone" for name in before.classes if name not in after.classes),
    ]
    if new:
        return Drift(new, [])
    old_boxes, new_boxes = (
        dict(zip(m.classes, m.splits["train"].boxes_per_class, strict=True)) for m in (before, after)
    )
    new += [f"train has boxes of class '{name}' now" for name, n in new_boxes.items() if n and not old_boxes[name]]
    distances: list[Distance] = []
    for split in SPLITS:
        one, other = before.splits[split], after.splits[split]
        if one.digest == other.digest and before.classes == after.classes:
            continue
        if bool(one.images) != bool(other.images):
            new.append(f"{split} has {'images now' if other.images else 'no images any more'}")
            continue
        distances += _distances(store, before, after, split)
    return Drift(new, distances)


def _distances(store: Store, before: Manifest, after: Manifest, split: Split) -> Iterator[Distance]:
    (old, old_images), (new, new_images) = (_counted(store, each, split, after.classes) for each in (before, after))
    shared = len(np.intersect1d(old_images, new_images))
    # Noise is that of two independent samples of n and m images. If both hold the same s images, the variance of their
    # difference is not as 1/n + 1/m, but as 1/n + 1/m - 2s/nm: without the images that only one has there is no chance.
    independent = max(0.0, 1 - 2 * shared / (old.images + new.images)) ** 0.5 if old.images else 0.0
    for each in compared(old, new, split, after.classes):
        yield Distance(each.what, split, each.distance, each.noise * independent)


def _counted(
    store: Store, manifest: Manifest, split: Split, classes: list[str]
) -> tuple[LabelCounts, np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    """Count a split, its classes in the order of `classes`; also return the first digits of its images' digests."""
    statistics, images = Statistics(classes), array("Q")
    numbers = [classes.index(name) for name in manifest.classes]
    refs = [ref for ref in manifest.items if ref.split == split]
    for samples in several(lambda ref: load_items(store, ref), refs):
        for sample in samples:
            if manifest.classes != classes:
                labels = tuple((numbers[index], cx, cy, w, h) for index, cx, cy, w, h in sample.labels)
                sample = sample._replace(labels=labels)
            statistics.add(sample)
            images.append(int(sample.sha256[:16], 16))
    return statistics.counts(split), np.array(images, np.uint64)
