"""What validate leaves: the snapshot, the weights and the configuration of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.config import Format, RunConfig
from sightline.documents.base import Document, Part, Sha256, Split
from sightline.documents.data import RuleResult, SplitCounts
from sightline.documents.weights import WeightsReference

JudgedStatus = Literal["registered", "accepted", "rejected"]  # of a run that came to a verdict on a model


class Weights(Part):
    """Starting weights, pinned."""

    source: str = Field(description="What the user asked for.")
    reference: WeightsReference = Field(description="What training takes: an architecture, or a URI and a digest.")
    licence: str = Field(description="Licence under which the weights may be used, as far as known.")

    @property
    def sha256(self) -> str | None:
        """Digest of the checkpoint, or of a network of the user's own; null for one of the engine's, from scratch."""
        return self.reference.sha256


class Unchanged(Part):
    """Why a run ends without training: an earlier one that still stands."""

    run_id: str = Field(description="The earlier run.")
    name: str | None = Field(None, description="What people call it, as far as known.")
    status: JudgedStatus = Field(description="How that run ended.")
    version: str | None = Field(None, description="The model version that it registered, if any.")
    why: str = Field(description="What was compared, and what came of it.")

    @property
    def shown(self) -> str:
        """Name the earlier run and how it ended: `run nightly-7, registered as version 3`."""
        name = f"{self.name} ({self.run_id})" if self.name and self.name != self.run_id else self.run_id
        return f"run {name}, {self.status}{f' as version {self.version}' if self.version else ''}"

    @property
    def sentence(self) -> str:
        """Say the whole."""
        return f"Nothing was trained: {self.shown}, still stands. {self.why}"


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
    train_code: Sha256 = Field(
        description="Digest of what trains and exports: source and package versions, and a hook."
    )
    infer_code: Sha256 = Field(description="Digest of what evaluates: source and package versions.")
    unchanged: Unchanged | None = Field(
        None, description="The earlier run that still stands; null where this one trains."
    )
    sizing: list[str] = Field(
        [], description="What `train.sizing` chose of model and sizes, and why, in words; empty where it is off."
    )
    trains_because: str | None = Field(
        None, description="Why it trains although `retrain.when` might have spared that; null otherwise."
    )
    started_at: str = Field(description="When the stage, and with it the run, began: ISO 8601, UTC.")
    seconds: float
