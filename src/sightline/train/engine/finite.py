"""Whether a training still computes numbers."""

from __future__ import annotations

from typing import Any

from sightline.train import divergence


class NotFinite(RuntimeError):
    """A loss or a weight is NaN, infinite, or too large for the checkpoint that is exported."""


def check(trainer: Any, *, weights: bool) -> None:
    """Raise NotFinite for a loss, or live or averaged weights, that are not finite or too large.

    With mixed precision a single loss may overflow in a healthy training: then the scaler skips the step. Two in a row
    that are looked at are no accident.
    """
    scaled = trainer.scaler.is_enabled()
    if not weights:
        trainer.overflows = 0 if bool(trainer.loss.isfinite()) else trainer.overflows + 1
        if trainer.overflows > scaled:
            raise NotFinite(f"the loss is {float(trainer.loss)} in epoch {trainer.epoch + 1}")
        return
    if not scaled:
        waiting = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
        if not all(bool(gradient.isfinite().all()) for gradient in waiting.values()):
            raise NotFinite(f"a gradient is NaN or infinite after epoch {trainer.epoch + 1}")
    moments = [
        value for kept in trainer.optimizer.state.values() for value in kept.values() if hasattr(value, "isfinite")
    ]
    if not all(bool(value.isfinite().all()) for value in moments):
        raise NotFinite(f"the optimizer's state is NaN or infinite after epoch {trainer.epoch + 1}")
    for what, module in (("weights", trainer.model), ("averaged weights", trainer.ema.ema)):
        if divergence.are_broken(module.state_dict()):
            raise NotFinite(f"{what} are NaN, infinite or beyond float16 after epoch {trainer.epoch + 1}")
