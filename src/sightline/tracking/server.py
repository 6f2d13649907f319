"""The MLflow server or database of a run: whether it answers, and a client of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from sightline.errors import ConfigError, TrackingError
from sightline.runtime import progress
from sightline.storage import cache_root
from sightline.storage.files import database_uri
from sightline.tracking.address import (
    REGISTRY,
    REMOTE,
    TRACKING,
    UNITY,
    connection,
    database,
    lock_file,
    redact,
    registry_uri,
    scheme,
    switch_problem,
)
from sightline.tracking.answers import (
    NOT_MLFLOW,
    NOTHING,
    PAGE,
    SIGN_IN,
    advice,
    keep_messages,
    message,
    not_mlflow,
    reason,
)
from sightline.tracking.reach import lost_with_pod, no_answer_reason, patience

READ_SECONDS = 10
SECONDS_BEFORE_NOTICE = 5  # of waiting before the user hears of it
QUIET_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # a server that passes artifacts on answers after it has stored them
}


def read(uri: str, variable: str = TRACKING) -> str | None:
    """Ask an MLflow server for one experiment through MLflow's own client; say what is wrong, or return None.

    This one request shows more than that a server listens: bad credentials, TLS, a login page, a broken database.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from requests.exceptions import RequestException  # type: ignore[import-untyped]

    endpoint, request = "/api/2.0/mlflow/experiments/search", {"max_results": 1}
    try:
        if scheme(uri) == "databricks":
            mlflow.MlflowClient(uri).search_experiments(max_results=1)
            return None
        answer = http_request(
            get_default_host_creds(uri), endpoint, "POST",
            json=request, timeout=patience(READ_SECONDS), max_retries=0, raise_on_status=False,
        )  # fmt: skip
    except (MlflowException, RequestException, OSError, ValueError) as error:
        return f"{reason(error)}. Fix the server, or {variable}"
    said = message(answer)
    if answer.status_code in (401, 403):
        return f"it refuses the credentials ({answer.status_code}{said}). {SIGN_IN}"
    if answer.status_code == 404:
        return f"there is no MLflow at this address ({answer.status_code}). Fix {variable}"
    if answer.status_code == 204:
        return f"{NOTHING} (204). Fix {variable}"
    if answer.status_code != 200:
        return f"its API answers {answer.status_code}{said}. See the server's own log"
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        why = not_mlflow(answer.text)
        return f"{why}. {SIGN_IN}, or fix {variable}" if why == PAGE else f"{why}. Fix {variable}"
    held = found.get("experiments", [])
    if not isinstance(held, list) or not all(isinstance(each, dict) and each.get("experiment_id") for each in held):
        return f"{NOT_MLFLOW}. Fix {variable}"
    return None


@contextlib.contextmanager
def client(uri: str, stage: str = "report") -> Iterator[Any]:
    """Yield an MLflow client of `uri`; refusals and outages inside the block become a TrackingError.

    Long waits are reported as progress of `stage`, but for train, in which nothing waits for MLflow. Raises ConfigError
    for a switch that is neither on nor off.
    """
    if wrong := switch_problem():
        raise ConfigError(wrong)
    again = "" if stage in ("validate", "train", "runs") else " Nothing is lost: run this stage again."
    registry = registry_uri(uri) if stage in ("validate", "register") else None
    addresses = ((connection(uri), TRACKING), (registry, REGISTRY))
    for address, variable in addresses:
        if address and (lost := lost_with_pod(address, variable)):
            raise TrackingError(lost)
        if address and (why := no_answer_reason(address)):
            raise TrackingError(
                f"No MLflow server answers at {redact(address)}: {why}. Start it, or fix {variable}.{again}"
            )
    quiet_mlflow()
    import mlflow
    from requests.exceptions import RequestException

    keep_messages()
    failures: tuple[type[Exception], ...] = (mlflow.MlflowException, RequestException, ModuleNotFoundError)
    if not {scheme(address) for address, _ in addresses if address} <= {*REMOTE, *UNITY}:
        from alembic.util import CommandError
        from sqlalchemy.exc import SQLAlchemyError

        failures += (SQLAlchemyError, CommandError)
    with contextlib.nullcontext() if stage == "train" else waiting(uri, stage):
        for address, variable in addresses:
            if address and scheme(address) in REMOTE and (why := read(address, variable)):
                raise TrackingError(f"MLflow at {redact(address)} cannot be used: {why}.{again}")
        try:
            mlflow.set_tracking_uri(connection(uri))  # the model flavours read it from nowhere else
            with one_at_a_time(connection(uri)):
                make_database(connection(uri))
                connected = mlflow.MlflowClient(connection(uri))
            yield connected
        except failures as error:
            address, variable = (registry, REGISTRY) if registry and _of_registry(error) else (uri, TRACKING)
            raise TrackingError(
                f"MLflow at {redact(address)} refused: {reason(error)}. {advice(error, variable)}{again}"
            ) from None


def _of_registry(error: BaseException) -> bool:
    """Return whether the model registry raised an error."""
    frames = traceback.walk_tb(error.__traceback__)
    return any("model_registry" in frame.f_globals.get("__name__", "") for frame, _ in frames)


def quiet_mlflow() -> None:
    """Make MLflow quiet and quick to give up, unless its variables are set; call it before the first import."""
    for name, value in QUIET_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs SQL; our message has the reason


@contextlib.contextmanager
def waiting(uri: str, stage: str) -> Iterator[None]:
    """Report after some seconds, and then every 15 s, that the block still waits for MLflow."""
    done = threading.Event()
    start = time.monotonic()

    def say() -> None:
        pause = SECONDS_BEFORE_NOTICE
        while not done.wait(pause):
            text = f"waiting for MLflow at {redact(uri)} ({time.monotonic() - start:.0f} s)"
            if progress.VARIABLE in os.environ:
                progress.emit("progress", stage=stage, done=0, total=None, note=text)
            else:
                print(text, file=sys.stderr, flush=True)
            pause = 15

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process at a time open a database: the first creates its tables, and two would collide.

    MLflow's own lock is in TMPDIR, which is private to each run.
    """
    if scheme(uri) in REMOTE:
        yield
        return
    file = database(uri)
    if file:
        path = lock_file(file)
    else:
        path = cache_root() / "locks" / f"mlflow-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_database(uri: str) -> None:
    """Make an embedded database that is not there yet: whole, or not at all.

    MLflow creates its tables by dozens of migrations without a transaction around them, and cannot go on with the rest
    of one that was killed.
    """
    file = database(uri)
    if file is None or file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        store = SqlAlchemyStore(database_uri(beside.parent, beside.name), (file.parent / "mlartifacts").as_uri())
        store.engine.dispose()
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
