"""What is known of an embedded database before MLflow is loaded."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from sightline.config import RegisterConfig
from sightline.tracking import address, check
from tests.helpers.tracking import ask


def database(path: Path, version: str = "") -> sqlite3.Connection:
    """Make a database with the few of MLflow's tables that are looked at."""
    made = sqlite3.connect(path, isolation_level=None)
    made.execute(
        "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT)"
    )
    made.execute("CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, lifecycle_stage TEXT, artifact_uri TEXT)")
    made.execute("CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT)")
    made.execute("CREATE TABLE alembic_version (version_num TEXT)")
    if version:
        made.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    return made


def test_databases_that_mlflow_could_not_use_are_known_without_loading_it(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE experiments (a INTEGER)")
    with contextlib.closing(sqlite3.connect(tmp_path / "empty-of-ours.db")) as other:
        other.execute("CREATE TABLE users (a INTEGER)")
    database(tmp_path / "newer.db", "ffffffffffff").close()
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with contextlib.closing(database(tmp_path / "cut.db")) as cut:
        cut.executemany("INSERT INTO tags VALUES (?, ?, ?)", [("r", "k", "v" * 500)] * 500)
    (tmp_path / "cut.db").write_bytes((tmp_path / "cut.db").read_bytes()[:60_000])
    (tmp_path / "new.db").touch()
    for name, words in {
        "other": "belongs to another application",
        "empty-of-ours": "belongs to another application: it has tables, and none of MLflow's. Name another file",
        "newer": "was made by a newer MLflow than the installed",
        "damaged": "is damaged (",
        "cut": "is damaged (",
    }.items():
        with check.asking(f"sqlite:///{tmp_path}/{name}.db", RegisterConfig()) as asked:
            assert asked.child is None
            (problem,) = asked.problems()
        assert f"The tracking database {tmp_path}/{name}.db {words}" in problem
        assert "\n" not in problem
    assert ask(f"sqlite:///{tmp_path}/new.db") == []


def test_what_does_not_fit_in_the_embedded_database_is_known_without_loading_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with contextlib.closing(database(tmp_path / "mlflow.db")) as filled:
        filled.executemany(
            "INSERT INTO experiments VALUES (?, ?, ?, ?)",
            [
                (7, "gone", tmp_path.as_uri(), "deleted"),
                (8, "here", tmp_path.as_uri(), "active"),
                (9, "moved", "file:///proc/moved/mlartifacts", "active"),
                (10, "bucket", "wasbs://mlflow@lab.blob.core.windows.net/x", "active"),
                (11, "served", "mlflow-artifacts:/11", "active"),
                (12, "odd", "nonsense://x", "active"),
            ],
        )
        filled.executemany(
            "INSERT INTO runs VALUES (?, 8, ?, ?)",
            [("a" * 32, "active", tmp_path.as_uri()), ("b" * 32, "deleted", tmp_path.as_uri())],
        )
        filled.execute("INSERT INTO tags VALUES (?, ?, 'another')", ("a" * 32, address.RUN_TAG))
    for experiment, words in {
        "gone": "experiments restore --experiment-id 7",
        "moved": "store artifacts at file:///proc/moved/mlartifacts, which cannot be written here. Choose another regi",
        "bucket": "for which azure.storage.blob is not installed here. Choose another register.experiment",
        "served": "to which only its server has access. Set MLFLOW_TRACKING_URI to that server, not to its database",
        "odd": "which no library of MLflow's stores",
    }.items():
        (problem,) = ask(uri, experiment=experiment)
        assert words in problem
    assert ask(uri, experiment="here") == []
    monkeypatch.setenv("SIGHTLINE_RUN_ID", "mine")
    for run, words in {"c": "there is no such run at", "b": "a run that is deleted", "a": "records another"}.items():
        monkeypatch.setenv("MLFLOW_RUN_ID", run * 32)
        (problem,) = ask(uri, experiment="here")
        assert f"MLFLOW_RUN_ID names {run * 32}" in problem
        assert words in problem
    (problem,) = ask(f"sqlite:///{tmp_path}/not-made-yet.db")
    assert "there is no such run" in problem
