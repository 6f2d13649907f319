"""What report leaves: where the run was recorded, if anywhere."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sightline.documents.base import Document


class ReportDocument(Document):
    """Where the run was recorded; all three are null where tracking was switched off."""

    tracking_uri: str | None
    experiment: str | None
    run_id: str | None = Field(description="MLflow run of this pipeline run.")
    asked: dict[str, Any] | None = Field(None, description="What train asked of the cluster; null on one machine.")
    seconds: float
