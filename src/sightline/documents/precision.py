"""The type that a training computed in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.config import Amp
from sightline.documents.base import Part

ComputeType = Literal["bf16", "fp16", "off"]  # off is float32


class PrecisionCheck(Part):
    """A network's raw outputs, loss and gradients in a type, compared with float32 on images of the first batch."""

    type: ComputeType = Field(description="The type that was checked.")
    images: int = Field(ge=1)
    output_difference: float | None = Field(
        description="Norm of the difference by the norm in float32, the largest of raw boxes and scores of all "
        "branches; null where it is not finite, here and below."
    )
    output_tolerance: float = Field(description="How large that may be: 100 rounding errors of the type.")
    output_correlation: float | None = Field(
        description="Correlation of raw boxes and scores with those in float32, around the mean of each channel: the "
        "least of all branches."
    )
    least_correlation: float = Field(description="How small that may be.")
    largest_difference: float | None = Field(description="Largest difference of a single raw output, a logit.")
    loss_difference: float | None = Field(
        description="Difference of the loss by the loss in float32, with boxes assigned to outputs as there."
    )
    loss_tolerance: float = Field(description="How large that may be.")
    loss_scale: float | None = Field(
        description="What multiplied the loss when all gradients were finite, 1 in bf16; null if they never were."
    )
    problems: list[str] = Field(description="What is wrong; empty if it passed.")
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the network computes well enough in this type."""
        return not self.problems


class Precision(Part):
    """What `train.amp` asked for, and what became of it on the cards of the last attempt."""

    asked: Amp
    used: ComputeType = Field(description="What the network's layers computed in; off is float32.")
    reason: str = Field(description="Why, in words.")
    check: PrecisionCheck | None = Field(description="Null where it computes in float32 anyway.")
