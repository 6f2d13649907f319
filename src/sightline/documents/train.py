"""What train leaves: checkpoints and their history."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from sightline.config import Cache, TrainConfig
from sightline.documents.base import Document, Part, Sha256
from sightline.documents.precision import Precision
from sightline.documents.sizing import Sizing
from sightline.documents.train_time import Seconds, Time

Ending = Literal[  # how an attempt ended; `train/decisions.py` says what follows from each
    "finished",
    "cuda_memory",  # the GPU's memory ran out
    "host_memory",  # the kernel, or a limit, refused memory or killed for it
    "shared_memory",  # /dev/shm is full
    "loader_died",  # a process that loads images is gone
    "not_finite",  # a loss or a weight is NaN or infinite
    "hang",  # no process made progress
    "preempted",  # SIGTERM from outside
    "lost_peer",  # another process or node is gone
    "killed",  # SIGKILL or the machine: nothing was left to say why
    "crashed",  # in native code
    "disk_full",
    "configuration",  # the user's settings
    "data",
    "code",  # an exception in the engine, in a hook or in Sightline
    "unknown",
]
ENDINGS: tuple[Ending, ...] = get_args(Ending)
StoppedBy = Literal["epochs", "patience", "max_hours", "callback"]


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
    ended_at: str = Field(description="ISO 8601, UTC, in milliseconds.")
    images_per_second: float = Field(description="Images trained on, of all processes, by the time without validation.")
    memory_bytes: int = Field(
        description="Most that the first process had used by then: of its GPU as torch reserves it, on CPUs resident."
    )
    spent: Seconds = Field(description="Where `seconds` went.")


class AttemptSettings(Part):
    """What an attempt trained with; the ladder of recoveries changes these and nothing else."""

    batch: int = Field(ge=1, description="Images of a forward pass, over all processes together.")
    accumulation: int = Field(ge=1, description="Forward passes to an input of the optimizer after warm-up.")
    workers: int = Field(ge=0, description="Loader processes per training process.")
    cache: Cache = Field(description="Where decoded images are kept.")
    image_size: int = Field(description="Side of the network input, in pixels.")
    lr0: float = Field(description="Learning rate after warm-up.")


class Attempt(Part):
    """One launch of the engine: how it ended, by which evidence, and what it cost."""

    number: int = Field(ge=1)
    ending: Ending = Field("finished", description="What ended it, as the table of decisions knows it.")
    reason: str = Field(description="Why it ended, in words.")
    evidence: list[str] = Field([], description="What shows that: exit codes, exceptions, counters, heartbeats.")
    exit_code: int | None = Field(description="Of torchrun, negative for a signal; null where nobody saw the end.")
    started_at: str | None = Field(None, description="ISO 8601, UTC.")
    seconds: float
    machine: str | None = Field(None, description="Where it ran.")
    settings: AttemptSettings | None = None
    changed: list[str] = Field([], description="What the recovery from the attempt before changed.")
    resumed_from: int = Field(0, description="Finished epochs that it began with.")
    epochs: int = Field(0, description="Finished epochs in checkpoints when it had ended.")
    seconds_lost: float = Field(0.0, description="Work after the last checkpoint.")
    energy_joules: float | None = Field(
        None, description="Of the cards that trained, by their own counters; null if one has none, and on CPUs."
    )


class BestEpoch(Part):
    """The epoch whose weights are exported, chosen on val by the engine's fitness."""

    epoch: int
    map50: float
    map50_95: float
    precision: float | None = Field(None, description="On val; null in documents of earlier versions.")
    recall: float | None = None


class LayerRate(Part):
    """How fast a layer of the network learned, with `train.llrd`."""

    layer: int = Field(ge=0, description="Number of the layer, as train.freeze counts them; the last is the head.")
    module: str = Field(description="What kind of layer it is, in the engine's terms.")
    rate: float | None = Field(
        description="Its learning rate after warm-up, as the last attempt began; null where nothing in it is trained. "
        "MuSGD trains the class branches of the head with three times this."
    )


class OptimizerUsed(Part):
    """What a training was optimized with, also where `train.optimizer` left the choice to the engine."""

    name: str
    lr0: float = Field(description="Learning rate after warm-up, as the last attempt began.")
    momentum: float = Field(description="Momentum, or beta1 of the Adam family.")
    warmup_bias_lr: float = Field(description="Learning rate of biases where warm-up began.")


class Hardware(Part):
    """The machine that trained."""

    machine: str
    cpu_count: int = Field(description="Cores that the process may use, a container's quota included.")
    memory_bytes: int = Field(description="Memory of the machine, or of the container where that is less.")
    gpus: list[str]


class Preflight(Part):
    """What the first machine had and what the training needed of it at least, before its first epoch."""

    seconds: float
    ranks: int = Field(description="Processes that train together.")
    gpus: int = Field(description="NVIDIA GPUs that were there.")
    memory_free_bytes: int = Field(description="Within the container's limit, if it has one.")
    memory_needed_bytes: int = Field(description="By all processes on the machine, a cache of images included.")
    cache: Cache = Field("off", description="Where decoded images are kept: off where memory has no room for them now.")
    shm_free_bytes: int | None = Field(description="Of /dev/shm; null where there is none.")
    shm_needed_bytes: int = Field(description="By the batches that loaders prepare for train.")
    disk_free_bytes: int | None = Field(description="Of the disk with least to spare; null where it has no size.")
    disk_needed_bytes: int = Field(description="Of that disk.")
    all_reduce_gb_per_s: float | None = Field(
        None, description="Bytes of a sum over all processes by its time, in GB/s; null for a single process."
    )


class TrainDocument(Document):
    """What training did; the checkpoints lie beside it."""

    snapshot: str
    weights: str = Field(description="URI of the pinned starting weights or description, or the engine's architecture.")
    weights_sha256: Sha256 | None
    config: TrainConfig = Field(description="The configuration that was trained with.")
    notes: list[str] = Field([], description="What settings meant for this training, in words.")
    seed: int
    world_size: int
    optimizer: OptimizerUsed
    device: Literal["cpu", "cuda"]
    precision: Precision
    layer_rates: list[LayerRate] | None = Field(None, description="One for each layer; null without train.llrd.")
    epochs_completed: int
    best: BestEpoch
    history: list[Epoch]
    stopped_by: StoppedBy = Field(description="What ended it: its last epoch, patience, max_hours, or a callback.")
    attempts: list[Attempt]
    checkpoint: str = Field(description="File name of the best checkpoint in this folder.")
    checkpoint_sha256: Sha256
    last: str = Field(description="File name of the last checkpoint in this folder.")
    table: str | None = Field(None, description="File name of the engine's table of epochs in this folder.")
    tensorboard: str | None = Field(None, description="Folder of event files in this folder; null without them.")
    sheets: list[str] = Field(
        [], description="Pictures in this folder: what training saw, and val labels beside predictions."
    )
    engine: str = Field(description="Name and version of the training engine.")
    packages: dict[str, str]
    hardware: Hardware
    time: Time
    preflight: Preflight | None = None
    sizing: Sizing | None = Field(None, description="What was chosen by the card; null with train.sizing off.")
    peak_memory_bytes: int = Field(description="Largest resident set of any training process.")
    started_at: str = Field(description="When the first epoch began: ISO 8601, UTC.")
    seconds: float

    @property
    def cut_short(self) -> bool:
        """Whether time ran out before its end, so that it stands for no other training."""
        return self.stopped_by == "max_hours"

    @property
    def asked_image_size(self) -> int:
        """Side of the network input that was asked for; `config` has the one that was trained."""
        first = self.attempts[0].settings if self.attempts else None
        return first.image_size if first else self.config.image_size
