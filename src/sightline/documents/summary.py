"""The consolidated result of a run: what `summary.json` holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from sightline.documents.base import Document, Part, Score, Sha256, Split, Verdict
from sightline.documents.cause import Cause
from sightline.documents.cost import Cost
from sightline.documents.evaluate import ClassScores
from sightline.documents.export import Parity
from sightline.documents.train import BestEpoch, Ending, Hardware
from sightline.documents.validate import Unchanged

Status = Literal["registered", "accepted", "unchanged", "rejected", "failed"]  # of a run that has ended


class SummaryData(Part):
    """The data, in short."""

    source: str
    snapshot: str | None = Field(description="Null where the data gate refused the source.")
    classes: list[str]
    images: dict[Split, int]
    boxes: dict[Split, int]
    issues: dict[Literal["error", "warning"], int]
    dropped: dict[Literal["images", "boxes"], int] = Field(description="What quarantine left out of training.")


class SummaryTrain(Part):
    """Training, in short."""

    weights: str
    weights_sha256: Sha256 | None
    seed: int
    world_size: int
    epochs_completed: int
    attempts: int
    recovered: list[Ending] = Field([], description="How the attempts ended that did not finish.")
    image_size: int | None = Field(None, description="Side of the network input that was trained, in pixels.")
    asked_image_size: int | None = Field(None, description="The one that was asked for, in pixels.")
    cut_short: bool = Field(False, description="Whether train.max_hours ended it before its last epoch.")
    seconds: float
    best: BestEpoch

    @property
    def smaller(self) -> str | None:
        """Say that recovery lowered the image size, which makes another model; None where it did not."""
        if self.image_size == self.asked_image_size:
            return None
        return f"trained at {self.image_size} px, asked {self.asked_image_size}"


class SummaryExport(Part):
    """The file, in short."""

    onnx: str
    sha256: Sha256
    opset: int
    confidence: Score
    parity: Parity


class SummaryEvaluate(Part):
    """The score, in short."""

    split: Split
    images: int
    map50_95: Score | None
    map50: Score | None
    map75: Score | None
    precision: Score | None
    recall: Score | None
    f1: Score | None
    confidence: Score
    per_class: list[ClassScores]
    verdict: Verdict
    reasons: list[str]


class SummaryRegister(Part):
    """The model version, in short."""

    model_name: str
    version: str
    aliases: list[str]
    tracking_uri: str
    run_id: str


class StageOutcome(Part):
    """How one stage went."""

    name: str
    seconds: float | None
    status: Literal["done", "cached", "failed", "skipped"]
    note: str | None = Field(default=None, description="What is unusual about it, such as why it was done again.")


class ErrorReport(Part):
    """Why a run failed."""

    stage: str
    kind: str
    message: str
    exit_code: int

    @property
    def outage(self) -> bool:
        """Whether a server did not answer, which passes by itself; one that answers "wrong" gives exit code 2."""
        return self.kind in ("storage", "tracking", "cluster") and self.exit_code == 1


class SummaryDocument(Document):
    """The whole run on one page; a part that was not reached is null."""

    @classmethod
    def command(cls) -> str:
        """Report writes it beside its own document, and into the folder of the run."""
        return "sightline report"

    run_id: str = Field(description="Identity of the run: its folder's name on one machine, the job's id on a cluster.")
    name: str | None = Field(None, description="What people call the run; several may be called the same.")
    model_name: str | None = Field(
        None, description="Name in the registry of the model it was to make; null if it ended before that was known."
    )
    status: Status | None = Field(
        description="Null while the run goes on: an accepted model is `registered` once the registry holds it, and "
        "`accepted` where tracking is switched off."
    )
    rejected_by: Literal["data", "score"] | None
    started_at: str = Field(description="ISO 8601, UTC.")
    finished_at: str
    git_commit: str | None = Field(description="Commit of the images or, outside them, of the source tree.")
    images: dict[str, str] = Field({}, description="Container image of each stage that ran in one: name and tag.")
    packages: dict[str, str]
    hardware: Hardware | None
    unchanged: Unchanged | None = Field(None, description="The earlier run that still stands, of an unchanged run.")
    data: SummaryData | None
    train: SummaryTrain | None
    export: SummaryExport | None
    evaluate: SummaryEvaluate | None
    register_: SummaryRegister | None = Field(alias="register")
    stages: list[StageOutcome]
    error: ErrorReport | None
    cause: Cause | None = Field(None, description="Why a run on a cluster failed, as far as anything said so.")
    cost: Cost | None = Field(None, description="What a run on a cluster took.")

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def read_error(path: Path) -> ErrorReport | None:
    """Read the error document of a failed stage, if one was written."""
    if not path.exists():
        return None
    return ErrorReport.model_validate(json.loads(path.read_text(encoding="utf-8")))
