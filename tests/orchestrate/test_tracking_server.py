"""The embedded tracking database, served to containers for the length of a run."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.config import RegisterConfig
from sightline.errors import TrackingError
from sightline.orchestrate import tracking_server
from sightline.storage.files import database_uri

RECORD = """
import sys
from sightline.tracking import address, records, server
uri = address.tracking_uri()
with server.client(uri) as mlflow:
    place = records.place(mlflow, "mine", uri=uri, name="n", experiment="cells", started_at="2026-11-21T08:00:00+00:00",
                          parameters={})
    mlflow.log_text(place.run_id, "kept", "note.txt")
print(place.tracking_uri)
"""


@pytest.fixture(autouse=True)
def no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SIGHTLINE_TRACKING_SERVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
@pytest.mark.server
def test_what_a_client_of_the_server_records_is_where_it_would_be_without_one(tmp_path: Path) -> None:
    runs = tmp_path / "50% of runs"
    runs.mkdir()
    with tracking_server.serving(runs, tmp_path) as server:
        assert server
        server.wait()
        environment = {"SIGHTLINE_RUNS": str(runs), "SIGHTLINE_TRACKING_SERVER": server.url}
        done = subprocess.run(
            [sys.executable, "-c", RECORD],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == database_uri(runs), "the database, not the server that is soon gone"
    with sqlite3.connect(runs / "mlflow.db") as database:
        assert database.execute("SELECT name, artifact_location FROM experiments WHERE name = 'cells'").fetchall() == [
            ("cells", (runs / "mlartifacts").as_uri())
        ]
    assert [path.read_text() for path in (runs / "mlartifacts").rglob("note.txt")] == ["kept"]
    assert tracking_server.no_answer_reason(server.url), "it ends with the block"


@pytest.mark.slow
@pytest.mark.server
def test_two_servers_of_a_new_database_start_at_once(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        tracking_server.serving(tmp_path / "runs", tmp_path / "a") as first,
        tracking_server.serving(tmp_path / "runs", tmp_path / "b") as second,
    ):
        assert first
        assert second
        first.wait()
        second.wait()
    assert not list((tmp_path / "runs").glob(".mlflow.db.[0-9]*")), "made beside, and renamed"


@pytest.mark.server
def test_a_database_that_cannot_be_served_is_named_before_the_run_and_by_the_server(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    (problem,) = tracking_server.problems(tmp_path, RegisterConfig())
    assert "mlflow.db is not a SQLite database. Fix MLFLOW_TRACKING_URI." in problem
    with tracking_server.serving(tmp_path, tmp_path) as server:
        assert server
        with pytest.raises(TrackingError, match="did not start: ") as refused:
            server.wait()
        assert "file is not a database" in str(refused.value)


def test_where_tracking_is_a_server_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with tracking_server.serving(tmp_path, tmp_path) as server:
        assert server is None
    assert tracking_server.problems(tmp_path, RegisterConfig()) == []


def test_a_registry_in_a_database_of_its_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path}/models.db")
    (problem,) = tracking_server.problems(tmp_path, RegisterConfig())
    assert problem.startswith("MLFLOW_REGISTRY_URI is 'sqlite:///")
    assert "containers hold only the client" in problem
