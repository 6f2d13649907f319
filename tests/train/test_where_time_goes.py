"""Where the time of real trainings goes: what a hook slows down is found, with the seconds that it counts itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.datasets.synthetic import draw
from sightline.documents import TrainDocument, read

pytestmark = pytest.mark.timeout(300)
SMALL = ["train.epochs=2", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0", "train.workers=0"]
HOOKS = """
import json, os, time
from pathlib import Path

truth = [0.0]


def keep(trainer):
    trainer.add_callback("on_train_end", lambda trainer: Path("truth.json").write_text(json.dumps(truth)))


def data(trainer):
    plain = trainer.datasets["train"]

    class Slow(plain):
        def __getitem__(self, index):
            begin = time.perf_counter()
            time.sleep(0.025)
            found = super().__getitem__(index)
            truth[-1] += time.perf_counter() - begin
            return found

    trainer.datasets["train"] = Slow
    trainer.add_callback("on_train_epoch_end", lambda trainer: truth.append(0.0))
    keep(trainer)


def data_of_the_second(trainer):
    if os.environ["RANK"] == "1":
        data(trainer)
        trainer.add_callback("on_train_epoch_end", lambda trainer: Path("truth.json").write_text(json.dumps(truth)))


def validation(trainer):
    def wait(validator):
        time.sleep(6.0)
        truth[-1] += 6.0

    trainer.add_callback("on_val_batch_start", wait)
    trainer.add_callback("on_val_end", lambda validator: truth.append(0.0))
    keep(trainer)


def callbacks(trainer):
    def wait(trainer):
        time.sleep(0.5)
        truth[-1] += 0.5

    trainer.add_callback("on_train_batch_end", wait)
    trainer.add_callback("on_train_epoch_end", lambda trainer: truth.append(0.0))
    keep(trainer)
"""


def slowed(command: Callable, folder: Path, hook: str, *more: str) -> tuple[TrainDocument, list[float]]:
    """Train with a hook; returns the document, and the seconds by which the hook slowed each epoch."""
    draw(folder / "data")
    (folder / "hooks.py").write_text(HOOKS)
    options = [text for value in (*SMALL, f"train.hook=hooks:{hook}", *more) for text in ("--set", value)]
    done = command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = command("train", "--run", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    document = read(TrainDocument, folder / "run" / "train")
    assert f"{document.time.verdict}. {document.time.advice}" in done.stdout
    truth = json.loads((folder / "truth.json").read_text())
    assert truth[1] > 0
    return document, truth[:2]


def assert_adds_up(document: TrainDocument) -> None:
    for epoch in document.history:
        assert epoch.spent.total == pytest.approx(epoch.seconds, rel=0.03, abs=0.02)
    time, attempts = document.time, document.attempts
    assert time.spent.total == pytest.approx(sum(epoch.seconds for epoch in document.history), rel=0.03)
    accounted = time.spent.total + time.lost_seconds + time.outside_seconds
    assert accounted == pytest.approx(sum(attempt.seconds for attempt in attempts), abs=0.01)
    assert (time.attempts_gpu_seconds, time.energy_joules) == (None, None)


def test_a_slow_loader_makes_a_training_data_bound_by_as_many_seconds(command: Callable, tmp_path: Path) -> None:
    document, truth = slowed(command, tmp_path, "data")
    assert_adds_up(document)
    for epoch, seconds in zip(document.history, truth, strict=True):
        assert seconds >= 144 * 0.025
        assert seconds <= epoch.spent.data <= 1.1 * seconds + 0.3
    assert (document.time.bound, document.time.judged_epochs) == ("data", 1)
    assert "train.workers from 0 to" in document.time.advice


@pytest.mark.slow
def test_a_slow_validation_makes_a_training_validation_bound(command: Callable, tmp_path: Path) -> None:
    document, truth = slowed(command, tmp_path, "validation")
    assert_adds_up(document)
    for epoch, seconds in zip(document.history, truth, strict=True):
        assert 6.0 <= seconds <= epoch.spent.validation <= seconds + 3.0
    assert document.time.bound == "validation"
    assert "Move images from val to train: 32 are scored after each epoch over 144" in document.time.advice


@pytest.mark.slow
def test_the_time_of_a_hooks_callbacks_is_neither_data_nor_compute(command: Callable, tmp_path: Path) -> None:
    document, truth = slowed(command, tmp_path, "callbacks")
    assert_adds_up(document)
    for epoch, seconds in zip(document.history, truth, strict=True):
        assert seconds <= epoch.spent.other <= seconds + 1.0
    assert document.time.bound == "other"
    assert "train.hook (hooks:callbacks)" in document.time.advice


@pytest.mark.slow
def test_the_slowest_loader_of_all_processes_counts(command: Callable, tmp_path: Path) -> None:
    document, truth = slowed(command, tmp_path, "data_of_the_second", "train.cpu_processes=2")
    assert_adds_up(document)
    for epoch, seconds in zip(document.history, truth, strict=True):
        assert seconds >= 72 * 0.025
        assert seconds <= epoch.spent.data <= 1.1 * seconds + 0.3
