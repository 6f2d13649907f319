"""The MLflow run: one for each pipeline run, complete, and a clear word when no server answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.documents import EvaluateDocument, ReportDocument, SummaryDocument, read
from sightline.errors import TrackingError
from sightline.tracking import address
from tests.helpers.documents import train, write_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri)


def at(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


@pytest.mark.parametrize("where", ["embedded", pytest.param("server", marks=pytest.mark.server)])
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

    mlflow = client(address.tracking_uri())
    experiment = mlflow.get_experiment_by_name("sightline")
    assert len(mlflow.search_runs([experiment.experiment_id], "tags.`sightline.run_id` = 'twice'")) == 1
    run = mlflow.get_run(first.run_id)
    losses = mlflow.get_metric_history(first.run_id, "train/box_loss")
    assert [(point.step, point.value) for point in losses] == [(e.epoch, e.box_loss) for e in train().history]
    assert len(mlflow.get_metric_history(first.run_id, "test/map50")) == 1
    assert run.info.start_time == at("2026-11-21T08:00:00+00:00")
    began = at("2026-11-21T08:00:20.500+00:00")
    assert [point.timestamp - began for point in losses] == [21_500 * number for number in range(1, 41)]
    (scored,) = mlflow.get_metric_history(first.run_id, "test/map50")
    assert scored.timestamp == at("2026-11-21T08:16:10.250+00:00")
    assert (run.info.status, run.info.end_time) == ("RUNNING", None)  # it may still fail to be registered
    assert run.data.metrics["test/map50"] == 0.826
    assert run.data.metrics["test/class/3-trophozoite _script_alert_1___script_/map50"] == 0.641
    assert "test/map50_95/large" not in run.data.metrics
    assert not any("gametocyte" in name for name in run.data.metrics)
    assert run.data.params["train.epochs"] == "20"
    assert "gate.min_recall" not in run.data.params
    assert all("." in name for name in run.data.params)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("sightline.")}
    assert tags["sightline.status"] == "unfinished"
    assert tags["sightline.verdict"] == "accepted"
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
    history = client(address.tracking_uri()).get_metric_history(document.run_id, "train/map50")
    assert [point.step for point in history] == list(range(1, 131))


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
    assert address.redact(uri) == shown


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
    folders = write_run(tmp_path, config=apply(quickstart(), {"register.experiment": "gone"}))
    with pytest.raises(TrackingError, match=r"'gone' at .* is deleted\. Restore it"):
        report.run(run_id="r1", folders=folders, out=tmp_path / "report")


def test_what_mlflow_refuses_is_said_without_the_password(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.replace("http://", "http://anna:s3cret@"))
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(TrackingError, match=rf"MLflow at {mlflow_server} refused: .*0000.* not found") as caught:
        report.run(run_id="r1", folders=write_run(tmp_path), out=tmp_path / "report")
    assert "s3cret" not in str(caught.value)


def test_two_runs_of_one_name_are_two_and_any_text_is_an_identity(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = write_run(tmp_path)
    texts = ["tonight's run", "both ' and \"", "back`tick \\ % \u00e9", "x" * 300]
    first = [report.run(run_id=text, name="same", folders=folders, out=tmp_path / "r").run_id for text in texts]
    again = [report.run(run_id=text, name="same", folders=folders, out=tmp_path / "r").run_id for text in texts]
    assert len(set(first)) == len(texts)
    assert again == first
    mlflow = client(mlflow_server)
    assert {mlflow.get_run(run).info.run_name for run in first} == {"same"}
    assert [mlflow.get_run(run).data.tags["sightline.run_id"] for run in first] == texts
    assert read(SummaryDocument, tmp_path / "r").name == "same"


def test_an_attempt_with_other_settings_gets_a_record_of_its_own(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow never changes a parameter: recorded into the same run, it would fail after the training."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = write_run(tmp_path)
    first = report.run(run_id="again", folders=folders, out=tmp_path / "report")
    write_run(tmp_path, config=apply(quickstart(), {"export.iou": 0.5}))
    second = report.run(run_id="again", folders=folders, out=tmp_path / "report")
    mlflow = client(mlflow_server)
    assert [mlflow.get_run(run.run_id).data.params["export.iou"] for run in (first, second)] == ["0.7", "0.5"]


OPENER = """
import sys, tempfile
from sightline.tracking import address, records, server
with server.client(address.tracking_uri()) as mlflow:
    place = records.place(mlflow, sys.argv[1], uri=mlflow.tracking_uri, name="n", experiment="new",
                          started_at="2026-11-21T08:00:00+00:00", parameters={})
print(place.run_id)
"""


def test_runs_that_open_a_new_database_together_all_find_it(tmp_path: Path) -> None:
    """Each with a TMPDIR of its own, as runs have: MLflow's own lock lies there and keeps none of them apart."""
    openers = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        openers.append(
            subprocess.Popen(
                [sys.executable, "-c", OPENER, str(number)],
                env={**os.environ, "TMPDIR": str(folder)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ends = [opener.communicate(timeout=120) for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0], [error for _, error in ends]
    runs = client(address.tracking_uri()).search_runs(["1"])
    assert sorted(run.info.run_id for run in runs) == sorted(answer.strip() for answer, _ in ends)
