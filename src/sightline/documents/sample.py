"""What sample leaves: the gallery."""

from __future__ import annotations

from pydantic import Field

from sightline.documents.base import Document, Part, Score, Sha256, Split


class Sample(Part):
    """One held-out image with what the model saw in it."""

    image: str = Field(description="Name of the image in the source.")
    file: str = Field(description="Drawing in this folder.")
    finding: str = Field(description="What was found, in words; `No findings` where there is nothing.")
    labelled: int
    found: int
    matched: int
    missed: int
    false: int


class SampleDocument(Document):
    """The gallery."""

    onnx_sha256: Sha256
    split: Split
    confidence: Score
    samples: list[Sample]
    seconds: float
