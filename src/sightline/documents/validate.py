"""What validate leaves: the snapshot, the weights and the configuration of a run."""

from __future__ import annotations

from pydantic import Field

from sightline.config import Format, RunConfig
from sightline.documents.base import Document, Part, Sha256, Split
from sightline.documents.data import RuleResult, SplitCounts
from sightline.documents.weights import WeightsReference


class Weights(Part):
    """Starting weights, pinned."""

    source: str = Field(description="What the user asked for.")
    reference: WeightsReference = Field(description="What training takes: an architecture, or a URI and a digest.")
    licence: str = Field(description="Licence under which the weights may be used, as far as known.")

    @property
    def sha256(self) -> str | None:
        """Digest of the checkpoint; null when training from scratch."""
        return self.reference.sha256


class ValidateDocument(Document):
    """What was read and what was made of it. `data.json` beside it is the data report."""

    source: str
    format: Format
    snapshot: str = Field(description="URI of the snapshot's folder in the store.")
    digest: Sha256 = Field(description="Digest over image bytes, labels, class names, splits and file names.")
    classes: list[str]
    splits: dict[Split, SplitCounts]
    split_rule: str | None = Field(description="How missing splits were made; null when the source brought all three.")
    uploaded_bytes: int = Field(description="Bytes that this run added to the store.")
    findings: list[RuleResult] = Field(description="What the rules found and the policy let pass.")
    dropped_images: int = Field(description="Images that were left out, each with an issue that says why.")
    dropped_boxes: int = Field(description="Boxes that were left out of images that stay.")
    weights: Weights
    config: RunConfig
    train_code: Sha256 = Field(description="Digest of what trains and exports: source and package versions.")
    infer_code: Sha256 = Field(description="Digest of what evaluates: source and package versions.")
    started_at: str = Field(description="When the stage, and with it the run, began: ISO 8601, UTC.")
    seconds: float
