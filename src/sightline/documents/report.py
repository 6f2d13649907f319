"""What report leaves: where the run was recorded."""

from __future__ import annotations

from pydantic import Field

from sightline.documents.base import Document


class ReportDocument(Document):
    """Where the run was recorded."""

    tracking_uri: str
    experiment: str
    run_id: str = Field(description="MLflow run of this pipeline run.")
    seconds: float
