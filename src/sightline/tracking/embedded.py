"""Checks a tracking database in SQLite without loading MLflow, which takes seconds."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sightline.config import RegisterConfig
from sightline.storage.files import unwritable
from sightline.tracking.address import REGISTRY, RUN_TAG, TRACKING, database, lock_file, redact

SQLITE = b"SQLite format 3\0"
CHECKED = 256 << 20  # bytes; only in smaller databases is every page checked
COLUMNS = {"experiment_id", "name", "lifecycle_stage"}  # of MLflow's experiments, in every version
PROMPT = (
    "SELECT 1 FROM registered_model_tags WHERE name = ? AND key = 'mlflow.prompt.is_prompt' AND lower(value) = 'true'"
)
LIBRARIES = {  # that MLflow needs for a store, by URI scheme; None where it needs none
    **{"s3": "boto3", "r2": "boto3", "b2": "boto3", "gs": "google.cloud.storage", "hdfs": "pyarrow.fs"},
    **{"wasb": "azure.storage.blob", "wasbs": "azure.storage.blob", "abfss": "azure.storage.filedatalake"},
    **{"sftp": "pysftp", "ftp": None, "http": None, "https": None, "dbfs": None, "mlflow-artifacts": None},
}


def problems(uri: str, config: RegisterConfig, variable: str = TRACKING) -> list[str]:
    """Say what is wrong with a database of runs, of models or of both."""
    path = database(uri)
    if path is None:
        return [f"{variable} is '{redact(uri)}', a database in memory, which ends with each stage; name a file."]
    what = f"The {'registry' if variable == REGISTRY else 'tracking'} database {path}"
    if path.exists() and (not path.is_file() or not os.access(path, os.R_OK | os.W_OK)):
        return [f"{what} is not a writable file. Fix {variable}."]
    if there := unwritable(path.parent):
        return [f"{what} cannot be {'written' if path.exists() else 'made'}: {there} is not a writable "
                f"folder. Fix {variable}."]  # fmt: skip
    known = path.exists() and path.stat().st_size > 0
    if known:
        with path.open("rb") as file:
            if file.read(len(SQLITE)) != SQLITE:
                return [f"{what} is not a SQLite database. Fix {variable}."]
    try:
        with _connected(path if known else None) as connection:
            if wrong := _why_not_mlflow(connection):
                return [f"{what} {wrong}. Name another file with {variable}."]
            return _content_problems(connection, uri, config, variable)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return []  # by another program, which ends before this run records anything
        return [f"{what} is damaged ({error}). Restore it from a copy, or name another file with {variable}."]


def is_older(uri: str) -> bool:
    """Return whether an older MLflow made an intact database; whether this one upgrades it, only MLflow knows."""
    path = database(uri)
    if path is None or not path.is_file() or not path.stat().st_size:
        return False
    with contextlib.suppress(sqlite3.Error), _connected(path) as connection:
        version = _version(connection)
        later = re.compile(rf"^down_revision.*\b{version}\b", re.MULTILINE)
        return bool(version) and any(later.search(file.read_text("utf-8")) for file in _migrations())
    return False


@contextlib.contextmanager
def _connected(path: Path | None) -> Iterator[sqlite3.Connection]:
    """Open a database for reading, once no process of ours is creating its tables; without a path, an empty one."""
    with contextlib.ExitStack() as stack:
        if path and (lock := lock_file(path)).exists():
            held = stack.enter_context(lock.open())
            fcntl.flock(held, fcntl.LOCK_SH)
        # A journal is what a killed process left: SQLite rolls it back, which is writing.
        mode = "rw" if path and path.with_name(f"{path.name}-journal").exists() else "ro"
        where = f"{path.as_uri()}?mode={mode}" if path else "file::memory:"
        yield stack.enter_context(contextlib.closing(sqlite3.connect(where, uri=True)))


def _why_not_mlflow(connection: sqlite3.Connection) -> str | None:
    """Say why MLflow cannot use a database; None for its own and for an empty one."""
    (size,) = connection.execute(
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    ).fetchone()
    if size <= CHECKED:
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            return f"is damaged ({' '.join(state.removeprefix('*** in database main ***').split())})"
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {name for name in tables if not name.startswith("sqlite_")}:
        return None
    if not _columns(connection, "experiments") >= COLUMNS:
        return "belongs to another application: it has tables, and none of MLflow's"
    version = _version(connection)
    if version and not any(file.name.startswith(f"{version}_") for file in _migrations()):
        return f"was made by a newer MLflow than the installed {importlib.metadata.version('mlflow')} ({version})"
    return None


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _version(connection: sqlite3.Connection) -> str | None:
    """Return the revision of the tables; None while they are being created."""
    if "version_num" not in _columns(connection, "alembic_version"):
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else None


def _migrations() -> list[Path]:
    """Return MLflow's migration scripts, which upgrade a database: `<revision>_<words>.py`."""
    spec = importlib.util.find_spec("mlflow")
    assert spec
    assert spec.origin
    return sorted((Path(spec.origin).parent / "store" / "db_migrations" / "versions").glob("*_*.py"))


def _content_problems(connection: sqlite3.Connection, uri: str, config: RegisterConfig, variable: str) -> list[str]:
    """Say what in a database conflicts with the run."""
    wrong: list[str] = []
    registry = os.environ.get(REGISTRY)
    if (variable == REGISTRY or not registry) and _columns(connection, "registered_model_tags"):
        wrong += (
            [name_is_prompt(uri, config.model_name)]
            if connection.execute(PROMPT, (config.model_name,)).fetchone()
            else []
        )
    if variable == REGISTRY:
        return wrong
    if given := os.environ.get("MLFLOW_RUN_ID"):
        return wrong + _given_run_problems(connection, uri, given)
    columns = _columns(connection, "experiments")
    location = "artifact_location" if "artifact_location" in columns else "NULL"
    query = f"SELECT experiment_id, lifecycle_stage, {location} FROM experiments WHERE name = ?"
    found = connection.execute(query, (config.experiment,)).fetchone() if columns else None
    if found is None:
        path = database(uri)
        assert path
        beside = path.parent / "mlartifacts"  # where a new experiment keeps its files
        return wrong + artifact_problems(uri, beside.as_uri(), "Fix MLFLOW_TRACKING_URI.")
    if found[1] != "active":
        return [*wrong, deleted_experiment(uri, config.experiment, str(found[0]))]
    return wrong + artifact_problems(
        uri, found[2] or "", f"Choose another register.experiment than '{config.experiment}'."
    )


def _given_run_problems(connection: sqlite3.Connection, uri: str, given: str) -> list[str]:
    columns = _columns(connection, "runs")
    query = "SELECT lifecycle_stage, artifact_uri FROM runs WHERE run_uuid = ?"
    found = connection.execute(query, (given,)).fetchone() if columns else None
    if found is None:
        return [f"MLFLOW_RUN_ID names {given}, and there is no such run at {redact(uri)}. Correct it, or unset it."]
    tag = connection.execute("SELECT value FROM tags WHERE run_uuid = ? AND key = ?", (given, RUN_TAG)).fetchone()
    return run_problems(given, found[0], tag[0] if tag else None) + artifact_problems(
        uri, found[1] or "", "Unset MLFLOW_RUN_ID, or name another run."
    )


def deleted_experiment(uri: str, name: str, identifier: str) -> str:
    """Say that an experiment is deleted."""
    return (
        f"register.experiment: the MLflow experiment '{name}' at {redact(uri)} is deleted. Restore it with `mlflow "
        f"experiments restore --experiment-id {identifier}`, or choose another."
    )


def name_is_prompt(uri: str, name: str) -> str:
    """Say that a name is a prompt's."""
    return f"register.model_name: '{name}' is a prompt in MLflow's registry at {redact(uri)}; choose another name."


def run_problems(given: str, stage: str, theirs: str | None) -> list[str]:
    """Say why the run that MLFLOW_RUN_ID names cannot record ours.

    `stage` is its lifecycle stage, `theirs` the pipeline run that it already records.
    """
    if stage != "active":
        return [f"MLFLOW_RUN_ID names {given}, a run that is deleted. Unset it, or restore the run."]
    ours = os.environ.get("SIGHTLINE_RUN_ID")
    if ours and theirs not in (None, ours):
        return [f"MLFLOW_RUN_ID names {given}, which records another pipeline run, {theirs}. Unset it."]
    return []


def artifact_problems(uri: str, location: str, way_out: str) -> list[str]:
    """Say why artifacts cannot go where MLflow wants them: another machine's folder, a service without its library."""
    said = f"MLflow at {redact(uri)} has clients store artifacts at {redact(location)}, "
    kind = urlsplit(location).scheme
    if kind in ("", "file"):
        folder = Path(url2pathname(urlsplit(location).path)).absolute()
        return [f"{said}which cannot be written here. {way_out}"] if unwritable(folder) else []
    if kind == "mlflow-artifacts" and database(uri):
        return [
            f"{said}to which only its server has access. Set MLFLOW_TRACKING_URI to that server, not to its database."
        ]
    library = LIBRARIES.get(kind)
    if library and not _installed(library):
        return [f"{said}for which {library} is not installed here. {way_out}"]
    added = {point.name for point in importlib.metadata.entry_points(group="mlflow.artifact_repository")}
    return [] if kind in LIBRARIES or kind in added else [f"{said}which no library of MLflow's stores. {way_out}"]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
