"""The whole configuration of a run, resolved once by validate and passed on as JSON.

A value has one address, a dotted key such as `train.epochs`, everywhere: in `--set`, in the pipeline's `overrides`
parameter, in error messages. Presets (see `presets`) are functions that return a whole `RunConfig`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sightline import expected
from sightline.config import mlflow_names
from sightline.policy import Policy

Format = Literal["yolo", "coco", "voc"]  # of annotations
FORMATS: tuple[Format, ...] = get_args(Format)
Optimizer = Literal["SGD", "Adam", "AdamW", "MuSGD"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Retrain = Literal["always", "changed", "drifted"]
RETRAIN: tuple[Retrain, ...] = get_args(Retrain)
Recover = Literal["off", "batch", "all"]
Cache = Literal["off", "ram", "disk"]  # of decoded images
STRIDE = 32  # pixels of the image for each cell at the deepest level of every official network


class Part(BaseModel):
    """A frozen piece of configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false, in YAML also yes, no, on and off, which would count as 1 and 0."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind not in (bool, Policy) and "off" not in get_args(kind):
            raise ValueError(f"got {str(value).lower()}, expected a value, not a switch")
        return value


def _policy(value: Any) -> Any:
    """Accept the name of a policy in place of the policy."""
    return {"base": value} if isinstance(value, str) else value


def _digest(value: str | None) -> str | None:
    """Accept a sha256 in upper case, as Windows prints it."""
    digest = value and value.strip().lower()
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"got {expected.shown(value)}, expected a sha256: 64 digits 0 to 9 and a to f")
    return digest


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


class DataConfig(Part):
    """Where the labelled images are and how to read them."""

    format: Literal["auto", Format] = Field("auto", description="Annotation format; auto recognises it from the files.")
    images: str | None = Field(None, description="Folder of the images, where it lies outside the annotations.")
    voc_origin: Literal[0, 1] = Field(
        0, description="First pixel in VOC files: 0, xmin and xmax are edges; 1, they are the first and last pixel."
    )
    policy: Annotated[Policy, BeforeValidator(_policy)] = Field(
        Policy(), description="strict, default or lenient, or an object with base, rules and thresholds."
    )


class WeightsConfig(Part):
    """What training starts from."""

    source: str = Field(
        "yolo11n.pt",
        min_length=1,
        description="A path, an s3:// URI, an official name (yolo11n.pt), or an architecture to train from scratch "
        "(yolo11n.yaml).",
    )
    sha256: Annotated[str | None, AfterValidator(_digest)] = Field(
        None, description="The sha256 that the file must have; official names bring theirs."
    )
    trust: bool = Field(False, description="Unpickle a checkpoint whose sha256 is not known.")
    download: bool = Field(False, description="Fetch an official name over the network if no cache has it.")


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


class ExportConfig(Part):
    """How the checkpoint becomes the file that ships."""

    opset: int = Field(18, ge=17, le=20, description="ONNX operator set.")
    nms_free: bool = Field(False, description="Use the one-to-one head of yolo26, which needs no NMS.")
    iou: Fraction = Field(0.7, description="Overlap (IoU) above which NMS drops the weaker of two boxes of a class.")
    max_det: int = Field(300, ge=1, le=3000, description="Most detections per image.")
    tolerance: float = Field(
        0.05,
        ge=0.001,
        le=1,
        description="Largest difference of raw outputs from the checkpoint (pixels and scores); roundings alone give "
        "up to 0.005.",
    )


class GateConfig(Part):
    """Minimums on the test split; null sets none."""

    min_map50: Fraction | None = Field(None, description="Minimum mean AP at IoU 0.50.")
    min_map50_95: Fraction | None = Field(None, description="Minimum mean AP over IoU 0.50 to 0.95.")
    min_precision: Fraction | None = Field(None, description="Minimum precision at the file's operating confidence.")
    min_recall: Fraction | None = Field(None, description="Minimum recall at the file's operating confidence.")
    min_class_ap50: Fraction | None = Field(None, description="Minimum AP at IoU 0.50 of the weakest class.")


class SampleConfig(Part):
    """The gallery of detections."""

    count: int = Field(12, ge=1, le=200, description="Test images shown.")
    pictures: str | None = Field(
        None,
        min_length=1,
        description="Your own pictures, without labels, that are shown as well: a folder, an archive or "
        "s3://bucket/prefix.",
    )
    max_pictures: int = Field(
        12, ge=1, le=200, description="Most of your pictures that are shown, evenly spread by name."
    )


class RegisterConfig(Part):
    """Where an accepted model goes."""

    model_name: Annotated[str, AfterValidator(mlflow_names.model_name)] = Field(
        "detector", description="Name in the model registry."
    )
    alias: Annotated[str, AfterValidator(mlflow_names.alias)] = Field(
        "candidate", description="Alias that the new version receives; not latest, v1, v2 …, which MLflow reserves."
    )
    experiment: Annotated[str, AfterValidator(mlflow_names.experiment)] = Field(
        "sightline", description="MLflow experiment of the run."
    )


class RetrainConfig(Part):
    """Whether the pipeline trains where little has changed since an earlier run of the same model."""

    when: Retrain = Field(
        "always",
        description="always; changed: if data, settings or code differ from those of the newest run with a verdict; "
        "drifted: where only the data differs, if it has drifted from that of the version at register.alias.",
    )
    max_drift: Fraction = Field(
        0.1,
        description="Largest distance that is no drift: the share of boxes or images that lie elsewhere, split by "
        "split; what chance explains is none either. By default a tenth, above which the data report calls splits "
        "different.",
    )


class RunConfig(Part):
    """Everything a run needs to know besides its data URI."""

    preset: str = Field("balanced", description="The recipe this configuration started from.")
    data: DataConfig = DataConfig()
    weights: WeightsConfig = WeightsConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig = GateConfig()
    sample: SampleConfig = SampleConfig()
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    retrain: RetrainConfig = RetrainConfig()

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    def json_text(self) -> str:
        """Return the canonical JSON that stages pass on."""
        return self.model_dump_json(by_alias=True)
