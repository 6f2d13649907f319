"""The data report: what is wrong with a source, and what it looks like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.config import Format
from sightline.documents.base import Document, Part, Split, Verdict
from sightline.policy import Policy


class Example(Part):
    """One thing that a rule found."""

    where: str = Field(description="File, and line or object, relative to the source.")
    message: str = Field(description="What was found there.")
    image: str | None = Field(description="The image it is about, relative to the source; null where it is about none.")
    box: tuple[float, float, float, float] | None = Field(
        description="The box it is about: x0, y0, x1, y1 as fractions of the upright image, which it may leave."
    )


class RuleResult(Part):
    """What one rule found in the whole source."""

    rule: str = Field(description="Identifier of the rule, such as `zero-area-box`; `sightline validate --rules`.")
    severity: Literal["error", "warning"]
    count: int = Field(ge=1)
    of: int = Field(description="Images or boxes that the rule looked at, which `max_fraction` is a share of.")
    max_count: int | None = Field(description="Errors that the policy tolerates; null sets no such limit.")
    max_fraction: float | None = Field(description="Share of errors that the policy tolerates.")
    rejected: bool = Field(description="Whether this rule rejects the source.")
    handling: str = Field(description="What happened to what was found, such as `clipped` or `rejected`.")
    examples: list[Example] = Field(description="The worst, at most 20; all of them are in problems.csv.")

    @property
    def allowed(self) -> str:
        """How much of an error the policy tolerates, such as `up to 1 %`; empty for nothing."""
        limits = [f"{self.max_count}"] if self.max_count is not None else []
        if self.max_fraction is not None:
            limits.append(f"{100 * self.max_fraction:.3g} %")
        return f"up to {' and '.join(limits)}" if limits else ""


class SplitCounts(Part):
    """What one split holds."""

    images: int
    boxes: int
    backgrounds: int = Field(description="Images without a box.")
    boxes_per_class: dict[str, int]


class Histogram(Part):
    """Counts by split; `edges` has one number more than each list of counts, outer bins include what lies beyond."""

    edges: list[float]
    counts: dict[Split, list[int]]


class Distributions(Part):
    """What the labels look like, split by split; only what passed the gate is counted."""

    sizes: Histogram = Field(description="Square root of a box's share of its image's area, 0 to 1.")
    aspects: Histogram = Field(description="Width over height of boxes, in pixels.")
    boxes_per_image: Histogram
    image_sizes: Histogram = Field(description="Square root of width times height of images, in pixels.")
    positions: dict[Split, list[list[int]]] = Field(description="Box centres on a 16 x 16 grid, rows from the top.")
    cooccurrence_classes: list[str] = Field(description="The commonest classes, at most 20.")
    cooccurrence: list[list[int]] = Field(
        description="Images that hold both classes; on the diagonal, those that hold the class."
    )


class SplitComparison(Part):
    """One property compared between train and another split."""

    what: Literal["classes", "box sizes", "box aspects", "positions", "boxes per image", "image sizes"]
    split: Split
    distance: float = Field(description="Kolmogorov-Smirnov distance; for classes and positions total variation.")
    noise: float = Field(description="Distance that two samples of these sizes reach by chance one time in a hundred.")
    differs: bool = Field(description="Whether the distance is more than chance explains, and enough to matter.")
    sentence: str = Field(description="The result in words, such as `test has smaller boxes than train`.")


class DataDocument(Document):
    """The data report: everything that is wrong with a source, and what it looks like. Written whatever the verdict."""

    @classmethod
    def command(cls) -> str:
        """Validate writes it beside its own document."""
        return "sightline validate"

    source: str
    model_name: str | None = Field(None, description="Name in the registry of the model that was to train on it.")
    format: Format
    policy: Policy
    verdict: Verdict
    unusable: str | None = Field(description="Why nothing can be trained on this, whatever the rules say; or null.")
    classes: list[str]
    images: int = Field(description="Images that the source names.")
    boxes: int = Field(description="Boxes that it names, including those that cannot be read.")
    errors: int
    warnings: int
    dropped_images: int = Field(description="Images that were left out, each with an issue that says why.")
    dropped_boxes: int = Field(description="Boxes that were left out of images that stay.")
    splits: dict[Split, SplitCounts] = Field(description="What passed.")
    split_rule: str | None = Field(description="How missing splits were made; null when the source brought all three.")
    findings: list[RuleResult] = Field(description="One per rule that found something: errors first, then by count.")
    distributions: Distributions | None = Field(description="Null where nothing passed.")
    shorter_side: float | None = Field(
        None,
        description="Median of the shorter sides of train's boxes, as a share of the longer side of their image: times "
        "the image size it is what a network sees, in pixels. Null without boxes.",
    )
    split_comparisons: list[SplitComparison] = Field(description="Of val and test with train, property by property.")
    seconds: float
