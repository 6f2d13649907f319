"""The report is written whatever the tracking server does, and MLflow has each run's end."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.config.presets import quickstart
from sightline.documents import ErrorReport, StageOutcome, SummaryDocument, read
from sightline.errors import TrackingError
from sightline.tracking import address
from sightline.tracking.records import PipelineRun
from sightline.train.tracker import tracking
from tests.helpers.documents import train, write_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture
def silent() -> Iterator[str]:
    """Address that takes connections and never answers; it must be asked once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.setblocking(False)
        server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri)


def at(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def test_a_missing_stage_is_recorded_as_missing(tmp_path: Path) -> None:
    folders = write_run(tmp_path, stages=["validate"])
    document = report.run(run_id="r1", folders=folders, out=tmp_path / "report")
    run = client(address.tracking_uri()).get_run(document.run_id)
    assert run.data.metrics == {}
    assert run.data.tags["sightline.status"] == "unfinished"


@pytest.mark.parametrize("kind", ["closed_address", "silent"])
def test_a_server_that_does_not_answer_fails_soon_and_loses_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    uri = request.getfixturevalue(kind)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=f"No MLflow server answers at {uri}: .*run this stage again") as caught:
        report.run(run_id="r1", folders=write_run(tmp_path), out=tmp_path / "report")
    assert caught.value.exit_code == 1
    assert "0.826" in (tmp_path / "report" / "report.html").read_text()
    assert read(SummaryDocument, tmp_path / "report").evaluate
    assert not (tmp_path / "report" / "report.json").exists()


def test_a_rejected_run_is_finished_when_it_was_reported(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = write_run(tmp_path, verdict="rejected")
    document = report.run(run_id="rejected", folders=folders, out=tmp_path / "report")
    run = client(mlflow_server).get_run(document.run_id)
    summary = read(SummaryDocument, tmp_path / "report")
    assert run.data.tags["sightline.status"] == "rejected"
    assert (run.info.status, run.info.end_time) == ("FINISHED", at(summary.finished_at))
    report.run(run_id="rejected", folders=folders, out=tmp_path / "report")
    assert client(mlflow_server).get_run(document.run_id).info.end_time == run.info.end_time


@pytest.mark.parametrize(("kind", "state"), [("tracking", "FAILED"), ("interrupted", "KILLED")])
def test_a_run_that_failed_after_its_report_reads_so_in_mlflow(
    kind: str, state: str, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = write_run(tmp_path)
    document = report.run(run_id=kind, folders=folders, out=tmp_path / "report")
    stages = [StageOutcome(name="report", seconds=1.0, status="done")]
    error = ErrorReport(stage="register", kind=kind, message="out of memory", exit_code=1)
    started = "2026-11-21T07:59:58+00:00"
    report.conclude(run_id=kind, folders=folders, out=tmp_path, started_at=started, stages=stages, error=error)
    run = client(mlflow_server).get_run(document.run_id)
    assert (run.info.status, run.data.tags["sightline.status"]) == (state, "failed")
    assert run.info.end_time == at(read(SummaryDocument, tmp_path).finished_at)
    from mlflow.artifacts import load_dict

    assert load_dict(f"runs:/{document.run_id}/summary.json")["error"]["message"] == "out of memory"


def test_a_run_that_failed_while_it_trained_reads_so_in_mlflow(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = write_run(tmp_path, stages=["validate"])
    begun = PipelineRun("stopped in train", "stopped in train", "2026-11-21T07:59:58+00:00", quickstart())
    with tracking(begun, begun.config.train) as tracker:
        assert tracker
        tracker.offer(train().history[:2])
    stages = [StageOutcome(name="train", seconds=9.0, status="failed")]
    error = ErrorReport(stage="train", kind="train", message="out of memory", exit_code=1)
    report.conclude(run_id=begun.run_id, folders=folders, out=tmp_path, stages=stages, error=error)
    mlflow = client(mlflow_server)
    experiment = mlflow.get_experiment_by_name("sightline").experiment_id
    [run] = mlflow.search_runs([experiment], "tags.`sightline.run_id` = 'stopped in train'")
    assert (run.info.status, run.data.tags["sightline.status"]) == ("FAILED", "failed")
    assert [point.step for point in mlflow.get_metric_history(run.info.run_id, "train/map50")] == [1, 2]


def test_rendering_does_not_load_mlflow() -> None:
    code = "import sys, sightline.report, sightline.register; print(any(m in sys.modules for m in ('mlflow', 'onnx')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
