"""Does another split look like train? Distances, how much of them chance explains, and the result in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.documents import Split, SplitComparison

LEAST = 0.1  # a distance that matters: a tenth of the boxes or images lie elsewhere
ALPHA = 0.01  # how often chance alone passes the noise level
DRAWS = 1000  # of the simulated noise level
COMPARED = 100  # classes that are compared one by one; rarer ones are taken together
COARSE = 4  # cells of the grid on which positions are compared, each way

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
What = Literal["classes", "box sizes", "box aspects", "positions", "boxes per image", "image sizes"]


class Counted(Protocol):
    """What is compared of a split: fine histograms by property, boxes by class and on a square grid."""

    images: int
    boxes: int
    classes: Ints
    grid: Ints
    fine: dict[str, Ints]

    @property
    def effective_boxes(self) -> float:
        """How many independent boxes these are worth."""
        ...


class Words(NamedTuple):
    """How a message describes a property with an order."""

    what: What
    less: str
    more: str
    same: str
    number: Callable[[float], str]
    unit: str
    at_most: str
    of: Literal["boxes", "images"]


def short(value: float) -> str:
    """Two digits, without an exponent: `12`, `4.0`, `0.25`; `0` only for nothing."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.0f}" if value >= 9.95 or not value else f"{value:#.2g}"


def percent(value: float) -> str:
    """A share with two digits: `4.1 %`."""
    return f"{short(100 * value)} %"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


ORDERED = (
    Words("box sizes", "smaller boxes", "larger boxes", "hold boxes of the same size", percent, " of the image side",
          "have a side of at most {} of the image's", "boxes"),
    Words("box aspects", "narrower boxes", "wider boxes", "hold boxes of the same shape", short, " width to height",
          "are at most {} times as wide as high", "boxes"),
    Words("boxes per image", "fewer boxes per image", "more boxes per image", "hold the same number of boxes per image",
          _whole, "", "hold at most {} boxes", "images"),
    Words("image sizes", "smaller images", "larger images", "hold images of the same size", _whole,
          " pixels (square root of the area)", "have a side of at most {} pixels", "images"),
)  # fmt: skip
REGIONS = {  # rows and columns of the coarse grid
    "in the upper half": np.s_[:2, :],
    "in the lower half": np.s_[2:, :],
    "in the left half": np.s_[:, :2],
    "in the right half": np.s_[:, 2:],
    "in the upper left": np.s_[:2, :2],
    "in the upper right": np.s_[:2, 2:],
    "in the lower left": np.s_[2:, :2],
    "in the lower right": np.s_[2:, 2:],
    "in the centre": np.s_[1:3, 1:3],
}


def compare(
    train: Counted, other: Counted, *, split: Split, values: Mapping[str, Floats], names: Sequence[str]
) -> Iterator[SplitComparison]:
    """Yield one comparison a property; `values` are what the fine bins stand for."""
    if not train.images or not other.images:
        return
    boxes = (train.effective_boxes, other.effective_boxes)
    images = (float(train.images), float(other.images))
    if train.boxes and other.boxes and len(names) > 1:
        yield _classes(train.classes, other.classes, boxes, split, names)
    for words in ORDERED:
        if words.of == "images" or (train.boxes and other.boxes):
            sizes = boxes if words.of == "boxes" else images
            yield _ordered(train.fine[words.what], other.fine[words.what], sizes, split, words, values[words.what])
    if train.boxes and other.boxes:
        yield _positions(train.grid, other.grid, boxes, split)


def kolmogorov_smirnov_noise(n: float, m: float) -> float:
    """Largest distance of two cumulative shares that samples of n and m exceed with probability ALPHA.

    c(alpha) sqrt((n + m) / (n m)) with c(alpha) = sqrt(-ln(alpha / 2) / 2), at most 1 (N. Smirnov, Table for
    estimating the goodness of fit of empirical distributions, 1948). Bins make it exceed more rarely, never more often.
    """
    return min(1.0, math.sqrt(-math.log(ALPHA / 2) / 2) * math.sqrt((n + m) / (n * m)))


def variation_noise(train: Floats, other: Floats, n: float, m: float) -> float:
    """Total variation distance that samples of n and m from one common distribution exceed with probability ALPHA.

    A parametric bootstrap: multinomial counts drawn from the pooled shares, with a fixed seed. A formula for many
    cells is either wrong for small counts or too wide.
    """
    pooled = (n * train + m * other) / (n + m)
    draw = np.random.default_rng(0)
    n, m = max(1, round(n)), max(1, round(m))
    one, two = draw.multinomial(n, pooled, DRAWS) / n, draw.multinomial(m, pooled, DRAWS) / m
    return float(np.quantile(np.abs(one - two).sum(axis=1) / 2, 1 - ALPHA))


def summary(comparisons: Sequence[SplitComparison]) -> str:
    """Say in one sentence whether the splits look like train."""
    if not comparisons:
        return "There is nothing to compare: train, or every other split, has no image."
    if not any(item.distance > LEAST for item in comparisons):
        return "Every split looks like train."
    splits = dict.fromkeys(item.split for item in comparisons)
    return "; ".join(_about(split, [item for item in comparisons if item.split == split]) for split in splits) + "."


def _about(split: Split, comparisons: Sequence[SplitComparison]) -> str:
    differing = [item.what for item in comparisons if item.differs]
    if differing:
        listed = " and ".join([", ".join(differing[:-1]), differing[-1]] if len(differing) > 1 else differing)
        return f"{split} differs from train in {listed}"
    few = any(item.distance > LEAST for item in comparisons)
    return f"{split} looks like train" + (", as far as so few images can tell" if few else "")


def _judge(what: What, split: Split, distance: float, noise: float, *, difference: str, same: str) -> SplitComparison:
    """Put the numbers and words of one comparison together."""
    differs = distance > noise and distance > LEAST
    sentence = f"{split} and train {same}"
    if differs:
        sentence = difference
    elif distance > LEAST:
        sentence = f"too few images to tell whether {split} differs from train; so far, {difference}"
    return SplitComparison(
        what=what, split=split, distance=round(distance, 4), noise=round(noise, 4), differs=differs, sentence=sentence
    )


def _ordered(
    train: Ints, other: Ints, sizes: tuple[float, float], split: Split, words: Words, values: Floats
) -> SplitComparison:
    below, others = (np.cumsum(counts) / counts.sum() for counts in (train, other))
    at = int(np.argmax(np.abs(others - below)))
    less = bool(others[at] > below[at])
    medians = [float(values[np.searchsorted(shares, 0.5)]) for shares in (others, below)]
    a, b = (words.number(value) for value in medians)
    difference = f"{split} has {words.less if less else words.more} than train: "
    if a != b and (medians[0] < medians[1]) == less:
        difference += f"median {a} against {b}{words.unit}"
    else:  # it is not the middle that moved; then this is what the distance is about
        bound = words.at_most.format(words.number(float(values[at])))
        difference += f"{percent(others[at])} of its {words.of} {bound}, against {percent(below[at])}"
    distance, noise = float(abs(others[at] - below[at])), kolmogorov_smirnov_noise(*sizes)
    return _judge(words.what, split, distance, noise, difference=difference, same=words.same)


def _classes(
    train: Ints, other: Ints, sizes: tuple[float, float], split: Split, names: Sequence[str]
) -> SplitComparison:
    p, q = train / train.sum(), other / other.sum()
    common = np.argsort(-(p + q), kind="stable")[:COMPARED]
    most = int(common[np.argmax(np.abs(p - q)[common])])
    p_all, q_all = (np.append(shares[common], max(0.0, 1 - shares[common].sum())) for shares in (p, q))
    shares = f"{percent(p[most])} of the boxes in train and {percent(q[most])} in {split}"
    return _judge(
        "classes",
        split,
        float(np.abs(p_all - q_all).sum() / 2),
        variation_noise(p_all, q_all, *sizes),
        difference=f"class '{names[most]}' makes up {shares}",
        same="hold the classes in the same shares",
    )


def _positions(train: Ints, other: Ints, sizes: tuple[float, float], split: Split) -> SplitComparison:
    fine = math.isqrt(len(train)) // COARSE
    p, q = (counts.reshape(COARSE, fine, COARSE, fine).sum(axis=(1, 3)) / counts.sum() for counts in (train, other))
    regions = {name: (float(p[cells].sum()), float(q[cells].sum())) for name, cells in REGIONS.items()}
    regions["near the border"] = tuple(1 - share for share in regions["in the centre"])  # type: ignore[assignment]
    name, (before, now) = max(regions.items(), key=lambda item: item[1][1] - item[1][0])
    return _judge(
        "positions",
        split,
        float(np.abs(p - q).sum() / 2),
        variation_noise(p.ravel(), q.ravel(), *sizes),
        difference=f"{split} has more of its boxes {name} than train: {percent(now)} against {percent(before)}",
        same="hold boxes at the same places",
    )
