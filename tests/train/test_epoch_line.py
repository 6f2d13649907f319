"""The line that a person reads after every epoch."""

from __future__ import annotations

import pytest

from sightline.train.epoch_line import duration, line
from tests.helpers import documents

ROW: dict[str, float | None] = {"epoch": 3.0, "train/box_loss": 1.23, "train/cls_loss": 0.98, "train/dfl_loss": 1.01234}


def test_it_has_losses_scores_speed_time_left_and_memory() -> None:
    [*before, last] = documents.train(epochs=3).history
    last = last.model_copy(update={"map50": 0.4124, "map50_95": 0.2306, "images_per_second": 41.26})
    last = last.model_copy(update={"memory_bytes": 1_200_000_000})
    row = ROW | {"train/box_loss": None}
    assert line(row, [*before, last], 20, may_end_early=False) == (
        "epoch 3/20 · box not finite cls 0.980 dfl 1.012 · val mAP50 0.412 mAP50-95 0.231 · 41 images/s · "
        "6 min left · 1.2 GB"  # 17 epochs of 21.5 seconds
    )
    assert " · at most 6 min left · " in line(row, [*before, last], 20, may_end_early=True)
    assert "left" not in line(row, [*before, last], 3, may_end_early=True)


def test_what_is_left_follows_from_the_last_epochs() -> None:
    history = documents.train(epochs=9).history
    slow = [epoch.model_copy(update={"seconds": 1000.0}) for epoch in history[:4]]
    assert " · 22 s left · " in line(ROW, [*slow, *history[4:]], 10, may_end_early=False)


def test_losses_are_those_that_the_network_has() -> None:
    row = {"epoch": 1.0, "train/box_loss": 1.5, "train/l1_loss": 0.25, "val/box_loss": 2.0}
    assert " · box 1.500 l1 0.250 · val mAP50" in line(row, documents.train(epochs=1).history, 2, may_end_early=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5000, "83 min"), (5400, "1 h 30 min"), (200_000, "2.3 days")],
)
def test_an_estimate_has_no_precision_that_it_does_not_deserve(seconds: float, words: str) -> None:
    assert duration(seconds) == words
