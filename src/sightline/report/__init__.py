"""Report: every stage's document in; the consolidated result, the page and the MLflow run out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sightline.artifacts import ReportDocument, write_text
from sightline.config import RegisterConfig
from sightline.errors import TrackingError
from sightline.report import page, summary, tracking
from sightline.stages import running

PAGE = "report.html"


def run(*, run_id: str, folders: Mapping[str, Path], out: Path, started_at: str | None = None) -> ReportDocument:
    """Write `summary.json`, `report.html` and `report.json` into `out`, and record the run in MLflow.

    `folders` maps stages to their folders; a missing one is a stage that was not reached. `started_at`, ISO 8601, is
    when the run began, by default now. Page and summary are written even if MLflow cannot be reached.

    Raises TrackingError, and StageInputError for a document that does not fit its schema.
    """
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
