"""A training that is killed and goes on equals one that was never interrupted, and is found by what it trains."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from sightline.datasets.synthetic import draw
from sightline.documents import TrainDocument, read
from sightline.train.history import Measured
from tests.helpers.event_files import points

pytestmark = pytest.mark.timeout(300)
OPTIONS = [
    *("train.epochs=3", "train.image_size=64", "train.batch=16", "train.nominal_batch=64", "train.warmup_epochs=1"),
    *("train.augment.mixup=0.2", "train.augment.close_mosaic=1"),
]


def sightline(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SIGHTLINE_CACHE": str(folder / "cache"), "SIGHTLINE_WORK": str(folder / "work")}
    return subprocess.Popen(
        [sys.executable, "-m", "sightline", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
def test_time_counts_over_all_attempts_and_with_more_of_it_a_training_goes_on(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    options = [text for value in OPTIONS for text in ("--set", value)]
    for run in ("whole", "killed"):
        start = ["validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", f"{run}/run"]
        done(sightline(tmp_path, *start, *options))
    done(sightline(tmp_path, "train", "--run", "whole/run"))
    first = sightline(tmp_path, "train", "--run", "killed/run", "--set", "train.max_hours=1")
    deadline = time.monotonic() + 200
    while not list((tmp_path / "work").glob("*/checkpoints/epoch-0001.json")):
        assert time.monotonic() < deadline, first.poll()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "work", kept)
    # The attempt before has used up the time: nothing more is trained.
    done(sightline(tmp_path, "train", "--run", "killed/run", "--set", "train.max_hours=0.0001"))
    document = read(TrainDocument, tmp_path / "killed" / "run" / "train")
    assert (document.stopped_by, document.epochs_completed) == ("max_hours", document.attempts[0].epochs)
    # Without a limit the same checkpoints lead to the weights of a training that never had one.
    shutil.rmtree(tmp_path / "work")
    shutil.move(kept, tmp_path / "work")
    done(sightline(tmp_path, "train", "--run", "killed/run"))
    assert read(TrainDocument, tmp_path / "killed" / "run" / "train").stopped_by == "epochs"
    assert result(tmp_path / "killed" / "run") == result(tmp_path / "whole" / "run")


def result(run: Path) -> tuple[Any, ...]:
    """Return all that must be equal: the scores of each epoch, and a digest of the weights in each process."""
    document = read(TrainDocument, run / "train")
    history = [epoch.model_dump(exclude={"seconds", *Measured.model_fields}) for epoch in document.history]
    weights = re.findall(r"ends with weights (\w+)", (run / "train" / "train.log").read_text(errors="replace"))
    return history, document.best, sorted(weights)


@pytest.mark.parametrize(
    "values",
    [
        ["train.workers=2"],
        pytest.param(["train.workers=0"], marks=pytest.mark.slow),
        pytest.param(["train.workers=1", "train.cpu_processes=2"], marks=pytest.mark.slow),
    ],
    ids=["loaders", "no loaders", "two processes"],
)
def test_a_training_killed_and_resumed_has_the_same_weights_as_one_that_was_not(
    tmp_path: Path, values: list[str]
) -> None:
    draw(tmp_path / "data")
    options = [text for value in (*OPTIONS, *values) for text in ("--set", value)]
    for run in ("whole", "killed"):
        done(
            sightline(
                tmp_path, "validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", f"{run}/run", *options
            )
        )
    done(sightline(tmp_path, "train", "--run", "whole/run"))
    first = sightline(tmp_path, "train", "--run", "killed/run")
    kept = tmp_path / "work"
    deadline = time.monotonic() + 100
    while not list(kept.glob("*/checkpoints/epoch-0001.json")):
        assert time.monotonic() < deadline, first.poll()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done(sightline(tmp_path, "train", "--run", "killed/run"))
    document = read(TrainDocument, tmp_path / "killed" / "run" / "train")
    attempts = document.attempts
    assert [(attempt.ending, attempt.epochs) for attempt in attempts] in (
        [("killed", 1), ("finished", 3)],
        [("killed", 2), ("finished", 3)],
    )
    assert attempts[1].resumed_from == attempts[0].epochs
    for epoch in document.history:  # of both attempts
        assert epoch.spent.total == pytest.approx(epoch.seconds, rel=0.03, abs=0.02)
    took = document.time
    assert took.spent.total == pytest.approx(sum(epoch.seconds for epoch in document.history), rel=0.03)
    assert took.lost_seconds == pytest.approx(sum(attempt.seconds_lost for attempt in attempts), abs=0.01)
    accounted = took.spent.total + took.lost_seconds + took.outside_seconds
    assert accounted == pytest.approx(sum(attempt.seconds for attempt in attempts), abs=0.01)
    assert result(tmp_path / "killed" / "run") == result(tmp_path / "whole" / "run")
    assert not list(kept.iterdir())  # nothing is left once it has succeeded
    for run in ("whole", "killed"):
        is_whole(tmp_path / run / "run" / "train")
    for name in ("train.jpg", "val.jpg"):  # the first is that of the attempt before
        drawn = [(tmp_path / run / "run" / "train" / "sheets" / name).read_bytes() for run in ("whole", "killed")]
        assert drawn[0] == drawn[1]


def is_whole(folder: Path) -> None:
    """What people look at has one row or point an epoch, however many attempts there were."""
    document = read(TrainDocument, folder)
    assert (document.table, document.tensorboard) == ("results.csv", "tensorboard")
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    [events] = (folder / "tensorboard").iterdir()
    assert events.name.endswith(f".attempt-{len(document.attempts)}")
    curves = points(folder / "tensorboard")
    assert set(curves) == {*rows[0], "speed/images_per_second", "memory/gigabytes"} - {"epoch", "time"}
    assert all([step for step, _ in curve] == [1, 2, 3] for curve in curves.values())
    for tag in ("train/box_loss", "metrics/mAP50(B)", "lr/pg0"):
        assert [value for _, value in curves[tag]] == pytest.approx([float(row[tag]) for row in rows], rel=1e-5)
    line = re.compile(r"^epoch (\d)/3 · box .* · val mAP50 .* images/s .* [GM]B$", re.MULTILINE)
    said = line.findall((folder / "train.log").read_text())  # of the last command
    assert said == ["1", "2", "3"][document.attempts[-1].resumed_from :]
    assert document.sheets == ["sheets/train.jpg", "sheets/val.jpg"]
    for name in document.sheets:
        assert cv2.imread(str(folder / name)).shape[:2] == (26 + 4 * 326, 6 + 4 * 326)
