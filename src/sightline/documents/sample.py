"""What sample leaves: the gallery."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.documents.base import Document, Part, Score, Sha256, Split

Chosen = Literal["miss", "false alarm", "typical", "empty", "even", "given"]


class Sample(Part):
    """One image with its detections. The counts are null for a picture without labels."""

    image: str = Field(description="Name of the image in the source, or in the place of the pictures.")
    file: str = Field(description="Drawing in this folder.")
    chosen: Chosen = Field(
        "even",
        description="Why it is shown. By the predictions: it has the most objects missed or the most false alarms, its "
        "F1 is nearest to the median (typical), or nothing is in it (empty). Without predictions: evenly spread over "
        "the split. Or it is one of the user's own pictures (given).",
    )
    finding: str = Field(description="What was found, in words; `No findings` where there is nothing.")
    labelled: int | None
    found: int
    matched: int | None
    missed: int | None
    false: int | None


class Agreement(Part):
    """The runtime, run on the images of the gallery, against the predictions that the score was computed from."""

    predictions_sha256: Sha256
    images: int
    matched: int = Field(description="Detections above the operating confidence that both have; neither has others.")
    provider: str = Field(description="ONNX Runtime execution provider that ran the file here.")


class UnreadPicture(Part):
    """A picture that could not be read."""

    image: str
    reason: str


class GivenPictures(Part):
    """The place of the user's own pictures."""

    place: str
    found: int = Field(description="Images there; at most `sample.max_pictures` of them are shown.")
    unread: list[UnreadPicture]


class SampleDocument(Document):
    """The gallery."""

    onnx_sha256: Sha256
    split: Split
    confidence: Score
    samples: list[Sample]
    agreement: Agreement | None = Field(None, description="Null where there were no predictions to compare with.")
    pictures: GivenPictures | None = Field(None, description="Null where none were given.")
    seconds: float
