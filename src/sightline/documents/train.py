"""What train leaves: checkpoints and their history."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.config import TrainConfig
from sightline.documents.base import Document, Part, Sha256


class Epoch(Part):
    """One pass over the training split; losses and val scores as the engine reports them."""

    epoch: int = Field(ge=1)
    seconds: float
    learning_rate: float
    box_loss: float | None = Field(description="Losses are null where the engine reports none, or none that is finite.")
    class_loss: float | None
    dfl_loss: float | None
    val_box_loss: float | None
    val_class_loss: float | None
    val_dfl_loss: float | None
    precision: float
    recall: float
    map50: float
    map50_95: float


class Attempt(Part):
    """One launch of the engine."""

    number: int = Field(ge=1)
    exit_code: int
    seconds: float
    reason: str = Field(description="Why it ended.")


class BestEpoch(Part):
    """The epoch whose weights are exported, chosen on val by the engine's fitness."""

    epoch: int
    map50: float
    map50_95: float


class Hardware(Part):
    """The machine that trained."""

    machine: str
    cpu_count: int = Field(description="Cores that the process may use, a container's quota included.")
    memory_bytes: int = Field(description="Memory of the machine, or of the container where that is less.")
    gpus: list[str]


class TrainDocument(Document):
    """What training did; the checkpoints lie beside it."""

    snapshot: str
    weights: str = Field(description="URI of the pinned starting weights, or the architecture trained from scratch.")
    weights_sha256: Sha256 | None
    config: TrainConfig = Field(description="The configuration that was trained with.")
    seed: int
    world_size: int
    device: Literal["cpu", "cuda"]
    epochs_completed: int
    best: BestEpoch
    history: list[Epoch]
    attempts: list[Attempt]
    checkpoint: str = Field(description="File name of the best checkpoint in this folder.")
    checkpoint_sha256: Sha256
    last: str = Field(description="File name of the last checkpoint in this folder.")
    engine: str = Field(description="Name and version of the training engine.")
    packages: dict[str, str]
    hardware: Hardware
    peak_memory_bytes: int = Field(description="Largest resident set of any training process.")
    started_at: str = Field(description="When the first epoch began: ISO 8601, UTC.")
    seconds: float
