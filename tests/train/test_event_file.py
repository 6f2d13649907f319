"""The event file of a training: one point an epoch, whatever earlier attempts wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.train.event_file import EventFile, check
from sightline.train.history import Measured
from tests.helpers.epochs import MEASURED
from tests.helpers.event_files import points


def row(epoch: int, loss: float | None) -> dict[str, float | None]:
    return {"epoch": float(epoch), "time": 9.0 * epoch, "train/box_loss": loss, "metrics/mAP50(B)": 0.5, "lr/pg0": 0.01}


def measured(epoch: int) -> Measured:
    return MEASURED.model_copy(
        update={"ended_at": f"2026-11-21T08:00:{epoch:02}.500+00:00", "memory_bytes": 2_000_000_000}
    )


def test_each_epoch_is_a_point_at_the_moment_when_it_ended(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    made = EventFile(tmp_path, "attempt-1")
    made.begin([], [])
    made.add(row(1, 2.5), measured(1))
    made.add(row(2, None), measured(2))  # a loss that is not finite
    made.add(row(3, 1.5), measured(3))
    assert points(tmp_path) == {
        "train/box_loss": [(1, 2.5), (3, 1.5)],
        "metrics/mAP50(B)": [(1, 0.5), (2, 0.5), (3, 0.5)],
        "lr/pg0": [(step, pytest.approx(0.01)) for step in (1, 2, 3)],
        "speed/images_per_second": [(1, 40.0), (2, 40.0), (3, 40.0)],
        "memory/gigabytes": [(1, 2.0), (2, 2.0), (3, 2.0)],
    }
    [path] = tmp_path.iterdir()
    times = [event.wall_time for event in EventFileLoader(str(path)).Load() if event.summary.value]
    assert times == [1795248001.5, 1795248002.5, 1795248003.5]


def test_an_attempt_writes_all_epochs_again_and_what_came_after_the_checkpoint_is_gone(tmp_path: Path) -> None:
    first = EventFile(tmp_path / "run", "attempt-1")
    first.begin([], [])
    for epoch in (1, 2, 3):
        first.add(row(epoch, float(epoch)), measured(epoch))
    (tmp_path / "of-another-run").hardlink_to(first.path)  # as runs share the files of one training
    before = first.path.read_bytes()
    second = EventFile(tmp_path / "run", "attempt-2")
    second.begin([row(1, 1.0), row(2, 2.0)], [measured(1), measured(2)])  # the last checkpoint is that of epoch 2
    second.add(row(3, 33.0), measured(3))
    assert points(tmp_path / "run")["train/box_loss"] == [(1, 1.0), (2, 2.0), (3, 33.0)]
    assert [path.name for path in (tmp_path / "run").iterdir()] == [second.path.name]
    assert (tmp_path / "of-another-run").read_bytes() == before


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as Python marks what cannot be imported
    with pytest.raises(ConfigError, match=r"tensorboard is not installed here\. .* 'train', or set"):
        check()
