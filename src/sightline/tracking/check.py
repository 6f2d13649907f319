"""Checks the tracking server before a run starts, by read requests alone and while the data is scanned.

MLflow takes seconds to load and a server may hang, so a child process does it:
`python -m sightline.tracking.check` reads the settings as JSON and prints a JSON list of problems.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sightline.config import RegisterConfig
from sightline.tracking import embedded
from sightline.tracking.address import (
    REGISTRY,
    REMOTE,
    RUN_TAG,
    TRACKING,
    UNITY,
    connection,
    redact,
    registry_uri,
    scheme,
    switch_problem,
)
from sightline.tracking.answers import NOT_MLFLOW, advice, keep_messages, reason
from sightline.tracking.reach import address_problem, patience
from sightline.tracking.server import (
    QUIET_SETTINGS,
    READ_SECONDS,
    quiet_mlflow,
    read,
    waiting,
)

LOADING_SECONDS = 120  # for MLflow's import on a busy machine
MISSING = "RESOURCE_DOES_NOT_EXIST"


class Check:
    """A check under way and, once it is done, its result."""

    def __init__(self, uri: str, known: list[str], child: subprocess.Popen[str] | None) -> None:
        """Take the problems known at once, and the child that finds others; `uri` is what it asks, or one of two."""
        self.uri, self.known, self.child = uri, known, child

    def problems(self) -> list[str]:
        """Return what is wrong with the server, waiting for its answer; empty if nothing is."""
        if self.child is None:
            return self.known
        try:
            with waiting(self.uri, "validate"):
                answer, noise = self.child.communicate(timeout=LOADING_SECONDS)
        except subprocess.TimeoutExpired:
            return [*self.known, f"MLflow at {redact(self.uri)} could not be asked within {LOADING_SECONDS} s."]
        lines = answer.splitlines()
        if self.child.returncode or not lines:
            last = (noise.strip().splitlines() or ["it ended without a reason"])[-1]
            return [*self.known, f"MLflow at {redact(self.uri)} could not be asked: {last}"]
        self.known, self.child = [*self.known, *json.loads(lines[-1])], None
        return self.known


@contextlib.contextmanager
def asking(uri: str | None, config: RegisterConfig) -> Iterator[Check]:
    """Run the check while the block runs; what is unfinished when the block ends is dropped.

    Without an address, tracking is off and no server is asked.
    """
    if uri is None:
        yield Check("", [], None)
        return
    known = [wrong] if (wrong := switch_problem()) else []
    rest: dict[str, str] = {}
    for variable, address in ((TRACKING, uri), (REGISTRY, registry_uri(uri))):
        if not address:
            continue
        if why := address_problem(address, variable):
            known.append(why)
        elif connection(address) != address:
            continue  # the command that serves the database has checked it
        elif scheme(address) == "sqlite":
            found = embedded.problems(address, config, variable)
            known += found
            rest |= {} if found or not embedded.is_older(address) else {variable: address}
        else:
            rest[variable] = address
    if not rest:
        yield Check(uri, known, None)
        return
    child = subprocess.Popen(
        [sys.executable, "-m", "sightline.tracking.check"],
        stdin=subprocess.PIPE,  # an address may hold a password, which a command line would show
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **QUIET_SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(patience(READ_SECONDS))}
        | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "PYTHONWARNINGS": "ignore"},
    )
    assert child.stdin
    settings = {"uri": rest.get(TRACKING), "registry": rest.get(REGISTRY)}
    child.stdin.write(json.dumps({**settings, **config.model_dump()}))
    child.stdin.close()
    child.stdin = None
    try:
        yield Check(next(iter(rest.values())), known, child)
    finally:
        child.kill()
        child.communicate()


class _Questions:
    """Questions to one server; failures that share a reason are one problem."""

    def __init__(self, uri: str, variable: str) -> None:
        self.uri, self.variable = uri, variable
        self.failed: dict[tuple[str, str], list[str]] = {}

    def ask(self, what: str, question: Callable[[], Any], *absent: str) -> Any:
        """Return the answer; None on failure, or for an error code in `absent`, which says that nothing is there."""
        import mlflow

        try:
            return question()
        except mlflow.MlflowException as error:
            if error.error_code not in absent:
                self.failed.setdefault((reason(error), advice(error, self.variable)), []).append(what)

    def problems(self) -> list[str]:
        """Return the questions that failed, with reason and advice."""
        return [
            f"MLflow at {redact(self.uri)} does not answer for {', '.join(asked[:-1])}{' and ' * (len(asked) > 1)}"
            f"{asked[-1]}: {why}. {what_to_do}"
            for (why, what_to_do), asked in self.failed.items()
        ]


def of_server(uri: str, experiment: str, model_name: str) -> list[str]:
    """Say what is wrong with a tracking server, by read requests alone; if the first fails, it is the only problem."""
    if why := read(uri):
        return [f"MLflow at {redact(uri)} cannot be used: {why}."]
    import mlflow

    client = mlflow.MlflowClient(uri)
    questions = _Questions(uri, TRACKING)
    ask, problems = questions.ask, []
    found = ask("the experiment", lambda: client.get_experiment_by_name(experiment), MISSING)
    if found is not None and not (found.experiment_id and found.lifecycle_stage in ("active", "deleted")):
        return [f"MLflow at {redact(uri)} cannot be used: {NOT_MLFLOW}. Fix {TRACKING}."]
    if found is not None and found.lifecycle_stage == "deleted":
        problems.append(embedded.deleted_experiment(uri, experiment, found.experiment_id))
    place = found or ask("its experiments", lambda: client.get_experiment("0"), MISSING)
    if place is not None:
        ask("logged models, which it has since version 3", lambda: client.search_logged_models([place.experiment_id]))
    location, way_out = place.artifact_location if place else "", "choose register.experiment"
    if given := os.environ.get("MLFLOW_RUN_ID"):
        run = ask(f"the run {given} of MLFLOW_RUN_ID", lambda: client.get_run(given))
        if run is not None:
            problems += embedded.run_problems(given, run.info.lifecycle_stage, run.data.tags.get(RUN_TAG))
            location, way_out = run.info.artifact_uri, "unset MLFLOW_RUN_ID"
    if location:
        passing = "Start the server with --artifacts-destination, which passes them on"
        problems += embedded.artifact_problems(uri, location, f"{passing}, or {way_out}.")
    if registry_uri(uri) is None:
        problems += _models(uri, model_name, questions)
    return problems + questions.problems()


def of_registry(uri: str, model_name: str) -> list[str]:
    """Say what is wrong with a server that is only the model registry."""
    if scheme(uri) in REMOTE and (why := read(uri, REGISTRY)):
        return [f"MLflow at {redact(uri)} cannot be used: {why}."]
    questions = _Questions(uri, REGISTRY)
    return _models(uri, model_name, questions) + questions.problems()


def _models(uri: str, name: str, questions: _Questions) -> list[str]:
    import mlflow

    client = mlflow.MlflowClient(uri, registry_uri=uri)
    questions.ask("the model registry", lambda: client.get_registered_model(name), MISSING)  # so is a prompt
    prompt = questions.ask("prompts", lambda: client.get_prompt(name), MISSING, "ENDPOINT_NOT_FOUND")
    return [embedded.name_is_prompt(uri, name)] if prompt is not None else []


def of_database(uri: str, variable: str = TRACKING) -> list[str]:
    """Say why MLflow cannot use a database: no connection, or tables of a version that it does not upgrade itself."""
    import sqlalchemy
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils

    what = f"The {'registry' if variable == REGISTRY else 'tracking'} database {redact(uri)}"
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect():
            if utils._all_tables_exist(engine):
                utils._verify_schema(engine)
            return []
    except MlflowException:
        return [
            f"{what} has the tables of another version of MLflow. Copy it, then run `mlflow db upgrade` with its "
            f"address, or name another with {variable}."
        ]
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        return [f"{what} cannot be used: {reason(error)}. Fix {variable}."]


def main(settings: Mapping[str, str | None]) -> list[str]:
    """Return the problems; a server that takes too long is one."""
    quiet_mlflow()
    import mlflow  # noqa: F401 - loaded before the clock starts

    keep_messages()

    def late(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    experiment, model_name = str(settings["experiment"]), str(settings["model_name"])
    problems: list[str] = []
    for variable, uri in ((TRACKING, settings.get("uri")), (REGISTRY, settings.get("registry"))):
        if not uri:
            continue
        signal.alarm(patience(READ_SECONDS))
        try:
            if scheme(uri) not in (*REMOTE, *UNITY):
                problems += of_database(uri, variable)
            elif variable == REGISTRY:
                problems += of_registry(uri, model_name)
            else:
                problems += of_server(uri, experiment, model_name)
        except TimeoutError:
            within = f"within {patience(READ_SECONDS)} s"
            problems.append(f"MLflow at {redact(uri)} accepted a request and gave no answer {within}.")
        signal.alarm(0)
    return problems


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(json.dumps(main(json.load(sys.stdin))))
