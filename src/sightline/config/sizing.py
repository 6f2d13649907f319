"""Sizes by the card: the tiers of GPU memory, and what of a training each of them chooses unless a person has.

Model, image size, nominal batch and loaders are fixed when a configuration is resolved. How many images pass at a time
is measured where training runs (`train/sizing.py`), and changes nothing for the optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from sightline.config.run_config import RunConfig

Tier = Literal["cpu", "low", "medium", "high", "workstation", "server", "large"]
TIER_NAMES: tuple[Tier, ...] = get_args(Tier)
AUTO = "auto"  # in place of a tier: that of the cards which `sightline run` sees
GIB = 1 << 30


class Size(NamedTuple):
    """What a tier chooses."""

    least: float  # GB of the smallest card that belongs to it, as printed on the card
    model: str
    image_size: int
    nominal_batch: int  # what the optimizer sees
    batch: int  # images of a pass on one card, where that could not be measured
    workers: int  # loaders of each process, at most


TIERS: dict[Tier, Size] = {
    "cpu": Size(0, "yolo11n.pt", 640, 16, 16, 4),
    "low": Size(0, "yolo11s.pt", 640, 16, 4, 4),
    "medium": Size(6, "yolo11m.pt", 640, 32, 8, 4),
    "high": Size(12, "yolo11l.pt", 640, 64, 16, 8),
    "workstation": Size(24, "yolo11x.pt", 640, 64, 16, 8),
    "server": Size(48, "yolo11x.pt", 960, 64, 16, 12),
    "large": Size(80, "yolo11x.pt", 960, 64, 32, 16),
}
SHOWN = 0.9  # of the printed size: a card of 12 GB shows 11.9 or less
FILLED = {"train.image_size": "image_size", "train.nominal_batch": "nominal_batch", "train.workers": "workers"}
# What is open to choice by key, and how it is noted that a person chose.
SIZED = {"train.batch": "batch", **FILLED, "weights.source": "model"}
SIDES = (640, 960, 1280)  # pixels: what an image's side becomes where boxes are too small
LEAST_SIDE = 8.0  # pixels of the shorter side of a box; the finest level of the networks has a cell for as many
MOST_BATCH = 4096  # of `train.batch`


def tier_of(memory: int | None) -> Tier:
    """Return the tier of the smallest card that will be used, by its memory in bytes; None is no card."""
    if memory is None:
        return "cpu"
    return [name for name in TIER_NAMES[1:] if memory >= TIERS[name].least * GIB * SHOWN][-1]


def asked(base: RunConfig, values: Mapping[str, Any]) -> bool:
    """Return whether sizes are chosen, by a preset and what a person has given."""
    return bool(values.get("train.sizing", base.train.sizing) == "auto")


def by_tier(base: RunConfig, values: Mapping[str, Any], tier: Tier | None) -> RunConfig:
    """Return a preset's configuration with what a tier chooses and `values`, a person's, leave open."""
    if tier is None or not asked(base, values):
        return base
    size = TIERS[tier]
    open_ = {field: getattr(size, field) for key, field in FILLED.items() if key not in values}
    pinned = values.get("weights.sha256") is not None  # of the preset's own model
    weights = {} if pinned or "weights.source" in values else {"source": size.model}
    return base.model_copy(
        update={
            "train": base.train.model_copy(update=open_),
            "weights": base.weights.model_copy(update=weights),
        }
    )


def unused(base: RunConfig, values: Mapping[str, Any], tier: Tier | None) -> list[str]:
    """Refuse a tier that would choose nothing."""
    if tier is None or asked(base, values):
        return []
    return [
        f"gpu_tier: got {tier}, but train.sizing is off, with which a tier chooses nothing: leave it at {AUTO}, or set "
        "train.sizing to auto"
    ]


def note_given(train: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Note in the tree of a configuration what a person has given; sizing makes a batch of what the optimizer sees.

    Then any divisor of it can pass at a time.
    """
    given = {*train["given"], *(name for key, name in SIZED.items() if key in values)}
    if values.get("weights.sha256") is not None:  # of a model that was meant
        given.add("model")
    train["given"] = sorted(given)
    nominal = train["nominal_batch"]
    if train["sizing"] == "auto" and "batch" not in train["given"] and type(nominal) is int and nominal > 0:
        train["batch"] = divisors(nominal, MOST_BATCH)[-1]


def divisors(number: int, most: int) -> list[int]:
    """Return the divisors of a number up to `most`, in rising order."""
    return [part for part in range(1, min(number, most) + 1) if number % part == 0]


def too_small(image_size: int, shorter_side: float | None) -> bool:
    """Say whether boxes are too small in an image of this size; rounded in label files, they are not.

    `shorter_side` is the median of the boxes' shorter sides as a share of the longer side of their image.
    """
    return shorter_side is not None and round(shorter_side * image_size, 2) < LEAST_SIDE


def larger_side(image_size: int, shorter_side: float | None, stride: int | None = None) -> int | None:
    """Return the side of an image at which small boxes have more pixels; None where it stays.

    It is a multiple of the network's `stride`, where that is known.
    """
    if not too_small(image_size, shorter_side):
        return None
    return next((side for side in SIDES if side > image_size and side % (stride or 1) == 0), None)


def in_words(config: RunConfig, tier: Tier | None) -> str:
    """Say what a tier has chosen for a configuration, and what is a person's; `tier` is None where no card was seen."""
    if tier is None:
        return (
            f"No GPU of a known memory was seen and no tier named: model ({config.weights.source}), image size "
            f"({config.train.image_size}) and nominal batch ({config.train.nominal_batch}) are the preset's or yours. "
            f"gpu_tier ({', '.join(TIER_NAMES)}) takes those that fit a card."
        )
    train = config.train
    chosen = [
        (f"model {config.weights.source}", "model" not in train.given),
        (f"image size {train.image_size}", "image_size" not in train.given),
        (f"nominal batch {train.nominal_batch}", "nominal_batch" not in train.given),
        (f"up to {train.workers} loaders", "workers" not in train.given),
    ]
    by, yours = ([words for words, ours in chosen if ours is which] for which in (True, False))
    parts = [f"Tier {tier} chose {', '.join(by)}"] if by else [f"Tier {tier} chose nothing"]
    return ", and you ".join([*parts, *([f"chose {', '.join(yours)}"] if yours else [])]) + "."
