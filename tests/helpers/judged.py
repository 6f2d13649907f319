"""A run that came to an end, as the pieces that its conclusion gives: what validate left, and the summary."""

from __future__ import annotations

from typing import Any

from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.documents import SummaryDocument, SummaryRegister, ValidateDocument
from sightline.snapshots import Published
from sightline.summary import summarise
from tests.helpers import documents

MODEL = "smear"


def validated(published: Published | None = None, settings: dict[str, Any] | None = None) -> ValidateDocument:
    """Return the document of a validated run, with the snapshot that was published for it."""
    config = apply(quickstart(), {"register.model_name": MODEL, "retrain.when": "changed", **(settings or {})})
    document = documents.validate(config)
    return document.model_copy(update={"snapshot": published.uri, "digest": published.digest} if published else {})


def ended(run_id: str, status: str = "registered", at: str = "2026-11-21T08:00:00.000+00:00", **values: Any) -> Any:
    """Return the summary of a run that ended with a status, as version 3 where it was registered."""
    version = SummaryRegister(
        model_name=MODEL, version="3", aliases=["candidate"], tracking_uri="http://127.0.0.1:5000", run_id="9f"
    )
    summary: SummaryDocument = summarise(run_id=run_id, folders={})
    update = {"status": status, "finished_at": at, "register_": version if status == "registered" else None}
    return summary.model_copy(update={**update, **values})
