"""What report leaves: where the run was recorded, if anywhere."""

from __future__ import annotations

from pydantic import Field

from sightline.documents.base import Document


class ReportDocument(Document):
    """Where the run was recorded; all three are null where tracking was switched off."""

    tracking_uri: str | None
    experiment: str | None
    run_id: str | None = Field(description="MLflow run of this pipeline run.")
    seconds: float
