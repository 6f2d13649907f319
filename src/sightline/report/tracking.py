"""The MLflow run: one for each pipeline run, however often it is recorded."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sightline.artifacts import Document, EvaluateDocument, TrainDocument
from sightline.errors import ConfigError, TrackingError
from sightline.report.summary import Documents, flat
from sightline.result import SummaryDocument
from sightline.storage.files import database_folder, database_uri

RUN_TAG = "sightline.run_id"
ANSWER_SECONDS = 3
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
CREDENTIALS = re.compile(r"://[^/?#\s]*@")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
BATCH = 1000  # MLflow's own limit of metrics in one request


class Place(NamedTuple):
    """Where a run is recorded; without credentials, fit to be shown."""

    tracking_uri: str
    experiment: str
    run_id: str


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the embedded SQLite database in `SIGHTLINE_RUNS` (default `./runs`)."""
    runs = Path(os.environ.get("SIGHTLINE_RUNS") or "runs").resolve()
    return os.environ.get("MLFLOW_TRACKING_URI") or database_uri(runs)


def redact(uri: str) -> str:
    """Return a URI without user, password and query, so that it can be shown and stored."""
    return CREDENTIALS.sub("://", uri).partition("?")[0]


def preflight(uri: str) -> None:
    """Check within seconds, and without loading MLflow, that a tracking server listens at an http(s) URI.

    Raises ConfigError; databases are taken as they are.
    """
    try:
        scheme = urlsplit(uri).scheme.partition("+")[0]
    except ValueError:
        scheme = ""
    if scheme not in SCHEMES:
        raise ConfigError(
            f"MLFLOW_TRACKING_URI is '{redact(uri)}', expected an address that begins with one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, or unset it to use the embedded database."
        )
    if reason := _silence(uri):
        raise ConfigError(
            f"No MLflow server answers at {redact(uri)}: {reason}. Start one, fix MLFLOW_TRACKING_URI, or unset it to "
            "use the embedded database."
        )


def _silence(uri: str) -> str | None:
    """Say why nobody answers at an http(s) URI; null if somebody does, whatever the answer is."""
    if urlsplit(uri).scheme not in ("http", "https"):
        return None
    try:
        with urllib.request.urlopen(redact(uri).rstrip("/") + "/health", timeout=ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return None
        return str(getattr(error.reason, "strerror", None) or error.reason).lower()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "strerror", None) or error).lower() or type(error).__name__


@contextlib.contextmanager
def client(uri: str) -> Iterator[Any]:
    """Yield an MLflow client of `uri`; refusals and outages inside the block become a TrackingError."""
    advice = "Nothing is lost: start it, or fix MLFLOW_TRACKING_URI, and run this stage again."
    if reason := _silence(uri):
        raise TrackingError(f"No MLflow server answers at {redact(uri)}: {reason}. {advice}")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow
    from requests.exceptions import RequestException  # type: ignore[import-untyped]
    from sqlalchemy.exc import SQLAlchemyError

    try:
        mlflow.set_tracking_uri(uri)  # the model flavours know no other way
        yield mlflow.MlflowClient(uri)
    except (mlflow.MlflowException, RequestException, SQLAlchemyError) as error:
        said = str(error).partition("\n")[0][:400].rstrip(". ")
        raise TrackingError(f"MLflow at {redact(uri)} refused: {CREDENTIALS.sub('://', said)}. {advice}") from None


def place(run_id: str, experiment: str) -> Place:
    """Find the MLflow run of a pipeline run, or create it.

    `MLFLOW_RUN_ID` names a run that somebody else, such as a KFP plug-in, opened for us.

    Raises TrackingError.
    """
    uri = tracking_uri()
    with client(uri) as mlflow:
        if given := os.environ.get("MLFLOW_RUN_ID"):
            run = mlflow.get_run(given)
            name = mlflow.get_experiment(run.info.experiment_id).name
            mlflow.set_tag(given, RUN_TAG, run_id)
            return Place(redact(uri), name, given)
        identifier = _experiment(mlflow, uri, experiment)
        found = mlflow.search_runs([identifier], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
        run = found[0] if found else mlflow.create_run(identifier, tags={RUN_TAG: run_id}, run_name=run_id)
        return Place(redact(uri), experiment, run.info.run_id)


def _experiment(mlflow: Any, uri: str, name: str) -> str:
    """Return the experiment's id; created beside the database where the database is a file of ours."""
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        location = None
        if uri.startswith("sqlite:///"):
            location = (database_folder(uri) / "mlartifacts").as_uri()
        return str(mlflow.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment '{name}' at {redact(uri)} is deleted. Restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`, or choose another with register.experiment."
        )
    return str(found.experiment_id)


def record(
    run: Place, *, summary: SummaryDocument, documents: Documents, folders: Mapping[str, Path], page: str
) -> None:
    """Log parameters, metrics, tags and documents; recording the same run again changes nothing.

    Raises TrackingError.
    """
    with client(tracking_uri()) as mlflow:
        from mlflow.entities import Metric, Param, RunTag

        started = mlflow.get_run(run.run_id).info.start_time
        points = history(documents.train, started) if documents.train else []
        # Scores carry the run's start as their time: MLflow drops a point equal to one that it has.
        points += [(name, value, started, 0) for name, value in scores(documents.evaluate).items()]
        parameters = flat(documents.config) if documents.config else {}
        # `preset` has no dot and is a pipeline input too; a KFP plug-in may have logged it under that name already.
        params = [Param(key, str(value)) for key, value in parameters.items() if "." in key and value is not None]
        mlflow.log_batch(run.run_id, params=params, tags=[RunTag(*tag) for tag in tags(summary, documents).items()])
        for start in range(0, len(points), BATCH):
            mlflow.log_batch(run.run_id, metrics=[Metric(*point) for point in points[start : start + BATCH]])
        for name, document in vars(documents).items():
            if isinstance(document, Document):
                folder = folders["validate" if name == "data" else name]
                mlflow.log_artifact(run.run_id, str(folder / document.file_name()), "documents")
        mlflow.log_text(run.run_id, page, "report.html")
        mlflow.log_text(run.run_id, summary.model_dump_json(indent=2, by_alias=True) + "\n", "summary.json")
        if not os.environ.get("MLFLOW_RUN_ID"):
            mlflow.set_terminated(run.run_id, "FINISHED")


def history(document: TrainDocument, started: int) -> list[tuple[str, float, int, int]]:
    """Return (name, value, milliseconds, epoch) of every epoch, at times that are the same whenever this is asked."""
    points = []
    elapsed = 0.0
    for epoch in document.history:
        elapsed += epoch.seconds
        values = epoch.model_dump(exclude={"epoch", "seconds"}, exclude_none=True)
        points += [
            (f"train/{name}", value, started + round(elapsed * 1000), epoch.epoch) for name, value in values.items()
        ]
    return points


def scores(document: EvaluateDocument | None) -> dict[str, float]:
    """Return the published scores under names that MLflow takes; nulls are left out."""
    if document is None:
        return {}
    values = {
        name: getattr(document, name)
        for name in ("map50_95", "map50", "map75", "precision", "recall", "f1", "confidence")
    }
    values |= {f"map50_95/{name}": value for name, value in document.by_size.model_dump().items()}
    values |= {f"recall_at/{name}": value for name, value in document.recall_at.items()}
    values["false_positives_per_image"] = document.backgrounds.false_positives_per_image
    for index, item in enumerate(document.per_class):
        clean = re.sub(r"[^\w .-]", "_", item.name)[:100]  # what MLflow refuses; the index keeps names apart
        values |= {f"class/{index}-{clean}/{score}": getattr(item, score) for score in ("map50", "map50_95")}
    return {f"{document.split}/{name}": value for name, value in values.items() if value is not None}


def tags(summary: SummaryDocument, documents: Documents) -> dict[str, str]:
    """Return what a run is found by."""
    evaluated = documents.evaluate
    accepted = evaluated is not None and evaluated.verdict == "register"
    values = {
        "status": summary.status or ("accepted" if accepted else "unfinished"),
        "verdict": evaluated.verdict if evaluated else None,
        "snapshot": documents.validate.digest if documents.validate else None,
        "preset": documents.validate.config.preset if documents.validate else None,
        "onnx_sha256": documents.export.sha256 if documents.export else None,
        "git_commit": summary.git_commit,
    }
    return {f"sightline.{name}": value for name, value in values.items() if value}
