"""MLflow shows a training while it goes on, and holds each of its points exactly once, whatever was away or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets.synthetic import draw
from sightline.documents import Epoch, TrainDocument, read
from sightline.tracking import records
from tests.helpers.servers import MlflowServer

pytestmark = [pytest.mark.timeout(300), pytest.mark.server]
SMALL = ["train.epochs=4", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0", "train.gpus=0"]
Point = tuple[str, float, int, int]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server for one test alone, which may kill it."""
    server = MlflowServer(tmp_path_factory.mktemp("own-mlflow"))
    server.start()
    yield server
    server.stop()


def sightline(folder: Path, *arguments: str, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sightline", *arguments],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": address, "SIGHTLINE_WORK": str(folder / "work")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return said


def validated(folder: Path, address: str, *values: str) -> None:
    draw(folder / "data")
    options = [text for value in (*SMALL, *values) for text in ("--set", value)]
    given = ["--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *options]
    done(sightline(folder, "validate", *given, address=address))


def until(true: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def client(address: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(address)


def runs(address: str, run_id: str = "run") -> list[Any]:
    """The MLflow runs of a pipeline run."""
    mlflow = client(address)
    experiment = mlflow.get_experiment_by_name("sightline")
    chosen = f"tags.`sightline.run_id` = '{run_id}'"
    return list(mlflow.search_runs([experiment.experiment_id], chosen)) if experiment else []


def points(address: str, run: Any) -> list[Point]:
    """All points of epochs, as the server gives them out."""
    mlflow = client(address)
    names = [name for name in mlflow.get_run(run.info.run_id).data.metrics if name.startswith("train/")]
    found = (point for name in names for point in mlflow.get_metric_history(run.info.run_id, name))
    return sorted((point.key, point.value, point.timestamp, point.step) for point in found)


def kept(folder: Path) -> int:
    """The epochs that a training has in checkpoints."""
    found = (folder / "work").glob("*/checkpoints/epoch-*.json")
    return max((int(path.stem.removeprefix("epoch-")) for path in found), default=0)


def stop_when(true: Callable[[], Any], process: subprocess.Popen[str], act: Callable[[], Any]) -> None:
    until(true, process)
    act()


def of(history: list[Epoch]) -> list[Point]:
    return sorted(records.history(history))


def test_each_point_is_there_once_after_a_server_that_was_killed_and_a_training_that_was(
    tmp_path: Path, server: MlflowServer
) -> None:
    validated(tmp_path, server.address)
    first = sightline(tmp_path, "train", "--run", "run", address=server.address)
    seen = until(lambda: [found for run in runs(server.address) if (found := points(server.address, run))], first)
    assert first.poll() is None, "the points are there while it trains"
    assert {step for _, _, _, step in seen[0]} <= {1, 2, 3}
    server.stop()
    before = kept(tmp_path)
    until(lambda: kept(tmp_path) > before, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = sightline(tmp_path, "train", "--run", "run", address=server.address)
    server.start()
    done(second)
    document = read(TrainDocument, tmp_path / "run" / "train")
    assert [attempt.ending for attempt in document.attempts] == ["killed", "finished"]
    [run] = runs(server.address)
    assert points(server.address, run) == of(document.history)
    assert len(document.history) == 4
    assert (run.info.status, run.info.run_name, run.data.params["train.epochs"]) == ("RUNNING", "run", "4")
    done(sightline(tmp_path, "report", "--run", "run", address=server.address))
    [same] = runs(server.address)
    assert same.info.run_id == run.info.run_id
    assert points(server.address, run) == of(document.history)
