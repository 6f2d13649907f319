"""Whether anything answers at the address of a tracking server or registry: known within seconds, without MLflow."""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
import ssl
import time
import urllib.error
import urllib.request

from sightline.runtime.pipeline_pod import in_pipeline_pod, where_to_set
from sightline.storage import setting
from sightline.tracking.address import (
    REGISTRY,
    REMOTE,
    SCHEMES,
    SWITCH,
    TRACKING,
    UNITY,
    connection,
    malformed,
    redact,
    registry_uri,
    scheme,
    switch_problem,
)

CONNECT_SECONDS = 3
WAIT, OUTAGE_SECONDS = "SIGHTLINE_TRACKING_WAIT", 60  # a usual restart takes less than a minute
PAUSE_SECONDS = 2


def patience(seconds: int) -> int:
    """Return for how long to wait for an answer: six times as long in a pod of a pipeline run.

    There no person waits, and a run that gives up on a server that was slow for a moment is lost for the night.
    """
    return 6 * seconds if in_pipeline_pod() else seconds


def address_problem(uri: str, variable: str = TRACKING) -> str | None:
    """Say, within seconds and without loading MLflow, why nothing can be recorded at `uri`; None if it may work."""
    way_out = f"unset it to use {'the tracking server' if variable == REGISTRY else 'the embedded database'}"
    if variable == TRACKING and in_pipeline_pod():
        way_out = f"switch tracking off with {SWITCH}=off"
    if why := malformed(uri):
        return f"{variable} is '{redact(uri)}', {why}. Correct it, or {way_out}."
    if scheme(uri) not in (*SCHEMES, *(UNITY if variable == REGISTRY else ())):
        return (
            f"{variable} is '{redact(uri)}', expected an address that begins with one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, or {way_out}."
        )
    if lost := lost_with_pod(uri, variable):
        return lost
    if connection(uri) == uri and scheme(uri) not in (*REMOTE, *UNITY) and not importlib.util.find_spec("sqlalchemy"):
        return (
            f"{variable} is '{redact(uri)}', a database, and this image holds only the client of a server. Name "
            "the http:// address of a server."
        )
    if reason := no_answer_reason(uri):
        return f"No MLflow server answers at {redact(uri)}: {reason}. Start one, fix {variable}, or {way_out}."
    return None


def lost_with_pod(uri: str, variable: str) -> str | None:
    """Say why a database in a file is no place in a pod of a pipeline run; None elsewhere."""
    if scheme(uri) != "sqlite" or not in_pipeline_pod():
        return None
    given = f"is '{redact(uri)}'" if os.environ.get(variable) else "is not set"
    off = f" or {SWITCH}=off to record nothing," if variable == TRACKING else ""
    advice = where_to_set(f"{variable}, such as http://server:5000,{off}")
    return f"{variable} {given}, and a database in this pod would be gone with it. {advice}"


def connection_problems(uri: str | None) -> list[str]:
    """Say why the tracking server and, where that is another one, the model registry cannot be reached.

    Without an address, tracking is off and nothing has to be.
    """
    if uri is None:
        return []
    registry = registry_uri(uri)
    problems = (switch_problem(), address_problem(uri), address_problem(registry, REGISTRY) if registry else None)
    return [problem for problem in problems if problem]


def no_answer_reason(uri: str) -> str | None:
    """Say why nothing answers at an http(s) URI; None if something does, whatever the answer is.

    In pods of a pipeline run, where no person tries again, an outage that may pass is waited out.
    """
    if scheme(uri) not in ("http", "https"):
        return None
    until = time.monotonic() + (setting(WAIT, OUTAGE_SECONDS, 0) if in_pipeline_pod() else 0)
    while (error := _connection_error(uri)) and _may_pass(error) and time.monotonic() < until:
        time.sleep(PAUSE_SECONDS)
    return (str(getattr(error, "strerror", None) or error).lower() or type(error).__name__) if error else None


def _connection_error(uri: str) -> Exception | None:
    """Return why nothing answers; an answer is one even if it is an error, and so is a certificate."""
    try:
        with urllib.request.urlopen(redact(uri).rstrip("/") + "/health", timeout=patience(CONNECT_SECONDS)):
            return None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, Exception) else error
        return None if isinstance(reason, ssl.SSLError) else reason
    except (OSError, ValueError, http.client.HTTPException) as error:
        return error


def _may_pass(error: Exception) -> bool:
    """Return whether a server that restarts, or a name server that is busy, may be behind an error."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException)
