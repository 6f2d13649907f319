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

from sightline import report, train
from sightline.config import TrainConfig
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.datasets.synthetic import draw
from sightline.documents import Epoch, PinnedWeights, TrainDocument, ValidateDocument, read
from sightline.run_store import RunStore
from sightline.storage import open_store
from sightline.tracking import records
from sightline.train.tracker import Tracker, tracked, tracking
from tests.helpers import documents
from tests.helpers.left_in_store import leave
from tests.helpers.mlflow_doubles import not_quite_mlflow
from tests.helpers.servers import MlflowServer
from tests.helpers.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.timeout(600), pytest.mark.server]
SMALL = ["train.epochs=5", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0", "train.gpus=0"]
HELD = """
import time
from pathlib import Path

def hold(trainer):
    \"\"\"Hold the second epoch until there is a file `go`.\"\"\"
    def wait(trainer):
        while trainer.epoch and not Path("go").exists():
            time.sleep(0.05)

    trainer.add_callback("on_train_epoch_start", wait)
"""
Point = tuple[str, float, int, int]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server for one test alone, which may kill it."""
    server = MlflowServer(tmp_path_factory.mktemp("own-mlflow"))
    server.start()
    yield server
    server.stop()


def sightline(folder: Path, *arguments: str, address: str, work: str = "work") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sightline", *arguments],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": address, "SIGHTLINE_WORK": str(folder / work)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def validated(folder: Path, address: str, run: str = "run") -> None:
    draw(folder / "data")
    (folder / "held.py").write_text(HELD)
    options = [text for value in (*SMALL, "train.hook=held:hold") for text in ("--set", value)]
    given = ["--data", "data", "--weights", "yolo11n.yaml", "--run", run, *options]
    done(sightline(folder, "validate", *given, address=address))


def until(true: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 200) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.3)  # each look may be several questions to a server on the same cores
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


def of(history: list[Epoch]) -> list[Point]:
    return sorted(records.history(history))


def test_points_are_there_while_it_trains(tmp_path: Path, mlflow_server: str) -> None:
    validated(tmp_path, mlflow_server, "followed")
    process = sightline(tmp_path, "train", "--run", "followed", "--set", "train.epochs=3", address=mlflow_server)
    [run] = until(lambda: runs(mlflow_server, "followed"), process)
    seen = until(lambda: points(mlflow_server, run), process)
    assert {step for _, _, _, step in seen} == {1}
    (tmp_path / "go").touch()
    done(process)
    document = read(TrainDocument, tmp_path / "followed" / "train")
    assert points(mlflow_server, run) == of(document.history)
    assert len(document.history) == 3


@pytest.mark.slow
@pytest.mark.parametrize("work", ["work", "another machine"])
def test_each_point_is_there_once_after_a_server_that_was_killed_and_a_training_that_was(
    tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, work: str
) -> None:
    if work != "work":  # which has no more of it than was pushed
        monkeypatch.setenv("SIGHTLINE_STORE", f"s3://{request.getfixturevalue('s3')}/lab")
        monkeypatch.setenv("SIGHTLINE_RUN_ID", "run")
    validated(tmp_path, server.address)
    first = sightline(tmp_path, "train", "--run", "run", address=server.address)
    seen = until(lambda: [found for run in runs(server.address) if (found := points(server.address, run))], first)
    assert {step for _, _, _, step in seen[0]} == {1}
    server.stop()
    (tmp_path / "go").touch()
    until(lambda: kept(tmp_path) > 1, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = sightline(tmp_path, "train", "--run", "run", address=server.address, work=work)
    server.start()
    done(second)
    document = read(TrainDocument, tmp_path / "run" / "train")
    assert [attempt.ending for attempt in document.attempts] == ["killed", "finished"]
    [run] = runs(server.address)
    assert points(server.address, run) == of(document.history)
    assert len(document.history) == 5
    assert (run.info.status, run.info.run_name, run.data.params["train.epochs"]) == ("RUNNING", "run", "5")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    folders = {stage: tmp_path / "run" / stage for stage in ("validate", "train")}
    assert report.run(run_id="run", folders=folders, out=tmp_path / "run" / "report").run_id == run.info.run_id
    assert len(runs(server.address)) == 1
    assert points(server.address, run) == of(document.history)


# --- without a training: its epochs, and real servers


HISTORY = documents.train(6).history


def recorded(run_id: str, name: str | None = None, **values: Any) -> records.PipelineRun:
    return records.PipelineRun(run_id, name or run_id, "2026-11-21T08:00:00+00:00", apply(quickstart(), values))


def sent(run: records.PipelineRun, address: str, *histories: list[Epoch]) -> None:
    """Offer histories, one after the other has been sent."""
    tracker = Tracker(run, address, retry=0.2)
    for history in histories:
        tracker.offer(history)
        assert settled(tracker)
    tracker.end(30)


def settled(tracker: Tracker) -> bool:
    deadline = time.monotonic() + 60
    while tracker._done != tracker._offers and time.monotonic() < deadline:
        time.sleep(0.02)
    return tracker._done == tracker._offers


def again(first: int) -> list[Epoch]:
    """The epochs of a training that did those from `first` on a second time."""
    other = {"ended_at": "2026-11-22T09:00:00.000+00:00"}
    return [epoch.model_copy(update=other if epoch.epoch >= first else {}) for epoch in HISTORY]


def test_an_outage_is_said_once_and_leaves_no_gap_and_nothing_twice(
    mlflow_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = TcpProxy(mlflow_server)
    tracker = Tracker(recorded("outage"), proxy.address, retry=0.2)
    for count in range(1, 7):
        if count in (2, 4):
            proxy.down()
        tracker.offer(HISTORY[:count])
        if count in (2, 4):
            time.sleep(1)
            assert tracker._done < tracker._offers
            proxy.up()
        assert settled(tracker)
    tracker.end(0)
    [run] = runs(mlflow_server, "outage")
    assert points(mlflow_server, run) == of(HISTORY)
    away = "note: training goes on, but MLflow cannot be used: its epochs wait until that works again. No MLflow server"
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith(away) for line in said] == [True, False] * 2, said
    assert said[1] == said[3] == "note: MLflow can be used again, and has all epochs so far"


@pytest.mark.slow
def test_a_real_server_that_is_killed_at_any_epoch_holds_each_once(server: MlflowServer) -> None:
    for stop in range(1, 7):
        tracker = Tracker(recorded(f"stopped at {stop}"), server.address, retry=0.2)
        for count in range(1, 7):
            tracker.offer(HISTORY[:count])
            if count == stop:  # at whichever moment of the sending
                time.sleep(0.03 * stop)
                server.stop()
            elif count < stop:
                assert settled(tracker)
        server.start()
        assert settled(tracker)
        tracker.end(0)
        [run] = runs(server.address, f"stopped at {stop}")
        assert points(server.address, run) == of(HISTORY)


def test_another_process_and_the_report_send_the_same_points_into_the_same_run(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = documents.write_run(tmp_path)
    document = read(TrainDocument, folders["train"])
    given = recorded("sent twice")._replace(started_at="2026-11-21T08:00:00+00:00")
    sent(given, mlflow_server, document.history[:3], document.history[:5])
    sent(given, mlflow_server, document.history[:7])
    [run] = runs(mlflow_server, "sent twice")
    assert run.info.run_name == "sent twice"
    done = report.run(run_id="sent twice", name="tonight's run", folders=folders, out=tmp_path / "report")
    assert done.run_id == run.info.run_id
    [run] = runs(mlflow_server, "sent twice")
    assert run.info.run_name == "tonight's run", "on a cluster only the report knows it"
    assert points(mlflow_server, run) == of(document.history)


@pytest.mark.parametrize("first", [1, 3])
def test_a_training_that_was_done_again_gets_a_run_of_its_own_and_the_earlier_one_stays(
    mlflow_server: str, first: int
) -> None:
    name = f"again from {first}"
    sent(recorded(name), mlflow_server, HISTORY[:4])
    [before] = runs(mlflow_server, name)
    sent(recorded(name), mlflow_server, again(first)[:first], again(first))
    found = {run.info.run_id: run for run in runs(mlflow_server, name)}
    assert len(found) == 2
    assert points(mlflow_server, found.pop(before.info.run_id)) == of(HISTORY[:4])
    [later] = found.values()
    assert points(mlflow_server, later) == of(again(first))
    assert records.find(client(mlflow_server), name, "sightline") == later.info.run_id


def test_a_step_back_within_a_training_opens_a_run_too(mlflow_server: str) -> None:
    """A checkpoint that is damaged when a crash is over is done again, after its epoch was sent."""
    sent(recorded("back"), mlflow_server, HISTORY[:4], again(4)[:4], again(4))
    held = [points(mlflow_server, run) for run in runs(mlflow_server, "back")]
    assert sorted(held, key=len) == [of(HISTORY[:4]), of(again(4))]


def test_a_recovery_to_smaller_images_contradicts_no_parameter(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    given = {"train.recover": "all", "train.image_size": 640}
    config = apply(quickstart(), given)
    folders = documents.write_run(tmp_path, config=config)
    smaller = config.train.model_copy(update={"image_size": 320})
    read(TrainDocument, folders["train"]).model_copy(update={"config": smaller}).write(folders["train"])
    sent(recorded("smaller", **given), mlflow_server, read(TrainDocument, folders["train"]).history)
    [run] = runs(mlflow_server, "smaller")
    assert run.data.params["train.recover"] == "all"
    assert report.run(run_id="smaller", folders=folders, out=tmp_path / "report").run_id == run.info.run_id
    [run] = runs(mlflow_server, "smaller")
    assert run.data.params["train.image_size"] == "320"


def test_a_wrong_address_costs_a_notice_and_no_time(
    closed_address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    began = time.monotonic()
    with tracking(recorded("wrong"), TrainConfig(gpus=0)) as tracker:
        assert tracker
        for count in (1, 2, 3):
            tracker.offer(HISTORY[:count])
            time.sleep(0.2)
    assert time.monotonic() - began < 5
    [said] = capsys.readouterr().err.splitlines()
    assert f"No MLflow server answers at {closed_address}: connection refused." in said


@pytest.mark.parametrize(
    "setting",
    [{}, {"MLFLOW_TRACKING_URI": "sqlite:////lab/mlflow.db"}, {"SIGHTLINE_TRACKING": "off"}],
    ids=["embedded", "a database", "off"],
)
def test_without_a_server_nothing_is_sent_before_the_report(
    setting: dict[str, str], closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"MLFLOW_TRACKING_URI": closed_address} | setting if setting else {}).items():
        monkeypatch.setenv(name, value)
    with tracking(recorded("none"), TrainConfig(gpus=0)) as tracker:
        assert tracker is None


def test_a_training_that_is_taken_from_an_earlier_one_sends_nothing(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        def finished(self) -> TrainDocument:
            return documents.train()

        def keep(self) -> None:
            raise AssertionError("it is kept already")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    document = train.run(
        snapshot=documents.SNAPSHOT,
        config=TrainConfig(gpus=0),
        weights=PinnedWeights(uri="s3://nowhere/yolo11n.pt", sha256="0e" * 32),
        code="c0" * 32,
        out=tmp_path / "out",
        results=Elsewhere(),
        recorded=recorded("taken"),
    )
    assert document == documents.train()
    assert runs(mlflow_server, "taken") == []


def test_in_a_pipeline_validate_has_left_what_the_run_is_opened_with(
    closed_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = apply(quickstart(), {"register.experiment": "cells"})
    run = RunStore(open_store(str(tmp_path / "store")), "key")
    assert tracked(run, "job") is None, "no server is set"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    assert tracked(run, "job") is None, "nothing is left"
    folders = leave(run, tmp_path / "made", ["validate"], config=config)
    began = read(ValidateDocument, folders["validate"]).started_at
    assert tracked(run, "job") == records.PipelineRun("job", "job", began, config)


INTERRUPTED = """
import sys
from sightline.config import TrainConfig
from sightline.config.presets import quickstart
from sightline.runtime.stage_frame import stop_on_signals
from sightline.tracking.records import PipelineRun
from sightline.train.tracker import tracking
from tests.helpers import documents

stop_on_signals()
run = PipelineRun("mine", "mine", "2026-11-21T08:00:00+00:00", quickstart())
try:
    with tracking(run, TrainConfig(gpus=0)) as tracker:
        tracker.offer(documents.train().history)
        print("offered", flush=True)
        import threading
        threading.Event().wait(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    "after", [1.0, pytest.param(0.0, marks=pytest.mark.slow), pytest.param(9.0, marks=pytest.mark.slow)]
)
def test_a_process_that_is_stopped_waits_for_no_server(after: float) -> None:
    """Whether MLflow is still being loaded by then, or a server that hangs is asked."""
    with not_quite_mlflow("hang") as address:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED],
            env=os.environ | {"MLFLOW_TRACKING_URI": address},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "offered\n"
        time.sleep(after)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - began < 1
        process.stdout.close()
