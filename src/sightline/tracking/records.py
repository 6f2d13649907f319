"""The MLflow run: one per pipeline run, however often it is recorded, with that run's times and state."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sightline.config import RegisterConfig, RunConfig
from sightline.config.assignments import flat
from sightline.documents import Document, Documents, Epoch, EvaluateDocument, SummaryDocument, load
from sightline.errors import ConfigError, TrackingError
from sightline.tracking.address import RUN_TAG, Place, database, redact
from sightline.tracking.server import client

KEY_TAG = "sightline.run_key"  # the run's id as hexadecimal digits: what a filter can carry whatever the id holds
NUMBER_TAG = "sightline.record"  # which of the MLflow runs of one pipeline run this is, from 1
CAUSE = "cause"  # tag of a run that failed on a cluster
LEARNING_RATE = "train/learning_rate"  # which every epoch has
Point = tuple[str, float, int, int]  # name, value, milliseconds since 1970, step
BATCH = 1000  # MLflow's own limit of metrics in one request
NAME_LENGTH, VALUE_LENGTH = 250, 6000  # of a run's name and of a parameter, in MLflow's database


class PipelineRun(NamedTuple):
    """What a stage before the report knows of its run, to find or open the MLflow run that the report will find."""

    run_id: str
    name: str
    started_at: str  # ISO 8601: when validate began
    config: RunConfig


def find(mlflow: Any, run_id: str, experiment: str) -> str | None:
    """Return the id of the latest MLflow run of a pipeline run, or None if none was opened."""
    found = _found(mlflow, run_id, experiment)
    return str(found[0].info.run_id) if found else None


def place(
    mlflow: Any,
    run_id: str,
    *,
    uri: str,
    name: str,
    experiment: str,
    started_at: str,
    parameters: Mapping[str, str],
    epochs: Sequence[Epoch] = (),
) -> Place:
    """Find the MLflow run of a pipeline run, or open it.

    `run_id` is the identity, `name` a label, `uri` the address that the run is recorded under. A run that has its id
    for a name, since whoever opened it knew no other, gets `name`.

    MLflow never changes a parameter and deletes no point. So a run that recorded other parameters, of an earlier
    attempt with other settings, is left alone, and so is one with epochs that are not among `epochs` with the very same
    times, as of a training that was done again from the start. `MLFLOW_RUN_ID` names a run that something else, such as
    a KFP plug-in, opened for us.

    Raises TrackingError.
    """
    if given := os.environ.get("MLFLOW_RUN_ID"):
        run = mlflow.get_run(given)
        mlflow.set_tag(given, RUN_TAG, run_id)
        return Place(redact(uri), mlflow.get_experiment(run.info.experiment_id).name, given)
    found = _found(mlflow, run_id, experiment)
    for run in found:
        same = all(parameters.get(key, value) == value for key, value in run.data.params.items())
        if same and _among(mlflow, run.info.run_id, epochs):
            if run.info.run_name == run_id != name:
                mlflow.update_run(run.info.run_id, name=name[:NAME_LENGTH])
            return Place(redact(uri), experiment, run.info.run_id)
    run = mlflow.create_run(
        _experiment(mlflow, uri, experiment),
        start_time=milliseconds(started_at),
        tags={RUN_TAG: run_id, KEY_TAG: _key(run_id), NUMBER_TAG: str(len(found) + 1)},
        run_name=name[:NAME_LENGTH],
    )
    return Place(redact(uri), experiment, run.info.run_id)


def _found(mlflow: Any, run_id: str, experiment: str) -> list[Any]:
    """Return the MLflow runs of a pipeline run, the latest first: all may have the same start."""
    known = mlflow.get_experiment_by_name(experiment)
    found = mlflow.search_runs([known.experiment_id], f"tags.`{KEY_TAG}` = '{_key(run_id)}'") if known else []
    return sorted(found, key=lambda run: int(run.data.tags.get(NUMBER_TAG, 1)), reverse=True)


def _among(mlflow: Any, mlflow_run: str, epochs: Sequence[Epoch]) -> bool:
    """Return whether the epochs that a run has on record are some of these; without these, nothing is compared."""
    if not epochs:
        return True
    recorded = {(point.step, point.timestamp) for point in mlflow.get_metric_history(mlflow_run, LEARNING_RATE)}
    return recorded <= {(epoch.epoch, milliseconds(epoch.ended_at)) for epoch in epochs}


def _key(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:32]


def _experiment(mlflow: Any, uri: str, name: str) -> str:
    """Return the experiment's id; created beside the database where the database is a file of ours."""
    from mlflow import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is None:
        file = database(uri)
        try:
            return str(mlflow.create_experiment(name, (file.parent / "mlartifacts").as_uri() if file else None))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = mlflow.get_experiment_by_name(name)  # another run made it since the question
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment '{name}' at {redact(uri)} is deleted. Restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`, or choose another with register.experiment."
        )
    return str(found.experiment_id)


def parameters(config: RunConfig | None) -> dict[str, str]:
    """Return the configuration as MLflow keeps it: text by dotted key, without what is null."""
    values = flat(config) if config else {}
    # `preset` has no dot and is a pipeline input too; a KFP plug-in may have logged it under that name already.
    return {key: str(value)[:VALUE_LENGTH] for key, value in values.items() if "." in key and value is not None}


def record(mlflow: Any, run: Place, documents: Documents, folders: Mapping[str, Path]) -> None:
    """Log parameters, metrics and documents; recording the same again changes nothing. Raises TrackingError."""
    if documents.config:
        describe(mlflow, run, documents.config.preset, parameters(documents.config))
    send(mlflow, run, history(documents.train.history if documents.train else ()) + scores_at(documents.evaluate))
    for name, document in vars(documents).items():
        if isinstance(document, Document):
            folder = folders["validate" if name == "data" else name]
            mlflow.log_artifact(run.run_id, str(folder / document.file_name()), "documents")


def describe(mlflow: Any, run: Place, preset: str, values: Mapping[str, str]) -> None:
    """Log a run's configuration. Raises TrackingError."""
    from mlflow.entities import Param, RunTag

    tags = [RunTag("sightline.preset", preset)]
    mlflow.log_batch(run.run_id, params=[Param(*item) for item in values.items()], tags=tags)


def send(mlflow: Any, run: Place, points: Sequence[Point]) -> None:
    """Log points; the server drops those that it has. Raises TrackingError."""
    from mlflow.entities import Metric

    for start in range(0, len(points), BATCH):
        mlflow.log_batch(run.run_id, metrics=[Metric(*point) for point in points[start : start + BATCH]])


def conclude(mlflow: Any, mlflow_run: str, summary: SummaryDocument, page: str) -> None:
    """Write the run's current page, summary, cost, tags, state and end. Nothing else writes a run's state.

    A run is RUNNING until it is decided: an accepted model may still fail to be registered. A run that was opened for
    us keeps the state that its owner gives it. Raises TrackingError.
    """
    from mlflow.entities import Metric, RunTag

    mlflow.log_text(mlflow_run, page, "report.html")
    mlflow.log_text(mlflow_run, summary.model_dump_json(indent=2, by_alias=True) + "\n", "summary.json")
    mlflow.log_batch(
        mlflow_run,
        metrics=[Metric(*point) for point in took(summary)],
        tags=[RunTag(*tag) for tag in tags(summary).items()],
    )
    known = mlflow.get_run(mlflow_run)
    if summary.cause is None and f"sightline.{CAUSE}" in known.data.tags:  # it was repeated, to another end
        mlflow.delete_tag(mlflow_run, f"sightline.{CAUSE}")
    if os.environ.get("MLFLOW_RUN_ID"):
        return
    state, before = _state(summary), known.info
    if state == "RUNNING":
        mlflow.update_run(mlflow_run, state)
    elif state != before.status or not before.end_time:
        mlflow.set_terminated(mlflow_run, state, milliseconds(summary.finished_at))


def record_end(
    result: SummaryDocument, folders: Mapping[str, Path], page: str, uri: str, *, open_record: bool = False
) -> None:
    """Write how a run ended into its MLflow run, if one was opened; an outage or a wrong setting is printed, no more.

    With `open_record` a run that failed before its report gets one, with what its stages left.
    """
    documents = load(folders)
    experiment = (documents.config.register_ if documents.config else RegisterConfig()).experiment
    try:
        with client(uri) as mlflow:
            found = find(mlflow, result.run_id, experiment)
            # Train may have opened it, with its epochs alone.
            if open_record and result.error and (found is None or documents.report is None):
                opened = place(
                    mlflow,
                    result.run_id,
                    uri=uri,
                    name=result.name or result.run_id,
                    experiment=experiment,
                    started_at=result.started_at,
                    parameters=parameters(documents.config),
                    epochs=documents.train.history if documents.train else (),
                )
                record(mlflow, opened, documents, folders)
                found = opened.run_id
            if found:
                conclude(mlflow, found, result, page)
    except (TrackingError, ConfigError) as error:
        lacks = "how it ended" if result.error else "what it took"
        print(f"The run's MLflow record does not say {lacks}. {error}", file=sys.stderr)


def _state(summary: SummaryDocument) -> str:
    """Return MLflow's word for how a run ended."""
    if summary.status == "failed":
        return "KILLED" if summary.error and summary.error.kind == "interrupted" else "FAILED"
    return "FINISHED" if summary.status else "RUNNING"


def milliseconds(moment: str) -> int:
    """Return an ISO 8601 time as MLflow counts: milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def history(epochs: Sequence[Epoch]) -> list[Point]:
    """Return the points of epochs, at the time when each ended: the same, whoever sends them and however often."""
    points: list[Point] = []
    for epoch in epochs:
        moment = milliseconds(epoch.ended_at)
        values = epoch.model_dump(exclude={"epoch", "seconds", "ended_at", "spent"}, exclude_none=True)
        points += [(f"train/{name}", value, moment, epoch.epoch) for name, value in values.items()]
    return points


def took(summary: SummaryDocument) -> list[Point]:
    """Return (name, value, milliseconds, 0) of what a run on a cluster took, as far as that is known."""
    if summary.cost is None:
        return []
    moment = milliseconds(summary.finished_at)
    values = {"gpu_hours": summary.cost.gpu_hours, "waiting_seconds": summary.cost.waiting_seconds}
    return [(name, value, moment, 0) for name, value in values.items() if value is not None]


def scores_at(document: EvaluateDocument | None) -> list[Point]:
    """Return (name, value, milliseconds, 0) of every published score."""
    if document is None:
        return []
    moment = milliseconds(document.finished_at)
    return [(name, value, moment, 0) for name, value in scores(document).items()]


def scores(document: EvaluateDocument) -> dict[str, float]:
    """Return the published scores under names that MLflow takes; nulls are left out."""
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


def tags(summary: SummaryDocument) -> dict[str, str]:
    """Return the tags that a run is found by; always with a status, so that none remains from before."""
    evaluated = summary.evaluate
    values = {
        "status": summary.status or "unfinished",
        "name": summary.name,
        "model_name": summary.model_name,
        "verdict": evaluated.verdict if evaluated else None,
        "snapshot": summary.data.snapshot.rsplit("/", 1)[-1] if summary.data and summary.data.snapshot else None,
        "onnx_sha256": summary.export.sha256 if summary.export else None,
        "git_commit": summary.git_commit,
        CAUSE: f"{summary.cause.kind}: {summary.cause.sentence}"[:VALUE_LENGTH] if summary.cause else None,
    }
    return {f"sightline.{name}": value for name, value in values.items() if value}
