"""The line of an epoch, for a training's log, a pod's log and the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.documents import Epoch
from sightline.runtime.machine import size_text
from sightline.train.history import Row

TRAIN, LOSS = "train/", "_loss"  # around the name of a loss in the engine's table
RECENT = 5  # epochs whose mean time tells how long the others take


def line(row: Row, history: Sequence[Epoch], epochs: int, *, may_end_early: bool) -> str:
    """Return the line of the last epoch of `history`, out of `epochs`; `row` is its row in the engine's table.

    Losses are those that the network has: yolo26 has l1 in the place of dfl. What time is left follows from the mean of
    the last epochs; it is the most where patience or a limit of time `may_end_early`.
    """
    last, speed = history[-1], history[-1].images_per_second
    losses = {name[len(TRAIN) : -len(LOSS)]: row[name] for name in row if name.startswith(TRAIN)}
    parts = [
        f"epoch {last.epoch}/{epochs}",
        " ".join(f"{name} {'not finite' if loss is None else f'{loss:.3f}'}" for name, loss in losses.items()),
        f"val mAP50 {last.map50:.3f} mAP50-95 {last.map50_95:.3f}",
        f"{speed:.{1 if speed < 10 else 0}f} images/s",
    ]
    if coming := epochs - last.epoch:
        recent = history[-RECENT:]
        seconds = coming * sum(epoch.seconds for epoch in recent) / len(recent)
        parts.append(f"{'at most ' if may_end_early else ''}{duration(seconds)} left")
    return " · ".join([*parts, size_text(last.memory_bytes)])


def duration(seconds: float) -> str:
    """Say a duration that is only estimated, without a precision that it does not have."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 24 else f"{hours / 24:.1f} days"
