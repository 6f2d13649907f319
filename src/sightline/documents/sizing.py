"""What a training's passes and loaders were chosen by: the card, and steps that were measured on it."""

from __future__ import annotations

from pydantic import Field

from sightline.config.sizing import Tier
from sightline.documents.base import Part


class Probed(Part):
    """Real steps of training and a batch of validation with so many images, on one card."""

    images: int = Field(ge=1, description="Images of a pass of one process; validation takes twice as many.")
    memory_bytes: int | None = Field(description="Most that was held at once; null where memory ran out.")
    fits: bool = Field(description="Whether that stays under the share of the free memory that is allowed.")
    seconds: float = Field(description="Of the slowest step.")


class Card(Part):
    """The card with least memory free of those that train: the one that was measured."""

    name: str
    memory_bytes: int | None = Field(description="Of the whole card; null where nvidia-smi does not say.")


class Sizing(Part):
    """What was seen, chosen and measured before the first step of the last process that supervised a training."""

    tier: Tier | None = Field(description="Of the smallest card; null where the memory of one is not known.")
    card: Card | None = Field(description="Null on CPUs.")
    free_bytes: int | None = Field(None, description="Of the card, before the probe's network; null without a probe.")
    allowed_bytes: int | None = Field(None, description="Of that, for one process: 85 %.")
    boxes: int | None = Field(None, description="Boxes in each image of the probe: the most that training can show.")
    side: int | None = Field(None, description="Side of the probe's images in pixels: the largest of multi-scale.")
    probed: list[Probed] = Field([], description="In rising order; empty without a probe.")
    batch: int = Field(ge=1, description="Images of a pass over all processes, as chosen.")
    effective_batch: int = Field(ge=1, description="Images that the optimizer sees at each step, whatever the pass is.")
    workers: int = Field(ge=0, description="Loader processes per training process, as chosen.")
    workers_by: str = Field(description="What set their number.")
    reason: str = Field(description="What set the number of images of a pass.")

    @property
    def measured(self) -> str:
        """List what was measured; empty without a probe."""
        held = (
            f"{one.images} image{'s' * (one.images != 1)} "
            f"{'more than there was' if one.memory_bytes is None else f'{one.memory_bytes / 1e9:.1f} GB'}"
            for one in self.probed
        )
        return (
            f"in each process, with {self.side} pixels and {self.boxes} boxes: {', '.join(held)}" if self.probed else ""
        )

    @property
    def sentence(self) -> str:
        """Say what was chosen, and by what."""
        card = f"{self.card.name}, tier {self.tier or 'not known'}" if self.card else f"tier {self.tier}"
        each = f"{self.workers} loader{'s' * (self.workers != 1)} for each process"
        return (
            f"{card}: {self.batch} images a pass, {self.effective_batch} a step of the optimizer ({self.reason}); "
            f"{each} ({self.workers_by})"
        )
