"""What is asked of the tracking server before a run costs anything: reads alone, beside the data scan.

MLflow takes seconds to load and a server may hang, so a child process asks:
`python -m sightline.tracking.check` reads the settings as JSON and prints a JSON list of problems.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sightline.config import RegisterConfig
from sightline.storage.files import unwritable
from sightline.tracking.server import (
    QUIET,
    READ_SECONDS,
    REMOTE,
    RUN_TAG,
    database,
    hush,
    read,
    reason,
    redact,
    scheme,
    unreachable,
    waiting,
)

LOADING_SECONDS = 120  # for MLflow's import on a busy machine
SQLITE = b"SQLite format 3\0"
LIBRARIES = {  # of MLflow's own clients of a store
    "s3": "boto3",
    "gs": "google.cloud.storage",
    "wasbs": "azure.storage.blob",
    "abfss": "azure.storage.filedatalake",
}
IS_PROMPT = "mlflow.prompt.is_prompt"


class Check:
    """The question and, once it is there, the answer."""

    def __init__(self, uri: str, known: list[str], child: subprocess.Popen[str] | None) -> None:
        """Take what is known at once, and the child that finds out the rest."""
        self.uri, self.known, self.child = uri, known, child

    def problems(self) -> list[str]:
        """Return what is wrong with the server, waiting for its answer; empty if nothing is."""
        if self.child is None:
            return self.known
        try:
            with waiting(self.uri, "validate"):
                answer, noise = self.child.communicate(timeout=LOADING_SECONDS)
        except subprocess.TimeoutExpired:
            return [f"MLflow at {redact(self.uri)} could not be asked within {LOADING_SECONDS} s."]
        lines = answer.splitlines()
        if self.child.returncode or not lines:
            last = (noise.strip().splitlines() or ["it ended without a reason"])[-1]
            return [f"MLflow at {redact(self.uri)} could not be asked: {last}"]
        self.known, self.child = json.loads(lines[-1]), None
        return self.known


@contextlib.contextmanager
def asking(uri: str, config: RegisterConfig) -> Iterator[Check]:
    """Ask while the block runs. What is left of the question when the block ends is dropped."""
    if why := unreachable(uri):
        yield Check(uri, [why], None)
    elif scheme(uri) == "sqlite":
        yield Check(uri, of_file(uri, config), None)
    else:
        child = subprocess.Popen(
            [sys.executable, "-m", "sightline.tracking.check"],
            stdin=subprocess.PIPE,  # an address may hold a password, which a command line would show
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **QUIET, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(READ_SECONDS)}
            | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "PYTHONWARNINGS": "ignore"},
        )
        assert child.stdin
        child.stdin.write(json.dumps({"uri": uri, **config.model_dump()}))
        child.stdin.close()
        child.stdin = None
        try:
            yield Check(uri, [], child)
        finally:
            child.kill()
            child.communicate()


def of_file(uri: str, config: RegisterConfig) -> list[str]:
    """Say what is wrong with a SQLite database, without loading MLflow."""
    path = database(uri)
    if path is None:
        return [
            f"MLFLOW_TRACKING_URI is '{redact(uri)}', a database in memory, which ends with each stage; name a file."
        ]
    if not path.exists():
        return _cannot_write(path.parent, f"The tracking database {path}")
    if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
        return [f"The tracking database {path} is no file that can be written. Fix MLFLOW_TRACKING_URI."]
    with path.open("rb") as file:
        if file.read(len(SQLITE)) not in (SQLITE, b""):
            return [f"The tracking database {path} is no SQLite database. Fix MLFLOW_TRACKING_URI."]
    problems = []
    for experiment, stage in _rows(
        path, "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?", config.experiment
    ):
        problems += [_deleted(uri, config.experiment, str(experiment))] if stage != "active" else []
    prompt = (
        "SELECT 1 FROM registered_model_tags WHERE name = ? AND key = '" + IS_PROMPT + "' AND lower(value) = 'true'"
    )
    problems += [_prompt(uri, config.model_name)] if _rows(path, prompt, config.model_name) else []
    return problems


def _rows(path: Path, query: str, value: str) -> list[tuple[Any, ...]]:
    """Return what a database that is being made, or of another version, may not hold yet as nothing."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as asked,
    ):
        return asked.execute(query, (value,)).fetchall()
    return []


def _cannot_write(folder: Path, what: str) -> list[str]:
    """Say that a folder, or what is there of its path, is none that can be written in."""
    there = unwritable(folder)
    return (
        [f"{what} cannot be made: {there} is no folder that can be written. Fix MLFLOW_TRACKING_URI."] if there else []
    )


def _deleted(uri: str, name: str, identifier: str) -> str:
    return (
        f"register.experiment: the MLflow experiment '{name}' at {redact(uri)} is deleted. Restore it with `mlflow "
        f"experiments restore --experiment-id {identifier}`, or choose another."
    )


def _prompt(uri: str, name: str) -> str:
    return f"register.model_name: '{name}' is a prompt in MLflow's registry at {redact(uri)}; choose another name."


def of_server(uri: str, experiment: str, model_name: str) -> list[str]:
    """Say what is wrong with a server, by reads alone; the first one stands for all where it fails."""
    if why := read(uri):
        return [f"MLflow at {redact(uri)} cannot be used: {why}."]
    import mlflow

    client = mlflow.MlflowClient(uri)
    problems: list[str] = []

    def ask(what: str, question: Callable[[], Any], *absent: str) -> Any:
        try:
            return question()
        except mlflow.MlflowException as error:
            if error.error_code not in absent:
                problems.append(f"MLflow at {redact(uri)} does not answer for {what}: {reason(error)}.")

    missing = "RESOURCE_DOES_NOT_EXIST"
    found = ask("the experiment", lambda: client.get_experiment_by_name(experiment), missing)
    if found is not None and found.lifecycle_stage != "active":
        problems.append(_deleted(uri, experiment, found.experiment_id))
    place = found or ask("its experiments", lambda: client.get_experiment("0"), missing)
    if place is not None:
        problems += _artifacts(uri, place.artifact_location or "")
        ask("logged models, which it has since version 3", lambda: client.search_logged_models([place.experiment_id]))
    if given := os.environ.get("MLFLOW_RUN_ID"):
        problems += _opened(given, ask(f"the run {given} of MLFLOW_RUN_ID", lambda: client.get_run(given)))
    ask("the model registry", lambda: client.get_registered_model(model_name), missing)  # a prompt counts as missing
    if ask("prompts", lambda: client.get_prompt(model_name), missing, "ENDPOINT_NOT_FOUND") is not None:
        problems.append(_prompt(uri, model_name))
    return problems


def _artifacts(uri: str, location: str) -> list[str]:
    """Say why files cannot go where the server wants them: beside itself, or to a service without its library."""
    said = f"MLflow at {redact(uri)} has clients store artifacts at {redact(location)}, "
    way_out = "Start the server with --artifacts-destination, which passes them on, or choose register.experiment."
    kind = urlsplit(location).scheme
    if kind in ("", "file"):
        folder = Path(url2pathname(urlsplit(location).path))
        return [f"{said}which cannot be written here. {way_out}"] if unwritable(folder) else []
    library = LIBRARIES.get(kind)
    if library and not _installed(library):
        return [f"{said}for which {library} is not installed here. {way_out}"]
    return []


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def _opened(given: str, run: Any) -> list[str]:
    """Say why the run that MLFLOW_RUN_ID names cannot be ours."""
    if run is None:
        return []
    if run.info.lifecycle_stage != "active":
        return [f"MLFLOW_RUN_ID names {given}, a run that is deleted. Unset it, or restore the run."]
    ours = os.environ.get("SIGHTLINE_RUN_ID")
    theirs = run.data.tags.get(RUN_TAG)
    if ours and theirs not in (None, ours):
        return [f"MLFLOW_RUN_ID names {given}, which records another pipeline run, {theirs}. Unset it."]
    return []


def of_database(uri: str) -> list[str]:
    """Say why a database server takes no connection."""
    import sqlalchemy

    try:
        with sqlalchemy.create_engine(uri).connect():
            return []
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        return [f"The tracking database {redact(uri)} cannot be used: {reason(error)}. Fix MLFLOW_TRACKING_URI."]


def main(settings: Mapping[str, str]) -> list[str]:
    """Return the problems; what takes longer than it may is one."""
    uri = settings["uri"]
    hush()
    import mlflow  # noqa: F401 - loaded before the clock starts

    def late(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(READ_SECONDS)
    try:
        if scheme(uri) in REMOTE:
            return of_server(uri, settings["experiment"], settings["model_name"])
        return of_database(uri)
    except TimeoutError:
        return [f"MLflow at {redact(uri)} took a request and gave no answer within {READ_SECONDS} s."]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(json.dumps(main(json.load(sys.stdin))))
