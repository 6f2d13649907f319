"""What bound a training: by stated limits, without what first epochs and lost attempts distort, and what to change."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.documents import Attempt, AttemptSettings, Epoch, Seconds, Time
from sightline.train import bottleneck
from sightline.train.bottleneck import Circumstances

SETTINGS = AttemptSettings(batch=16, accumulation=1, workers=2, cache="off", image_size=640, lr0=0.001)
STEADY = {"data": 0.5, "transfer": 0.5, "compute": 16.0, "validation": 2.0, "checkpoint": 0.5, "other": 0.5}


def seconds(**changed: float) -> Seconds:
    return Seconds(**STEADY | changed)


def epoch(number: int, spent: Seconds) -> Epoch:
    losses = dict.fromkeys(("box_loss", "class_loss", "dfl_loss", "val_box_loss", "val_class_loss", "val_dfl_loss"))
    scores = dict.fromkeys(("precision", "recall", "map50", "map50_95"), 0.5)
    return Epoch(
        epoch=number,
        seconds=spent.total,
        learning_rate=0.001,
        **losses,
        **scores,
        ended_at="2026-11-21T08:00:00.000+00:00",
        images_per_second=1.0,
        memory_bytes=1,
        spent=spent,
    )


def attempt(number: int = 1, **values: Any) -> Attempt:
    known = {"exit_code": 0, "reason": "finished", "seconds": 100.0, "settings": SETTINGS}
    return Attempt(number=number, **known | values)


def case(settings: dict[str, Any] | None = None, cores: int = 2, **config: Any) -> Circumstances:
    return Circumstances(
        TrainConfig(**config), SETTINGS.model_copy(update=settings or {}), cores, {"train": 800, "val": 400}
    )


def found(spent: Seconds, of: Circumstances | None = None) -> Time:
    return bottleneck.time([epoch(1, spent), epoch(2, spent)], [attempt()], of or case())


@pytest.mark.parametrize(
    ("changed", "bound"),
    [
        ({}, "compute"),
        ({"data": 3.4}, "compute"),  # 3.9 of 19.9 seconds
        ({"data": 3.6}, "data"),  # 4.1 of 20.1
        ({"transfer": 4.0}, "data"),
        ({"validation": 7.6}, "compute"),  # 7.6 of 25.6
        ({"validation": 8.0}, "validation"),  # 8.0 of 26
        ({"data": 9.0, "validation": 13.0}, "validation"),  # both are over: the one that took longer
        ({"data": 13.0, "validation": 13.0}, "data"),
        ({"checkpoint": 2.5}, "checkpoint"),
        ({"other": 6.0}, "other"),
        (dict.fromkeys(STEADY, 0.0), "compute"),
    ],
)
def test_the_verdict_follows_the_limits(changed: dict[str, float], bound: str) -> None:
    assert found(seconds(**changed)).bound == bound


def test_the_reason_has_the_share_and_the_limit() -> None:
    judged = found(seconds(data=15.5))
    assert judged.verdict == (
        "data-bound: waiting for images and moving them took 50% of the training steps, and 20% is the limit"
    )
    assert sum(judged.shares.values()) == pytest.approx(1, abs=0.001)
    assert judged.shares["data"] == pytest.approx(15.5 / 35, abs=0.0001)


def test_first_epochs_of_attempts_count_in_the_sums_and_not_in_the_verdict() -> None:
    slow = seconds(data=60.0)  # loaders start, and decode what is cached from then on
    history = [epoch(number, slow if number in (1, 3) else seconds()) for number in range(1, 5)]
    attempts = [
        attempt(1, seconds=150.0, seconds_lost=30.0, ending="killed", epochs=2),
        attempt(2, seconds=140.0, resumed_from=2, epochs=4),
    ]
    judged = bottleneck.time(history, attempts, case())
    assert (judged.bound, judged.judged_epochs) == ("compute", 2)
    assert judged.spent.data == 121.0
    assert judged.spent.total == sum(each.seconds for each in history)
    assert judged.lost_seconds == 30.0
    assert judged.outside_seconds == pytest.approx(150 + 140 - 30 - judged.spent.total)
    alone = bottleneck.time(history[:1], attempts[:1], case())
    assert (alone.bound, alone.judged_epochs) == ("data", 1), "a single epoch is all that there is"


def test_gpu_seconds_are_of_all_attempts_and_energy_only_where_all_of_it_is_known() -> None:
    attempts = [attempt(1, energy_joules=1000.5, seconds_lost=50.0), attempt(2, energy_joules=2000.0)]
    history = [epoch(1, seconds())]
    gpus = case(gpus=2, nodes=2, batch=16)
    judged = bottleneck.time(history, attempts, gpus)
    assert (judged.attempts_gpu_seconds, judged.energy_joules) == (4 * 200.0, 3000.5)
    assert bottleneck.time(history, [attempts[0], attempt(2)], gpus).energy_joules is None
    assert bottleneck.time(history, attempts, case()).attempts_gpu_seconds is None


DATA = seconds(data=20.0)


def test_more_loaders_are_advised_only_where_there_are_cores_for_them() -> None:
    assert found(DATA, case(cores=8)).advice == (
        "Raise train.workers from 2 to 8, which 8 cores allow, and keep decoded images with train.cache=ram, or disk "
        "where memory is short."
    )
    shared = found(DATA, case(cores=8, cpu_processes=2, cache="ram", settings={"cache": "ram"}))
    assert shared.advice == "Raise train.workers from 2 to 4, which 8 cores for 2 processes allow."
    assert "train.workers" not in found(DATA, case(cores=2)).advice
    used_up = found(DATA, case(cores=2, cache="disk", settings={"cache": "disk"})).advice
    assert used_up == "Train where there are more cores than 2, or with smaller image files or less augmentation."


def test_what_a_recovery_took_away_is_not_asked_back_without_the_memory_for_it() -> None:
    less = found(DATA, case(cores=16, workers=8, settings={"workers": 2})).advice
    assert less.startswith("Give it more memory, for want of which 2 loaders are left of 8, and keep decoded images")
    no_room = found(DATA, case(cores=2, cache="ram")).advice
    assert no_room == "Give it memory for train.cache=ram, for which there was no room."


def test_slow_copies_are_no_matter_of_loaders() -> None:
    assert "connection" in found(seconds(transfer=20.0), case(cores=64)).advice


def test_the_other_verdicts_say_what_to_change() -> None:
    scored = found(seconds(validation=30.0), case(cores=8)).advice
    assert scored == (
        "Move images from val to train: 400 are scored after each epoch over 800; or raise train.workers from 2 to 8, "
        "if loading them is slow."
    )
    assert found(seconds(validation=30.0)).advice.endswith("over 800.")
    assert "SIGHTLINE_WORK" in found(seconds(checkpoint=30.0)).advice
    assert "train.hook (mine:slow)" in found(seconds(other=30.0), case(hook="mine:slow")).advice
    assert found(seconds(other=30.0)).verdict.startswith("bound by callbacks: ")
    assert found(seconds()).advice.startswith("Train on a GPU")
    assert "train.amp=auto" in found(seconds(), case(gpus=1, amp="off")).advice
    assert "train.amp" not in found(seconds(), case(gpus=1)).advice
