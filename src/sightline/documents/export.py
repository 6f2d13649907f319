"""What export leaves: the file that ships, and its parity with the checkpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.documents.base import Document, Part, Score, Sha256


class Curve(Part):
    """A line of points for the page, thinned to at most about 150."""

    x: list[float]
    y: list[float]


class Parity(Part):
    """The exported file against the checkpoint, on real val images."""

    images: int
    max_abs_diff: float = Field(description="Largest difference of raw outputs: boxes in pixels, scores in 0..1.")
    tolerance: float
    confidence: float = Field(description="Confidence above which detections were compared.")
    matched: int = Field(description="Detections of the checkpoint that the file computes as well: box, class, score.")
    unmatched: int = Field(description="Detections of either that the other does not compute.")
    passed: bool


class ExportDocument(Document):
    """The file that ships."""

    snapshot: str = Field(description="Data on whose val split confidence and parity were measured.")
    onnx: str = Field(description="File name of the ONNX model in this folder.")
    sha256: Sha256
    size_bytes: int
    opset: int
    architecture: str
    head: Literal["anchors", "nms-free"]
    image_size: int
    classes: list[str]
    single_class: bool = Field(False, description="Whether all classes of the snapshot count as one, from train on.")
    confidence: Score = Field(
        description="Operating confidence: best mean F1 on val, in the widest gap between scores there."
    )
    confidence_f1: Score = Field(description="Mean F1 over classes on val at that confidence.")
    f1_curve: Curve | None = Field(
        None, description="Mean F1 over classes on val, over confidence; null in documents of earlier versions."
    )
    checkpoint_sha256: Sha256
    parity: Parity
    seconds: float
