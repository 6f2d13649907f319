"""Report: turn every stage's document into the summary, the page and the MLflow run.

`conclude` writes how a whole run ended; `finish` does so for one whose stages left everything in a store, `unknown`
where that cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline import predictions, summary
from sightline.atomic import write_text
from sightline.config import RegisterConfig
from sightline.documents import (
    Documents,
    EvaluateDocument,
    ReportDocument,
    SummaryDocument,
    load,
)
from sightline.errors import SightlineError, StageInputError
from sightline.pages import run_page
from sightline.report.ending import PAGE, conclude, finish, unknown
from sightline.runtime import progress
from sightline.runtime.stage_frame import NAMES, running
from sightline.tracking import address, records, server

__all__ = ["PAGE", "check_current", "conclude", "finish", "look_at_predictions", "run", "unknown"]


def run(
    *,
    run_id: str,
    name: str | None = None,
    folders: Mapping[str, Path],
    out: Path,
    started_at: str | None = None,
    asked: Mapping[str, Any] | None = None,
) -> ReportDocument:
    """Write `summary.json`, `report.html` and `report.json` into `out`, and record the run in MLflow, if that is on.

    `run_id` is the run's identity and `name` its label, by default the same. `folders` maps stages to their folders; a
    missing one is a stage that was not reached. `started_at`, ISO 8601, is when the run began, by default when validate
    did. `asked` is what train asked of the cluster. Page and summary are written even if MLflow cannot be reached.

    Raises TrackingError if MLflow refuses or does not answer, StageInputError for a document that does not fit its
    schema, or was made from another one than an earlier stage has left since.
    """
    if "validate" not in folders:
        raise StageInputError("There is nothing to report on: expected the folder that `sightline validate` wrote.")
    with running("report", out) as seconds:
        documents = load(folders)
        check_current(documents, folders)
        look_at_predictions(documents.evaluate, folders)
        uri = address.tracking_uri()
        result = summary.summarise(
            run_id=run_id, name=name, folders=folders, started_at=started_at, tracked=uri is not None
        )
        result.write(out)
        write_text(out / PAGE, run_page.render(result, folders))
        place = _record(uri, result, documents, folders, out) if uri else None
        where = place._asdict() if place else dict.fromkeys(address.Place._fields)
        document = ReportDocument(**where, asked=dict(asked) if asked else None, seconds=seconds())
        document.write(out)
    return document


def _record(
    uri: str, result: SummaryDocument, documents: Documents, folders: Mapping[str, Path], out: Path
) -> address.Place:
    """Record the run in MLflow, with a page in `out` that says where; returns that. Raises TrackingError."""
    config = documents.validate.config.register_ if documents.validate else RegisterConfig()
    with server.client(uri) as mlflow:
        place = records.place(
            mlflow,
            result.run_id,
            uri=uri,
            name=result.name or result.run_id,
            experiment=config.experiment,
            started_at=result.started_at,
            parameters=records.parameters(documents.config),
            epochs=documents.train.history if documents.train else (),
        )
        html = run_page.render(result, folders, place)
        write_text(out / PAGE, html)
        records.record(mlflow, place, documents, folders)
        records.conclude(mlflow, place.run_id, result, html)
    return place


def check_current(documents: Documents, folders: Mapping[str, Path]) -> None:
    """Refuse documents that do not belong together. Raises StageInputError, naming the stage to repeat from."""
    outdated = documents.outdated()
    if outdated:
        first = next(name for name in NAMES if name in outdated)
        raise StageInputError(
            f"Stages were repeated, and those behind them were not. Repeat {first} and what follows it:",
            [f"{folders[name]} {problem}" for name, problem in outdated.items()],
        )


def look_at_predictions(evaluated: EvaluateDocument | None, folders: Mapping[str, Path]) -> None:
    """See that the predictions can be used and lie in the store, as later readers rely on; say so if not.

    The page appears without them. Report runs at every end, also where evaluate and sample came from a cache.
    """
    if evaluated is None:
        return
    try:
        predictions.load(evaluated, folders["evaluate"])
        predictions.put_back(evaluated, folders["evaluate"])
    except SightlineError as error:
        progress.notice(f"the predictions of the evaluation cannot be used: {error}")
