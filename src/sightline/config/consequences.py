"""What one setting means for others: here the values that a person gives count, not those of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.config.augmentation import MIXES
from sightline.config.train_config import TrainConfig

CHOSEN = ("train.lr0", "train.momentum", "train.warmup_bias_lr")  # what the engine's auto sets by itself


def chosen_by_auto(train: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Refuse values that the optimizer `auto` would put aside; `values` are those that a person has given."""
    if train["optimizer"] != "auto":
        return []
    return [
        f"{key}: got {values[key]}, but train.optimizer auto chooses it: leave it out, or name the optimizer"
        for key in CHOSEN
        if values.get(key) is not None
    ]


def without_mixes(train: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """End a preset's mosaic, mixup and cutmix with `rect`; those that a person has given are refused later."""
    if str(train["rect"]).lower() in ("true", "1", "on", "t", "yes", "y"):  # as pydantic reads a switch
        train["augment"].update({name: 0.0 for name in MIXES if f"train.augment.{name}" not in values})


def notes(config: TrainConfig, *, epochs: int, cut_short: bool) -> list[str]:
    """Return what settings meant for a training of so many epochs beyond themselves, for its document and page."""
    found = []
    if config.rect:
        found.append(
            "train.rect: in every epoch images came in the order of their shapes, without shuffling, mosaic, mixup and "
            "cutmix."
        )
    if config.single_class:
        found.append("train.single_class: all classes of the snapshot counted as one.")
    if cut_short:
        found.append(
            f"train.max_hours: {config.max_hours:g} hours were over after epoch {epochs} of {config.epochs}, before "
            "the learning rate had fallen to its end. This model stands for no other training."
        )
    return found
