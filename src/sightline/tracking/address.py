"""Where MLflow is, if anywhere: the address of its server or database, parsed, and shown without credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sightline.documents import ReportDocument
from sightline.storage.files import database_uri
from sightline.tracking.answers import CREDENTIALS

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
SWITCH = "SIGHTLINE_TRACKING"
OFF = f"tracking is switched off ({SWITCH}=off)"
SERVER = "SIGHTLINE_TRACKING_SERVER"  # in front of the embedded database, for containers, which cannot open it
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
REMOTE = ("http", "https", "databricks")
UNITY = ("databricks-uc", "uc")  # registries alone
RUN_TAG = "sightline.run_id"  # of an MLflow run: the pipeline run that it records


class Place(NamedTuple):
    """Where a run is recorded; free of credentials, so that it can be shown."""

    tracking_uri: str
    experiment: str
    run_id: str


def place_of(reported: ReportDocument) -> Place | None:
    """Return where a run was recorded, by its report; None where tracking was off."""
    if reported.tracking_uri is None or reported.experiment is None or reported.run_id is None:
        return None
    return Place(reported.tracking_uri, reported.experiment, reported.run_id)


def tracking_uri(runs: Path | None = None) -> str | None:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite database in `runs`, by default `SIGHTLINE_RUNS` or `./runs`.

    None where `SIGHTLINE_TRACKING` is `off`, whatever the others say: a plug-in of KFP sets addresses too.
    """
    if os.environ.get(SWITCH) == "off":
        return None
    folder = (runs or Path(os.environ.get("SIGHTLINE_RUNS") or "runs")).resolve()
    return os.environ.get(TRACKING) or database_uri(folder)


def switch_problem() -> str | None:
    """Say what is wrong with `SIGHTLINE_TRACKING`; None if nothing is."""
    value = os.environ.get(SWITCH)
    if value in (None, "", "on", "off"):
        return None
    return f"{SWITCH} is '{value}', expected on or off (in YAML with quotes, where a bare off means false)."


def connection(uri: str) -> str:
    """Return what to connect to for a tracking address: for the embedded database the server before it, if any."""
    served = os.environ.get(SERVER)
    return served if served and database(uri) else uri


def server_uri() -> str | None:
    """Return the tracking address if a server is there, which any client can write to while a run goes on.

    None for a database, which only the whole of MLflow opens, and where tracking is off.
    """
    uri = tracking_uri()
    return uri if uri and scheme(connection(uri)) in REMOTE else None


def registry_uri(tracking: str) -> str | None:
    """Return `MLFLOW_REGISTRY_URI`, or None where the tracking server is the model registry too."""
    uri = os.environ.get(REGISTRY)
    return uri if uri and uri != tracking else None


def redact(uri: str) -> str:
    """Return a URI without user, password and query, so that it can be shown and stored."""
    return CREDENTIALS.sub("://", uri).partition("?")[0]


def scheme(uri: str) -> str:
    """Return the scheme without the driver: `postgresql` of `postgresql+psycopg2://…`; empty if there is none."""
    try:
        return uri if uri in ("databricks", "databricks-uc") else urlsplit(uri).scheme.partition("+")[0]
    except ValueError:
        return ""


def database(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None for every other URI, and for a database in memory."""
    if scheme(uri) != "sqlite":
        return None
    path = unquote(uri.partition("://")[2].partition("?")[0].removeprefix("/"))
    return Path(path).absolute() if path and path != ":memory:" else None


def lock_file(path: Path) -> Path:
    """Return the file that is locked while one process creates the tables of a database."""
    return path.with_name(f".{path.name}.lock")


def malformed(uri: str) -> str | None:
    """Say what is wrong with an address, as the end of a sentence; None if nothing is."""
    if uri != uri.strip():
        return "with a space before or after the address"
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "in which the brackets of an IPv6 address do not close"
    if parts.scheme not in ("http", "https"):
        return None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "in which the port is not a number from 1 to 65535"
    return None if parts.hostname else "in which the host is missing"
