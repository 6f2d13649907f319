"""The MLflow run: one for each pipeline run, complete, and a clear word when no server answers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.artifacts import EvaluateDocument, ReportDocument, read
from sightline.errors import ConfigError, TrackingError
from sightline.report import tracking
from sightline.result import SummaryDocument

from .documents import train, write_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture
def nobody() -> Iterator[str]:
    """Address at which nobody listens; the port is held, so that nobody comes."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri)


@pytest.mark.parametrize("where", ["embedded", "server"])
def test_recording_twice_gives_one_run_with_one_history(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if where == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_server"))
    folders = write_run(tmp_path)
    first = report.run(run_id="twice", folders=folders, out=tmp_path / "report", started_at="2026-11-21T08:00:00Z")
    second = report.run(run_id="twice", folders=folders, out=tmp_path / "report", started_at="2026-11-21T08:00:00Z")
    assert first.run_id == second.run_id
    assert read(ReportDocument, tmp_path / "report") == second

    mlflow = client(tracking.tracking_uri())
    experiment = mlflow.get_experiment_by_name("sightline")
    assert len(mlflow.search_runs([experiment.experiment_id], "tags.`sightline.run_id` = 'twice'")) == 1
    run = mlflow.get_run(first.run_id)
    losses = mlflow.get_metric_history(first.run_id, "train/box_loss")
    assert [(point.step, point.value) for point in losses] == [(e.epoch, e.box_loss) for e in train().history]
    assert len(mlflow.get_metric_history(first.run_id, "test/map50")) == 1
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/map50"] == 0.826
    assert run.data.metrics["test/class/3-trophozoite _script_alert_1___script_/map50"] == 0.641
    assert "test/map50_95/large" not in run.data.metrics
    assert not any("gametocyte" in name for name in run.data.metrics)
    assert run.data.params["train.epochs"] == "20"
    assert "gate.min_recall" not in run.data.params
    assert all("." in name for name in run.data.params)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("sightline.")}
    assert tags["sightline.status"] == "accepted"
    assert tags["sightline.verdict"] == "register"
    assert tags["sightline.snapshot"] == "5f" * 32
    assert tags["sightline.onnx_sha256"] == read(EvaluateDocument, folders["evaluate"]).onnx_sha256
    assert {item.path for item in mlflow.list_artifacts(first.run_id)} == {"documents", "report.html", "summary.json"}
    assert {item.path for item in mlflow.list_artifacts(first.run_id, "documents")} == {
        f"documents/{name}.json" for name in ("validate", "train", "export", "evaluate", "sample")
    }


def test_the_embedded_database_and_its_artifacts_lie_in_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = report.run(run_id="r1", folders=write_run(tmp_path / "r1"), out=tmp_path / "r1" / "report")
    runs = tmp_path / "runs"
    assert document.tracking_uri == f"sqlite:///{runs}/mlflow.db"
    stored = runs / "mlartifacts" / document.run_id / "artifacts" / "report.html"
    assert stored.read_text() == (tmp_path / "r1" / "report" / "report.html").read_text()
    assert not (tmp_path / "mlruns").exists()


def test_a_run_that_was_opened_for_us_is_resumed_and_left_open(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = client(mlflow_server)
    opened = mlflow.create_run(mlflow.create_experiment("of-the-plug-in"))
    mlflow.log_param(opened.info.run_id, "preset", "as the plug-in wrote it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.info.run_id)
    document = report.run(run_id="r1", folders=write_run(tmp_path), out=tmp_path / "report")
    assert (document.experiment, document.run_id) == ("of-the-plug-in", opened.info.run_id)
    run = mlflow.get_run(opened.info.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["sightline.run_id"] == "r1"
    assert run.data.metrics["test/recall"] == 0.7847


def test_histories_longer_than_a_batch_arrive_whole(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    train(epochs=130).write(folders["train"])  # 11 values an epoch, and MLflow takes 1000 at once
    document = report.run(run_id="long", folders=folders, out=tmp_path / "report")
    history = client(tracking.tracking_uri()).get_metric_history(document.run_id, "train/map50")
    assert [point.step for point in history] == list(range(1, 131))


def test_a_missing_stage_is_recorded_as_missing(tmp_path: Path) -> None:
    folders = write_run(tmp_path, stages=["validate"])
    document = report.run(run_id="r1", folders=folders, out=tmp_path / "report")
    run = client(tracking.tracking_uri()).get_run(document.run_id)
    assert run.data.metrics == {}
    assert run.data.tags["sightline.status"] == "unfinished"


@pytest.mark.parametrize("kind", ["nobody", "silent"])
def test_a_server_that_does_not_answer_fails_soon_and_loses_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue(kind)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=f"No MLflow server answers at {uri}: .*run this stage again") as caught:
        report.run(run_id="r1", folders=write_run(tmp_path), out=tmp_path / "report")
    assert time.monotonic() - start < 10
    assert caught.value.exit_code == 1
    assert "0.826" in (tmp_path / "report" / "report.html").read_text()
    assert read(SummaryDocument, tmp_path / "report").evaluate
    assert not (tmp_path / "report" / "report.json").exists()


def test_preflight_names_the_server_and_the_reason_without_the_password(nobody: str) -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        tracking.preflight(nobody.replace("http://", "http://anna:secret@"))
    assert time.monotonic() - start < 5
    assert f"No MLflow server answers at {nobody}: connection refused." in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_preflight_lets_servers_and_databases_pass_and_refuses_folders(mlflow_server: str) -> None:
    tracking.preflight(mlflow_server)
    tracking.preflight("sqlite:////nowhere/mlflow.db")
    with pytest.raises(ConfigError, match="expected an address that begins with one of http://"):
        tracking.preflight("file:///tmp/mlruns")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://anna:s3cret@mlflow.lab:5000/path", "https://mlflow.lab:5000/path"),
        ("postgresql://anna:p%40ss@db/mlflow?sslkey=x", "postgresql://db/mlflow"),
        ("sqlite:////data/runs/mlflow.db", "sqlite:////data/runs/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_credentials_in_a_uri_are_never_shown(uri: str, shown: str) -> None:
    assert tracking.redact(uri) == shown


def test_credentials_in_the_uri_reach_the_server_and_no_document(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.replace("http://", "http://anna:s3cret@"))
    document = report.run(run_id="secret", folders=write_run(tmp_path), out=tmp_path / "report")
    assert document.tracking_uri == mlflow_server
    run = client(mlflow_server).get_run(document.run_id)
    written = [path.read_text() for path in (tmp_path / "report").iterdir()]
    assert "s3cret" not in json.dumps([run.to_dictionary(), *written])


def test_a_deleted_experiment_is_said_to_be_one(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = client(mlflow_server)
    mlflow.delete_experiment(mlflow.create_experiment("gone"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with pytest.raises(TrackingError, match=r"'gone' at .* is deleted\. Restore it"):
        tracking.place("r1", "gone")


def test_what_mlflow_refuses_is_said_without_the_password(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.replace("http://", "http://anna:s3cret@"))
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(TrackingError, match=rf"MLflow at {mlflow_server} refused: .*0000.* not found") as caught:
        tracking.place("r1", "sightline")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["localhost:5000", "nonsense://x", "http://[::1", "http://localhost:port", "/tmp/mlruns"]
)
def test_preflight_names_what_is_no_address(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"begins with one of|No MLflow server answers"):
        tracking.preflight(uri)
