"""How a detector is trained: the part of a configuration that decides which trainings are equal.

One table of options: key, type, bounds, default and meaning of each, with its names in the engine and in YOLOv5
(`Elsewhere`). `train/job.py` hands the engine what follows from it, and `make compile` renders it (config/README.md).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from sightline import expected
from sightline.config import elsewhere, engine_settings, freezing, layer_decay
from sightline.config.augmentation import MIXES, Augmentation
from sightline.config.elsewhere import Elsewhere
from sightline.config.freezing import Freeze
from sightline.config.layer_decay import LayerDecay
from sightline.config.part import Fraction, Part
from sightline.config.scales import single_image_batch

Optimizer = Literal["auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop"]
ZERO_BIAS_RATE = ("auto", "Adam", "Adamax", "AdamW", "NAdam", "RAdam")  # whose biases warm up from 0 (trainer.py, auto)
Amp = Literal["auto", "bf16", "fp16", "off"]  # what a network computes in; off is float32
Recover = Literal["off", "batch", "all"]
Cache = Literal["off", "ram", "disk"]  # of decoded images
Sized = Literal["batch", "image_size", "model", "nominal_batch", "workers"]  # what `train.sizing` may choose
NOTED = "given"  # a field that no person sets


def _off(value: Any) -> Any:
    """Accept `off`, which YAML reads as a switch."""
    return "off" if value is False else value


def _amp(value: Any) -> Any:
    """Accept the switch that it once was."""
    return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value


def _hook(value: str | None) -> str | None:
    """Refuse what cannot be a function of a module; whether it is there is known where training runs."""
    module, _, function = (value or "").partition(":")
    if value is not None and not all(part.isidentifier() for part in (*module.split("."), function)):
        raise ValueError(
            f"got {expected.shown(value)}, expected the names of a module and of a function in it, such as "
            "project.hooks:freeze_backbone"
        )
    return value


class TrainConfig(Part):
    """How the detector is trained. Part of the key by which a finished training is recognised."""

    epochs: Annotated[int, Elsewhere("epochs", "epochs")] = Field(
        100, ge=1, le=10_000, description="Passes over the training split."
    )
    image_size: Annotated[int, Elsewhere("imgsz", "imgsz")] = Field(
        640, ge=32, le=4096, multiple_of=32, description="Side of the square network input, in pixels."
    )
    multi_scale: Annotated[Fraction, Elsewhere("multi_scale", "multi-scale")] = Field(
        0.0, description="Each batch takes a side of its own, up to this fraction below or above image_size."
    )
    batch: Annotated[int, Elsewhere("batch", "batch-size")] = Field(
        16, ge=1, le=4096, description="Images per optimizer input over all processes together."
    )
    sizing: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = Field(
        "off",
        description="auto: the card chooses what you leave open: model, image size and nominal batch by its tier, and "
        "by a measurement how many images pass at a time; off: nothing is chosen.",
    )
    given: tuple[Sized, ...] = Field((), description="What a person chose of these, so that sizing leaves it.")
    nodes: int = Field(1, ge=1, le=64, description="Machines that train together, with one `sightline train` on each.")
    gpus: Annotated[int, Elsewhere("device", "device", handed_on=False)] = Field(
        0, ge=0, le=64, description="GPUs on each node, one process each; 0 trains on the CPU."
    )
    cpu_processes: int = Field(1, ge=1, le=64, description="Processes (gloo ranks) on each node without GPUs.")
    workers: Annotated[int, Elsewhere("workers", "workers", handed_on=False)] = Field(
        2, ge=0, le=64, description="Loader processes per training process."
    )
    seed: Annotated[int, Elsewhere("seed", "seed")] = Field(
        0, ge=0, le=2**31 - 1, description="Seed of weights, order and augmentation."
    )
    deterministic: Annotated[bool, Elsewhere("deterministic")] = Field(
        True,
        description="Only operations that give the same result again, where torch has them; may cost time on GPUs.",
    )
    optimizer: Annotated[Optimizer, Elsewhere("optimizer", "optimizer")] = Field(
        "AdamW",
        description="Optimizer. auto: the engine's choice by length and classes, with a rate and momentum of its own; "
        "train's document says what it chose.",
    )
    lr0: Annotated[float, Elsewhere("lr0", "lr0")] = Field(
        0.001, ge=1e-8, le=1, description="Learning rate after warm-up."
    )
    lrf: Annotated[float, Elsewhere("lrf", "lrf")] = Field(
        0.01, ge=1e-8, le=1, description="Final learning rate as a fraction of lr0."
    )
    momentum: Annotated[float, Elsewhere("momentum", "momentum")] = Field(
        0.937, ge=0, lt=1, description="Momentum of SGD, MuSGD and RMSprop, or beta1 of the Adam family."
    )
    weight_decay: Annotated[float, Elsewhere("weight_decay", "weight_decay")] = Field(
        0.0005, ge=0, le=1, description="L2 penalty at the nominal batch."
    )
    warmup_epochs: Annotated[float, Elsewhere("warmup_epochs", "warmup_epochs")] = Field(
        3.0, ge=0, le=10_000, description="Epochs of rising learning rate; the last epoch is never one of them."
    )
    warmup_momentum: Annotated[float, Elsewhere("warmup_momentum", "warmup_momentum")] = Field(
        0.8, ge=0, lt=1, description="Momentum where warm-up begins; the Adam family keeps its beta1."
    )
    warmup_bias_lr: Annotated[Fraction | None, Elsewhere("warmup_bias_lr", "warmup_bias_lr")] = Field(
        None,
        description="Learning rate of biases where warm-up begins; null: 0 for the Adam family and auto, 0.1 for the "
        "others.",
    )
    nominal_batch: Annotated[int, Elsewhere("nbs", "nbs")] = Field(
        64, ge=1, le=65_536, description="Batch after which gradients are applied, and to which weight_decay refers."
    )
    cosine: Annotated[bool, Elsewhere("cos_lr", "cos-lr")] = Field(
        False, description="Cosine instead of linear learning-rate decay."
    )
    patience: Annotated[int, Elsewhere("patience", "patience")] = Field(
        100, ge=0, le=10_000, description="Epochs without a better val fitness before training stops; 0: never."
    )
    max_hours: Annotated[float | None, Elsewhere("time", handed_on=False)] = Field(
        None,
        gt=0,
        le=10_000,
        description="Hours, over all attempts, after which training ends with the running epoch; the learning rate "
        "falls as for all epochs.",
    )
    box: Annotated[float, Elsewhere("box", "box")] = Field(7.5, ge=0, le=100, description="Weight of the box loss.")
    cls: Annotated[float, Elsewhere("cls", "cls")] = Field(0.5, ge=0, le=100, description="Weight of the class loss.")
    dfl: Annotated[float, Elsewhere("dfl")] = Field(
        1.5, ge=0, le=100, description="Weight of the loss of box edges (distribution focal loss; of yolo26 L1)."
    )
    class_weight_power: Annotated[Fraction, Elsewhere("cls_pw")] = Field(
        0.0,
        description="Weight classes in their loss by their inverse frequency to this power: 0 not at all, 1 fully.",
    )
    single_class: Annotated[bool, Elsewhere("single_cls", "single-cls")] = Field(
        False,
        description="All classes of the data count as one, 'object', in training, the file, its scores and the "
        "gallery; the snapshot stays.",
    )
    cls_remap: Annotated[bool, Elsewhere("cls_remap")] = Field(
        True,
        description="A class begins with what the starting weights know of a class of the same name, wherever that "
        "stands in their list.",
    )
    freeze: Annotated[Freeze, Elsewhere("freeze", "freeze")] = Field(
        0,
        json_schema_extra={"expected": freezing.WORDS},
        description="Weights that stay as they are: those of so many leading layers, or of a list of layers and names.",
    )
    llrd: LayerDecay = Field(
        "off",
        json_schema_extra={"expected": layer_decay.WORDS},
        description="Layer-wise decay of the learning rate: each layer has this times the rate of the next, the last "
        "one lr0.",
    )
    rect: Annotated[bool, Elsewhere("rect", "rect")] = Field(
        False,
        description="Batches of images of one shape, padded no more than needed, in one process; it ends shuffling, "
        "mosaic, mixup and cutmix.",
    )
    amp: Annotated[Amp, BeforeValidator(_amp), Elsewhere("amp", handed_on=False)] = Field(
        "auto",
        description="Type that the network computes in on GPUs. auto: bf16 where the card computes it natively, else "
        "fp16; float32 (off) on CPUs, and where the type fails its check on the network.",
    )
    sync_bn: Annotated[bool, Elsewhere("", "sync-bn")] = Field(
        False, description="Batch normalisation over the images of all GPUs; refused on CPUs."
    )
    cache: Annotated[Cache, BeforeValidator(_off), Elsewhere("cache", "cache")] = Field(
        "off",
        description="Keep decoded images: in each process's memory at image_size (ram), or in full size in the folder "
        "where the training works, once for all processes of a node (disk).",
    )
    recover: Annotated[Recover, BeforeValidator(_off)] = Field(
        "batch",
        description="After a fault that is not yours: off, fail; batch, resume, with a smaller batch per pass, fewer "
        "loaders or a lower rate where that helps; all, in the end also with a smaller image, which is another model.",
    )
    save_period: Annotated[int, Elsewhere("save_period", "save-period", handed_on=False)] = Field(
        0, ge=0, le=10_000, description="Keep the checkpoint of every so many epochs; 0: none."
    )
    tensorboard: bool = Field(
        True, description="Write the curves for TensorBoard into the run's train/tensorboard; `sightline tensorboard`."
    )
    hook: Annotated[str | None, AfterValidator(_hook)] = Field(
        None,
        description="module:function that every training process calls with the engine's trainer before it starts; "
        "found in the working directory, by PYTHONPATH or among installed packages, in a container within its image.",
    )
    augment: Augmentation = Field(default_factory=lambda: Augmentation(), description="Image augmentation.")
    engine: dict[str, Any] = Field(
        {},
        description="Other settings of the engine by its own names, such as {max_det: 500}: those that say something "
        "about training boxes and have no key here.",
    )

    @property
    def node_processes(self) -> int:
        """Processes on each node."""
        return self.gpus or self.cpu_processes

    @property
    def world_size(self) -> int:
        """Processes that train together, on all nodes."""
        return self.nodes * self.node_processes

    @property
    def own_result(self) -> bool:
        """Whether it may end in another model than was asked for, which is then the result of that run alone."""
        return self.max_hours is not None or self.recover == "all"

    @property
    def bias_rate(self) -> float:
        """Learning rate of biases where warm-up begins."""
        if self.warmup_bias_lr is not None:
            return self.warmup_bias_lr
        return 0.0 if self.optimizer in ZERO_BIAS_RATE else 0.1

    @field_validator("engine", mode="before")
    @classmethod
    def _of_the_engine(cls, value: Any, info: ValidationInfo) -> Any:
        own = {name: f"train.{name}" for name in cls.model_fields if name != NOTED}
        names = own | elsewhere.ours(cls, "train.", yolov5=True)
        if found := engine_settings.problems(value, names, gpus=info.data.get("gpus", 0)):
            raise ValueError("\n".join(found))
        return value

    @model_validator(mode="after")
    def _one_kind_of_processes(self) -> TrainConfig:
        if self.gpus and self.cpu_processes > 1:
            raise ValueError(
                f"gpus is {self.gpus} and cpu_processes {self.cpu_processes}: expected one of them; CPU processes "
                "need gpus=0"
            )
        return self

    @model_validator(mode="after")
    def _amp_on_gpus(self) -> TrainConfig:
        if self.amp in ("bf16", "fp16") and not self.gpus:
            raise ValueError(f"amp is {self.amp} and gpus 0: expected auto or off, since CPUs compute in float32")
        return self

    @model_validator(mode="after")
    def _sync_bn_on_gpus(self) -> TrainConfig:
        if self.sync_bn and not self.gpus:
            raise ValueError("sync_bn is true and gpus 0: expected false, since torch synchronizes it on GPUs alone")
        return self

    @model_validator(mode="after")
    def _one_class_has_no_others(self) -> TrainConfig:
        if self.single_class and self.class_weight_power:
            raise ValueError(
                f"single_class is true and class_weight_power {self.class_weight_power:g}: expected 0, since there is "
                "no other class to weigh"
            )
        return self

    @model_validator(mode="after")
    def _rect_alone(self) -> TrainConfig:
        if self.rect and self.world_size > 1:
            raise ValueError(
                f"rect is true with {self.world_size} processes: expected one process, since several would get "
                "different numbers of batches and wait for each other for ever"
            )
        if self.rect and (mixes := [f"augment.{name}" for name in MIXES if getattr(self.augment, name)]):
            raise ValueError(f"rect is true beside {' and '.join(mixes)}, which it ends: expected 0, or rect false")
        return self

    def last_batch(self, images: int) -> int:
        """Return the size of the last batch of an epoch in each process; the engine shares `images` evenly."""
        batch = min(self.batch // self.world_size, images)
        return -(-images // self.world_size) % batch or batch

    def single_image_left(self, images: int) -> list[str]:
        """Say why a last batch of one image cannot be trained on; empty if there is none, or if it can."""
        if self.last_batch(images) > 1:
            return []
        return single_image_batch(self.image_size, self.batch, multi_scale=self.multi_scale)

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainConfig:
        if self.batch % self.world_size:
            nodes = f" ({self.node_processes} on each of {self.nodes} nodes)" if self.nodes > 1 else ""
            name = "batch" if self.sizing == "off" or "batch" in self.given else "nominal_batch"
            below = self.batch // self.world_size * self.world_size
            can = " or ".join(str(batch) for batch in (below, below + self.world_size) if batch)
            raise ValueError(
                f"{name} {self.batch} cannot be shared evenly by {self.world_size} processes{nodes}: {can} can"
            )
        return self
