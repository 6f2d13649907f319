"""What passed, in numbers: counts, histograms and pairs of classes, gathered from a stream in flat memory.

Each property is counted in fine bins, which are what splits are compared by (see `split_comparison`), and shown in
coarse bins that are put together from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.datasets.split_comparison import compare
from sightline.datasets.types import Label, Sample
from sightline.documents import SPLITS, Distributions, Histogram, Split, SplitComparison

HELD_OUT: tuple[Split, ...] = ("val", "test")
GRID = 16  # cells of the position map, each way
PAIRED = 20  # classes in the table of pairs
MOST_PAIRED = 2048  # classes whose pairs are counted; a matrix of all would outgrow memory with long lists of names
BATCH_IMAGES, BATCH_BOXES = 1000, 50_000  # what is kept back before it is counted with numpy

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


class Scale(NamedTuple):
    """How a property is counted. `values` are those of the fine bins, `starts` the fine bins where coarse ones begin.

    Fine bins lie around round values (1/2 of the side, a square, 640 pixels), never between two of them: rounding in
    a label file must not move a box to the next bin.
    """

    values: Floats
    starts: Ints
    edges: list[float]


def _linear(cuts: Sequence[int], unit: float) -> Scale:
    """Fine bins are the whole multiples of `unit` from 0 to the last cut."""
    starts = np.array([0, *cuts[1:-1]], np.int64)  # the first bin takes what lies below, the last what lies above
    return Scale(np.arange(cuts[-1] + 1) * unit, starts, [cut * unit for cut in cuts])


def _thirds(low: int, high: int) -> list[int]:
    """Whole numbers in steps of a third of an octave."""
    steps = round(3 * np.log2(high / low))
    return sorted({round(low * 2 ** (step / 3)) for step in range(steps + 1)})


SIDE = 8192  # fine bins of the image side: a fifth of a pixel at 1600
OCTAVE = 63  # fine bins of a doubling of the aspect; divides into three odd parts, so that the square is mid-bin
WIDEST = 4 * OCTAVE  # 16 to 1 and 1 to 16
SHORTER = 1 << 18  # fine bins of a box's shorter side: a fiftieth of a pixel at 5000
_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 256, 512, 1024)
SCALES: dict[str, Scale] = {
    "box sizes": _linear(_thirds(4, SIDE), 1 / SIDE),
    "box aspects": Scale(
        np.logspace(-4, 4, 2 * WIDEST + 1, base=2),
        np.array([0, *(WIDEST - 10 + 21 * k for k in range(-10, 12))], np.int64),
        [2 ** ((k - 0.5) / 3) for k in range(-11, 13)],
    ),
    "boxes per image": _linear(_COUNTS, 1),
    "image sizes": _linear(_thirds(16, 16384), 1),
}


class LabelCounts:
    """One split: fine histograms by property, boxes by class and by cell of the grid."""

    def __init__(self, classes: int) -> None:
        self.images = 0
        self.boxes = 0
        self.squares = 0  # sum of squared numbers of boxes per image
        self.classes: Ints = np.zeros(classes, np.int64)
        self.grid: Ints = np.zeros(GRID * GRID, np.int64)
        self.shorter: Ints = np.zeros(SHORTER + 1, np.int64)  # boxes by their shorter side
        self.fine: dict[str, Ints] = {what: np.zeros(len(scale.values), np.int64) for what, scale in SCALES.items()}

    @property
    def effective_boxes(self) -> float:
        """How many independent boxes these are worth: Kish's effective sample size of clusters that are all alike.

        Boxes of one image are of one scene and one camera distance, so they count as one. With the same number of
        boxes in each image this is the number of images; it is less where few images hold most of the boxes.
        (L. Kish, Survey Sampling, 1965: the squared sum of weights over the sum of squared weights.)
        """
        return self.boxes**2 / self.squares if self.squares else 0.0

    @property
    def shorter_side(self) -> float | None:
        """The median of the boxes' shorter sides, as a share of the longer side of their image; None without a box."""
        if not self.boxes:
            return None
        middle = np.array([(self.boxes - 1) // 2, self.boxes // 2])  # one box, or the two around the middle
        return float(np.searchsorted(np.cumsum(self.shorter), middle, side="right").mean()) / SHORTER

    def add(self, labels: Floats, counts: Ints, sizes: Floats) -> None:
        """Count a batch: labels (n, 5), the number of them in each image (m,), widths and heights in pixels (m, 2)."""
        self.images += len(counts)
        self.boxes += len(labels)
        self.squares += int(np.square(counts).sum())
        self._count("boxes per image", counts)
        self._count("image sizes", np.sqrt(sizes.prod(axis=1)))
        index, cx, cy, w, h = labels.T
        width, height = np.repeat(sizes, counts, axis=0).T
        shorter = np.minimum(w * width, h * height) / np.maximum(width, height) * SHORTER
        counted = np.bincount(np.clip(np.rint(shorter), 0, SHORTER).astype(np.int64))
        self.shorter[: len(counted)] += counted
        self._count("box sizes", np.sqrt(w * h) * SIDE)
        # A box may be rounded to no width or height; it then counts as the widest or highest there is.
        with np.errstate(divide="ignore", invalid="ignore"):
            self._count("box aspects", np.nan_to_num(np.log2(w * width / (h * height)) * OCTAVE) + WIDEST)
        self.classes += np.bincount(index.astype(np.int64), minlength=len(self.classes))
        row, column = (np.clip(centre * GRID, 0, GRID - 1).astype(np.int64) for centre in (cy, cx))
        self.grid += np.bincount(row * GRID + column, minlength=GRID * GRID)

    def _count(self, what: str, values: NDArray[np.generic]) -> None:
        fine = self.fine[what]
        bins = np.clip(np.rint(values), 0, len(fine) - 1).astype(np.int64)
        fine += np.bincount(bins, minlength=len(fine))


def compared(one: LabelCounts, other: LabelCounts, split: Split, names: Sequence[str]) -> Iterator[SplitComparison]:
    """Compare two counts property by property; `split` is that of the other, `names` are the classes of both."""
    values = {what: scale.values for what, scale in SCALES.items()}
    return compare(one, other, split=split, values=values, names=names)


class Pairs:
    """In how many images two classes appear together, for the first `MOST_PAIRED` classes that appear at all."""

    def __init__(self, classes: int) -> None:
        self.slots: Ints = np.full(classes, -1, np.int64)
        self.used = 0
        self.counts: Ints = np.zeros((min(classes, MOST_PAIRED),) * 2, np.int64)

    def add(self, images: Ints, classes: Ints, number: int) -> None:
        """Count a batch of `number` images: of each box its image (from 0) and its class."""
        new = np.unique(classes[self.slots[classes] < 0])[: len(self.counts) - self.used]
        self.slots[new] = np.arange(self.used, self.used + len(new))
        self.used += len(new)
        slots = self.slots[classes]
        known = slots >= 0
        present, column = np.unique(slots[known], return_inverse=True)
        seen = np.zeros((number, len(present)), np.float32)
        seen[images[known], column] = 1
        self.counts[np.ix_(present, present)] += (seen.T @ seen).astype(np.int64)

    def table(self, classes: Sequence[int]) -> list[list[int]]:
        """Return the counts of some classes that appeared."""
        slots = self.slots[list(classes)]
        return [[int(count) for count in row] for row in self.counts[np.ix_(slots, slots)]]


class Statistics:
    """Takes every image that passed, in any order, and says what they look like."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._names = classes
        self._tallies = {split: LabelCounts(len(classes)) for split in SPLITS}
        self._pairs = Pairs(len(classes))
        self._split: Split = "train"
        self._labels: list[Label] = []
        self._counts: list[int] = []
        self._sizes: list[tuple[int, int]] = []

    def add(self, sample: Sample) -> None:
        """Take one image."""
        full = len(self._counts) == BATCH_IMAGES or len(self._labels) > BATCH_BOXES
        if full or sample.split != self._split:
            self._flush()
            self._split = sample.split
        self._labels.extend(sample.labels)
        self._counts.append(len(sample.labels))
        self._sizes.append((sample.width, sample.height))

    def distributions(self) -> Distributions | None:
        """Return the histograms; a split without an image, or without a box, is left out. None without any image."""
        self._flush()
        if not any(tally.images for tally in self._tallies.values()):
            return None
        total = np.sum([tally.classes for tally in self._tallies.values()], axis=0)
        common = [
            int(index)
            for index in np.argsort(-total, kind="stable")[:PAIRED]
            if total[index] and self._pairs.slots[index] >= 0
        ]
        return Distributions(
            sizes=self._histogram("box sizes"),
            aspects=self._histogram("box aspects"),
            boxes_per_image=self._histogram("boxes per image"),
            image_sizes=self._histogram("image sizes"),
            positions={
                split: [[int(count) for count in row] for row in tally.grid.reshape(GRID, GRID)]
                for split, tally in self._tallies.items()
                if tally.boxes
            },
            cooccurrence_classes=[self._names[index] for index in common],
            cooccurrence=self._pairs.table(common),
        )

    def split_comparisons(self) -> list[SplitComparison]:
        """Compare val and test with train, property by property; what one of the two has nothing of is left out."""
        train = self.counts("train")
        return [
            comparison for split in HELD_OUT for comparison in compared(train, self.counts(split), split, self._names)
        ]

    def counts(self, split: Split) -> LabelCounts:
        """Return what was counted of a split so far."""
        self._flush()
        return self._tallies[split]

    def _histogram(self, what: str) -> Histogram:
        scale = SCALES[what]
        return Histogram(
            edges=scale.edges,
            counts={
                split: [int(count) for count in np.add.reduceat(tally.fine[what], scale.starts)]
                for split, tally in self._tallies.items()
                if tally.fine[what].any()
            },
        )

    def _flush(self) -> None:
        if not self._counts:
            return
        flat = np.fromiter(chain.from_iterable(self._labels), np.float64, 5 * len(self._labels))
        labels, counts = flat.reshape(-1, 5), np.array(self._counts, np.int64)
        self._tallies[self._split].add(labels, counts, np.array(self._sizes, np.float64))
        images = np.repeat(np.arange(len(counts)), counts)
        self._pairs.add(images, labels[:, 0].astype(np.int64), len(counts))
        self._labels, self._counts, self._sizes = [], [], []
