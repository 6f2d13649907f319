"""When the silence of a training's processes is a hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.documents.signs import Heartbeat
from sightline.errors import ConfigError
from sightline.train import heartbeats
from sightline.train.heartbeats import Patience, idle


def beat(time: float = 0.0, phase: str = "train", slowest: float = 0.0, rank: int = 0) -> Heartbeat:
    return Heartbeat(time=time, rank=rank, pid=7, phase=phase, epoch=3, step=17, slowest=slowest, images=68)


@pytest.mark.parametrize(
    ("beats", "seconds"),
    [
        ([], 600),
        ([beat(phase="setup")], 600),
        ([beat(phase="setup", slowest=2.0)], 600),
        ([beat()], 600),
        ([beat(slowest=2.0)], 120),
        ([beat(slowest=6.5)], 130),
        ([beat(phase="val", slowest=2.0), beat(phase="setup", rank=1)], 120),
        ([beat(slowest=2.0), beat(slowest=30.0, rank=1)], 600),
    ],
    ids=["nothing", "setup", "scan", "before the first step", "steps", "slow", "rank 0 validates", "slowest of all"],
)
def test_a_training_may_take_two_minutes_or_twenty_of_its_slowest_steps(beats: list[Heartbeat], seconds: float) -> None:
    assert Patience().allowed(beats) == seconds


def test_the_environment_may_say_how_long_silence_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(heartbeats.VARIABLE, "7.5")
    assert heartbeats.patience().allowed([beat(slowest=30.0)]) == 7.5
    assert heartbeats.patience().allowed([]) == 600, "models are built, and that takes longer than a step"
    monkeypatch.setenv(heartbeats.VARIABLE, "900")
    assert heartbeats.patience().allowed([]) == 900
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(heartbeats.VARIABLE, wrong)
        with pytest.raises(ConfigError, match=f"SIGHTLINE_TRAIN_SILENCE: got '{wrong}', expected the seconds"):
            heartbeats.patience()
    monkeypatch.delenv(heartbeats.VARIABLE)
    assert heartbeats.patience() == Patience()


def test_the_process_that_made_progress_last_counts() -> None:
    assert idle([beat(100.0), beat(130.0, rank=1)], since=90.0, now=200.0) == 70.0
    assert idle([], since=90.0, now=200.0) == 110.0
    assert idle([beat(100.0)], since=150.0, now=200.0) == 50.0, "all were woken up at 150"


def test_heartbeats_are_read_in_order_of_rank_and_a_broken_one_is_none(tmp_path: Path) -> None:
    for rank in (10, 2):
        (tmp_path / f"heartbeat-{rank}.json").write_text(beat(rank=rank).model_dump_json())
    (tmp_path / "heartbeat-3.json").write_text("{")
    found = heartbeats.read(tmp_path)
    assert [each.rank for each in found] == [2, 10]
    assert str(found[0]) == "process 2: train, epoch 3, step 17"
