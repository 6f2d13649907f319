"""Report: every stage's document in; the consolidated result, the page and the MLflow run out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sightline.artifacts import ReportDocument, write_text
from sightline.config import RegisterConfig
from sightline.errors import StageInputError, TrackingError
from sightline.report import page, summary, tracking
from sightline.result import ErrorReport, StageOutcome, SummaryDocument
from sightline.stages import running

PAGE = "report.html"


def conclude(
    *,
    run_id: str,
    folders: Mapping[str, Path],
    out: Path,
    started_at: str,
    finished_at: str | None = None,
    stages: Sequence[StageOutcome] = (),
    error: ErrorReport | None = None,
) -> SummaryDocument:
    """Write the final `summary.json` and `report.html` of a whole run into its directory.

    `finished_at` is by default now. An accepted run that ended without a model version and without an error is a failed
    one: never a quiet success.
    """
    result = summary.summarise(run_id=run_id, folders=folders, started_at=started_at, stages=stages, error=error)
    if finished_at:
        result = result.model_copy(update={"finished_at": finished_at})
    if result.status is None and stages:
        message = "The model was accepted, but the pipeline ended without registering it; see pipeline.log."
        error = ErrorReport(stage="register", kind="internal", message=message, exit_code=1)
        result = result.model_copy(update={"status": "failed", "error": error})
    write_text(out / PAGE, page.render(result, folders))
    result.write(out)
    return result


def run(*, run_id: str, folders: Mapping[str, Path], out: Path, started_at: str | None = None) -> ReportDocument:
    """Write `summary.json`, `report.html` and `report.json` into `out`, and record the run in MLflow.

    `folders` maps stages to their folders; a missing one is a stage that was not reached. `started_at`, ISO 8601, is
    when the run began, by default now. Page and summary are written even if MLflow cannot be reached.

    Raises TrackingError, and StageInputError for a document that does not fit its schema.
    """
    if "validate" not in folders:
        raise StageInputError("There is nothing to report on: expected the folder that `sightline validate` wrote.")
    with running("report", out, **folders) as seconds:
        documents = summary.load(folders)
        result = summary.summarise(run_id=run_id, folders=folders, started_at=started_at or summary.now())
        result.write(out)
        config = documents.validate.config.register_ if documents.validate else RegisterConfig()
        try:
            place = tracking.place(run_id, config.experiment)
        except TrackingError:
            write_text(out / PAGE, page.render(result, folders))
            raise
        html = page.render(result, folders, place)
        write_text(out / PAGE, html)
        tracking.record(place, summary=result, documents=documents, folders=folders, page=html)
        document = ReportDocument(**place._asdict(), seconds=seconds())
        document.write(out)
    return document
