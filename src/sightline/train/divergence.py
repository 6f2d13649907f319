"""Detects a training that diverged: the engine clips what overflows, continues, and ends as if all were well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.config import TrainConfig
from sightline.documents import Epoch

LARGEST = 65504.0  # of float16, in which checkpoints are saved: the engine clips what is larger, and NaN becomes 0


def are_broken(state: Mapping[str, Any]) -> bool:
    """Return whether any weight is NaN, infinite, or beyond what a checkpoint can hold."""
    return any(not (value.abs() < LARGEST).all() for value in state.values() if value.is_floating_point())


def found_nothing(best: Epoch) -> bool:
    """Return whether the best epoch found nothing and had no usable loss: not finite, or exactly 0 in every term.

    Only in training does a missing loss count as not finite: on val, mixed precision overflows in a healthy one too.
    """
    training = (best.box_loss, best.class_loss, best.dfl_loss)
    val = (best.val_box_loss, best.val_class_loss, best.val_dfl_loss)
    return best.map50 == 0 and (not any(training) or all(loss == 0 for loss in val))


def reason(config: TrainConfig, what: str) -> str:
    """Say which settings made the training diverge, as `what` shows."""
    if config.optimizer == "auto":
        return (
            f"train.optimizer: got auto, and the training diverged with the rate that it chose: {what}. Name an "
            "optimizer (AdamW, SGD) with a lower train.lr0"
        )
    return (
        f"train.lr0: got {config.lr0:g} with {config.optimizer} and train.momentum {config.momentum:g}, and the "
        f"training diverged: {what}. Lower train.lr0 (usual are 0.01 with SGD and MuSGD, 0.001 with Adam and AdamW), "
        "or train.momentum"
    )
