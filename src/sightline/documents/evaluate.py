"""What evaluate leaves: the published score and the verdict on it."""

from __future__ import annotations

from pydantic import Field

from sightline.config import GateConfig
from sightline.documents.base import Document, Part, Score, Sha256, Split, Verdict
from sightline.documents.export import Curve


class ClassScores(Part):
    """Scores of one class on the test split; null where the split holds no box of it."""

    name: str
    boxes: int
    map50_95: Score | None
    map50: Score | None
    map75: Score | None
    precision: Score | None = Field(description="At the operating confidence; null without a detection.")
    recall: Score | None
    f1: Score | None


class SizeScores(Part):
    """Mean AP by object area in original pixels: small < 32², medium < 96², large."""

    small: Score | None
    medium: Score | None
    large: Score | None


class Curves(Part):
    """Curves at IoU 0.50."""

    precision_recall: Curve = Field(description="Interpolated precision over recall, mean over classes.")
    precision: Curve = Field(description="Precision over confidence, all boxes together.")
    recall: Curve = Field(description="Recall over confidence, all boxes together.")
    f1: Curve = Field(description="F1 over confidence, all boxes together.")


class ConfusionMatrix(Part):
    """Counts at IoU 0.50 and the operating confidence. Rows are labels, columns detections."""

    labels: list[str] = Field(description="Class names, then `background`.")
    counts: list[list[int]]


class Backgrounds(Part):
    """Images of the test split without a labelled object."""

    images: int
    false_positives: int
    false_positives_per_image: float | None


class PredictionsFile(Part):
    """The file of everything that was found in every image; `sightline.predictions` describes and reads it."""

    file: str = Field(description="File name in this folder.")
    uri: str = Field(description="The same bytes in the store, under their sha256.")
    sha256: Sha256
    size_bytes: int
    images: int
    detections: int = Field(description="Detections above the floor.")
    labels: int = Field(description="Labelled boxes.")
    floor: Score = Field(description="Score above which a detection was kept.")


class EvaluateDocument(Document):
    """The published score: measured on the exported file's own bytes, on the test split, at its own settings."""

    onnx_sha256: Sha256
    snapshot: str
    split: Split
    images: int
    boxes: int
    map50_95: Score | None
    map50: Score | None
    map75: Score | None
    by_size: SizeScores
    recall_at: dict[str, Score | None] = Field(description="Mean recall (AR) with at most 1, 10, 100 detections.")
    confidence: Score
    precision: Score | None
    recall: Score | None
    f1: Score | None
    per_class: list[ClassScores]
    confusion: ConfusionMatrix
    backgrounds: Backgrounds
    curves: Curves
    predictions: PredictionsFile | None = Field(
        None, description="What the scores were computed from, image by image; null in documents of earlier versions."
    )
    settings: str = Field(description="How detections were made and matched, in one sentence.")
    verdict: Verdict
    reasons: list[str]
    gate: GateConfig | None = Field(
        None, description="The minimums that it was judged by; null in documents of earlier versions."
    )
    provider: str = Field(description="ONNX Runtime execution provider that ran the file.")
    milliseconds_per_image: float = Field(description="Mean time of one image, decoding included.")
    finished_at: str = Field(description="When the scores were known: ISO 8601, UTC.")
    seconds: float
