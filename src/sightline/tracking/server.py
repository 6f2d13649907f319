"""The MLflow server or database of a run: its address, whether it answers, and a client of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import logging
import os
import re
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from sightline import progress
from sightline.errors import TrackingError
from sightline.storage import cache_root
from sightline.storage.files import database_uri

RUN_TAG = "sightline.run_id"
CONNECT_SECONDS = 3
READ_SECONDS = 10
QUIET_SECONDS = 5  # of waiting, before it is said
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
REMOTE = ("http", "https", "databricks")
CREDENTIALS = re.compile(r"://[^/?#\s]*@")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # a server that passes artifacts on answers after it has stored them
}
SIGN_IN = (
    "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what the server expects"
)


class Place(NamedTuple):
    """Where a run is recorded; without credentials, fit to be shown."""

    tracking_uri: str
    experiment: str
    run_id: str


def tracking_uri(runs: Path | None = None) -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite database in `runs`, by default `SIGHTLINE_RUNS` or `./runs`."""
    folder = (runs or Path(os.environ.get("SIGHTLINE_RUNS") or "runs")).resolve()
    return os.environ.get("MLFLOW_TRACKING_URI") or database_uri(folder)


def redact(uri: str) -> str:
    """Return a URI without user, password and query, so that it can be shown and stored."""
    return CREDENTIALS.sub("://", uri).partition("?")[0]


def scheme(uri: str) -> str:
    """Return the scheme without the driver: `postgresql` of `postgresql+psycopg2://…`; empty if there is none."""
    try:
        return "databricks" if uri == "databricks" else urlsplit(uri).scheme.partition("+")[0]
    except ValueError:
        return ""


def database(uri: str) -> Path | None:
    """Return the file of a SQLite URI; null for every other one, and for a database in memory."""
    if scheme(uri) != "sqlite":
        return None
    path = unquote(uri.partition("://")[2].partition("?")[0].removeprefix("/"))
    return Path(path).absolute() if path and path != ":memory:" else None


def unreachable(uri: str) -> str | None:
    """Say, within seconds and without loading MLflow, why nothing can be recorded at `uri`; null if it may be."""
    if scheme(uri) not in SCHEMES:
        return (
            f"MLFLOW_TRACKING_URI is '{redact(uri)}', expected an address that begins with one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, or unset it to use the embedded database."
        )
    if reason := silence(uri):
        return (
            f"No MLflow server answers at {redact(uri)}: {reason}. Start one, fix MLFLOW_TRACKING_URI, or unset it to "
            "use the embedded database."
        )
    return None


def silence(uri: str) -> str | None:
    """Say why nothing answers at an http(s) URI; null if something does, whatever the answer is."""
    if scheme(uri) not in ("http", "https"):
        return None
    try:
        with urllib.request.urlopen(redact(uri).rstrip("/") + "/health", timeout=CONNECT_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return None
        return str(getattr(error.reason, "strerror", None) or error.reason).lower()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "strerror", None) or error).lower() or type(error).__name__


def read(uri: str) -> str | None:
    """Ask an MLflow server for one experiment, through MLflow's own client; say what is wrong, or null.

    The one request that shows more than that a server listens: credentials, TLS, a login page, a broken database.
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
            json=request, timeout=READ_SECONDS, max_retries=0, raise_on_status=False,
        )  # fmt: skip
    except (MlflowException, RequestException, OSError, ValueError) as error:
        return f"{reason(error)}. Fix the server, or MLFLOW_TRACKING_URI"
    said = _message(answer)
    if answer.status_code in (401, 403):
        return f"it refuses the credentials ({answer.status_code}{said}). {SIGN_IN}"
    if answer.status_code == 404:
        return f"there is no MLflow at this address ({answer.status_code}). Fix MLFLOW_TRACKING_URI"
    if answer.status_code != 200:
        return f"its API answers {answer.status_code}{said}. See the server's own log"
    try:
        if not isinstance(answer.json(), dict):
            raise ValueError
    except ValueError:
        return (
            "it answers with a page, not as MLflow's API does: a login page or another service. "
            f"{SIGN_IN}, or fix MLFLOW_TRACKING_URI"
        )
    return None


def _message(answer: Any) -> str:
    """Return what a server says beside its status, as `: words`; nothing for a page."""
    try:
        said = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = "" if "<" in answer.text else answer.text
    said = " ".join(said.split())[:200]
    return f": {said}" if said else ""


def reason(error: BaseException) -> str:
    """Say in a line and without credentials why MLflow or its transport failed."""
    said = str(error)
    if "timed out" in said.lower() or "TimeoutError" in said:
        seconds = re.search(r"timeout=(\d+)", said)
        return f"it took a request and gave no answer {f'within {seconds[1]} s' if seconds else 'in time'}"
    if found := re.search(r"SSLError\(.*?'(.*?)( \(_ssl\.c:\d+\))?'\)", said, re.DOTALL):
        return f"TLS failed ({found[1]}): is it http or https, and are the certificates known here"
    if found := re.search(r"too many (\d+) error responses", said):
        return f"its API answers {found[1]}"
    if isinstance(error, ModuleNotFoundError):
        return f"a library that this address needs is not installed here ({said})"
    return CREDENTIALS.sub("://", said.partition("\n")[0][:400].rstrip(". ")) or type(error).__name__


@contextlib.contextmanager
def client(uri: str, stage: str = "report") -> Iterator[Any]:
    """Yield an MLflow client of `uri`; refusals and outages inside the block become a TrackingError.

    Says, as `stage`, when it has to wait.
    """
    advice = "Nothing is lost: start it, or fix MLFLOW_TRACKING_URI, and run this stage again."
    if why := silence(uri):
        raise TrackingError(f"No MLflow server answers at {redact(uri)}: {why}. {advice}")
    hush()
    import mlflow
    from requests.exceptions import RequestException

    failures: tuple[type[Exception], ...] = (mlflow.MlflowException, RequestException, ModuleNotFoundError)
    if scheme(uri) not in REMOTE:
        from alembic.util import CommandError
        from sqlalchemy.exc import SQLAlchemyError

        failures += (SQLAlchemyError, CommandError)
    with waiting(uri, stage):
        if scheme(uri) in REMOTE and (why := read(uri)):
            raise TrackingError(
                f"MLflow at {redact(uri)} cannot be used: {why}. Nothing is lost: run this stage again."
            )
        try:
            mlflow.set_tracking_uri(uri)  # the model flavours know no other way
            with _one_at_a_time(uri):
                connected = mlflow.MlflowClient(uri)
            yield connected
        except failures as error:
            raise TrackingError(f"MLflow at {redact(uri)} refused: {reason(error)}. {advice}") from None


def hush() -> None:
    """Make MLflow quiet and impatient, unless its variables say otherwise; before its first import."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextlib.contextmanager
def waiting(uri: str, stage: str) -> Iterator[None]:
    """Say after some seconds, and then every quarter of a minute, that the block still waits for MLflow."""
    done = threading.Event()
    start = time.monotonic()

    def say() -> None:
        pause = QUIET_SECONDS
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
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process at a time open a database: whoever finds a new one makes its tables, and two would collide.

    MLflow's own lock lies in TMPDIR, which every run has for itself.
    """
    if scheme(uri) in REMOTE:
        yield
        return
    file = database(uri)
    if file:
        path = file.with_name(f".{file.name}.lock")
    else:
        path = cache_root() / "locks" / f"mlflow-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
