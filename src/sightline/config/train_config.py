"""How a detector is trained: the part of a configuration that decides which trainings are equal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sightline import expected
from sightline.config.part import Fraction, Part

Optimizer = Literal["SGD", "Adam", "AdamW", "MuSGD"]
Recover = Literal["off", "batch", "all"]
Cache = Literal["off", "ram", "disk"]  # of decoded images
STRIDE = 32  # pixels of the image for each cell at the deepest level of every official network


def _off(value: Any) -> Any:
    """Accept `off`, which YAML reads as a switch."""
    return "off" if value is False else value


def _hook(value: str | None) -> str | None:
    """Refuse what cannot be a function of a module; whether it is there is known where training runs."""
    module, _, function = (value or "").partition(":")
    if value is not None and not all(part.isidentifier() for part in (*module.split("."), function)):
        raise ValueError(
            f"got {expected.shown(value)}, expected the names of a module and of a function in it, such as "
            "project.hooks:freeze_backbone"
        )
    return value


class Augmentation(Part):
    """Training-time image changes, in the engine's own terms."""

    mosaic: Fraction = Field(1.0, description="Probability that four images are stitched into one.")
    close_mosaic: int = Field(10, ge=0, le=10_000, description="Last epochs that run without mosaic, at most all.")
    mixup: Fraction = Field(0.0, description="Probability that two images are blended.")
    hsv_h: Fraction = Field(0.015, description="Hue shift, as a fraction of the colour circle.")
    hsv_s: Fraction = Field(0.7, description="Saturation gain, as a fraction.")
    hsv_v: Fraction = Field(0.4, description="Brightness gain, as a fraction.")
    degrees: float = Field(0.0, ge=0, le=180, description="Largest rotation either way, in degrees.")
    translate: Fraction = Field(0.1, description="Largest shift, as a fraction of the image.")
    scale: Fraction = Field(0.5, description="Largest zoom in or out, as a fraction.")
    fliplr: Fraction = Field(0.5, description="Probability of a left-right flip.")
    flipud: Fraction = Field(0.0, description="Probability of an up-down flip.")


class TrainConfig(Part):
    """How the detector is trained. Part of the key by which a finished training is recognised."""

    epochs: int = Field(100, ge=1, le=10_000, description="Passes over the training split.")
    image_size: int = Field(
        640, ge=32, le=4096, multiple_of=32, description="Side of the square network input, in pixels."
    )
    batch: int = Field(16, ge=1, le=4096, description="Images per optimizer input over all processes together.")
    nodes: int = Field(1, ge=1, le=64, description="Machines that train together, with one `sightline train` on each.")
    gpus: int = Field(0, ge=0, le=64, description="GPUs on each node, one process each; 0 trains on the CPU.")
    cpu_processes: int = Field(1, ge=1, le=64, description="Processes (gloo ranks) on each node without GPUs.")
    workers: int = Field(2, ge=0, le=64, description="Loader processes per training process.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of weights, order and augmentation.")
    optimizer: Optimizer = Field("AdamW", description="Optimizer; never chosen behind your back.")
    lr0: float = Field(0.001, ge=1e-8, le=1, description="Learning rate after warm-up.")
    lrf: float = Field(0.01, ge=1e-8, le=1, description="Final learning rate as a fraction of lr0.")
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum, or Adam's beta1.")
    weight_decay: float = Field(0.0005, ge=0, le=1, description="L2 penalty at the nominal batch.")
    warmup_epochs: float = Field(
        3.0, ge=0, le=10_000, description="Epochs of rising learning rate; the last epoch is never one of them."
    )
    nominal_batch: int = Field(
        64, ge=1, le=65_536, description="Batch after which gradients are applied, and to which weight_decay refers."
    )
    cosine: bool = Field(False, description="Cosine instead of linear learning-rate decay.")
    patience: int = Field(
        100, ge=1, le=10_000, description="Epochs without a better val fitness before training stops."
    )
    freeze: int = Field(
        0, ge=0, le=10_000, description="Leading layers whose weights stay as they are; the last is never one of them."
    )
    amp: bool = Field(True, description="Mixed precision on GPUs; the CPU always computes in float32.")
    sync_bn: bool = Field(False, description="Batch normalisation over the images of all GPUs; refused on CPUs.")
    cache: Annotated[Cache, BeforeValidator(_off)] = Field(
        "off",
        description="Keep decoded images: in each process's memory at image_size (ram), or in full size beside the "
        "fetched images, once for all processes and later trainings (disk).",
    )
    recover: Annotated[Recover, BeforeValidator(_off)] = Field(
        "batch",
        description="After a fault that is not yours: off, fail; batch, resume, with a smaller batch per pass, fewer "
        "loaders or a lower rate where that helps; all, in the end also with a smaller image, which is another model.",
    )
    save_period: int = Field(0, ge=0, le=10_000, description="Keep the checkpoint of every so many epochs; 0: none.")
    hook: Annotated[str | None, AfterValidator(_hook)] = Field(
        None,
        description="module:function that every training process calls with the engine's trainer before it starts; "
        "found in the working directory, by PYTHONPATH or among installed packages, in a container within its image.",
    )
    augment: Augmentation = Field(default_factory=lambda: Augmentation(), description="Image augmentation.")

    @property
    def node_processes(self) -> int:
        """Processes on each node."""
        return self.gpus or self.cpu_processes

    @property
    def world_size(self) -> int:
        """Processes that train together, on all nodes."""
        return self.nodes * self.node_processes

    @model_validator(mode="after")
    def _one_kind_of_processes(self) -> TrainConfig:
        if self.gpus and self.cpu_processes > 1:
            raise ValueError(
                f"gpus is {self.gpus} and cpu_processes {self.cpu_processes}: expected one of them; CPU processes "
                "need gpus=0"
            )
        return self

    @model_validator(mode="after")
    def _sync_bn_on_gpus(self) -> TrainConfig:
        if self.sync_bn and not self.gpus:
            raise ValueError("sync_bn is true and gpus 0: expected false, since torch synchronizes it on GPUs alone")
        return self

    def last_batch(self, images: int) -> int:
        """Return the size of the last batch of an epoch in each process; the engine shares `images` evenly."""
        batch = min(self.batch // self.world_size, images)
        return -(-images // self.world_size) % batch or batch

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainConfig:
        if self.batch % self.world_size:
            nodes = f" ({self.node_processes} on each of {self.nodes} nodes)" if self.nodes > 1 else ""
            raise ValueError(f"batch {self.batch} cannot be shared evenly by {self.world_size} processes{nodes}")
        return self


def single_image_batch(image_size: int, batch: int, stride: int = STRIDE) -> list[str]:
    """Say why a network of this stride cannot train on a batch of one image; empty if it can.

    If the image is one cell at the deepest level, batch normalisation has no variance to divide by.
    """
    if image_size >= 2 * stride:
        return []
    return [
        f"train.image_size: got {image_size} with train.batch {batch}, which leaves a single image for the last batch "
        f"of an epoch: too few values for batch normalisation. Expected {2 * stride} pixels or more, or a train.batch "
        "(per process) that leaves more than one image over"
    ]
