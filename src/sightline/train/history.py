"""The epochs of a training, as they are kept with its checkpoints and read by everybody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sightline.documents import Epoch, Part, Seconds

Row = Mapping[str, float | None]  # of the engine's table; null is not finite


class Measured(Part):
    """What an epoch took, besides the engine's table."""

    ended_at: str  # ISO 8601, UTC, in milliseconds
    images_per_second: float
    memory_bytes: int
    spent: Seconds


def epochs(rows: Sequence[Row], measured: Sequence[Measured]) -> list[Epoch]:
    """Return what each epoch came to; `time` of a row is in seconds since the start of training, over all attempts."""
    made, before = [], 0.0
    for row, taken in zip(rows, measured, strict=True):
        time = row["time"] or before
        made.append(
            Epoch(
                epoch=int(row["epoch"] or 0),
                seconds=round(time - before, 3),
                learning_rate=row["lr/pg0"] or 0.0,
                box_loss=row.get("train/box_loss"),
                class_loss=row.get("train/cls_loss"),
                dfl_loss=row.get("train/dfl_loss"),
                val_box_loss=row.get("val/box_loss"),
                val_class_loss=row.get("val/cls_loss"),
                val_dfl_loss=row.get("val/dfl_loss"),
                precision=row.get("metrics/precision(B)") or 0.0,
                recall=row.get("metrics/recall(B)") or 0.0,
                map50=row.get("metrics/mAP50(B)") or 0.0,
                map50_95=row.get("metrics/mAP50-95(B)") or 0.0,
                **dict(taken),
            )
        )
        before = time
    return made
