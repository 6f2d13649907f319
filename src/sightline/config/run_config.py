"""The whole configuration of a run, resolved once by validate and passed on as JSON.

A value has one address, a dotted key such as `train.epochs`, everywhere: in `--set`, in the pipeline's `overrides`
parameter, in error messages. Presets (see `presets`) are functions that return a whole `RunConfig`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
)

from sightline import expected
from sightline.config import mlflow_names
from sightline.config.part import Fraction, Part
from sightline.config.train_config import TrainConfig
from sightline.policy import Policy

Format = Literal["yolo", "coco", "voc"]  # of annotations
FORMATS: tuple[Format, ...] = get_args(Format)
Retrain = Literal["always", "changed", "drifted"]
RETRAIN: tuple[Retrain, ...] = get_args(Retrain)


def _policy(value: Any) -> Any:
    """Accept the name of a policy in place of the policy."""
    return {"base": value} if isinstance(value, str) else value


def _digest(value: str | None) -> str | None:
    """Accept a sha256 in upper case, as Windows prints it."""
    digest = value and value.strip().lower()
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"got {expected.shown(value)}, expected a sha256: 64 digits 0 to 9 and a to f")
    return digest


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
        "(yolo11n.yaml, or a file that describes your own).",
    )
    sha256: Annotated[str | None, AfterValidator(_digest)] = Field(
        None, description="The sha256 that the file must have; official names bring theirs."
    )
    trust: bool = Field(
        False, description="Unpickle a checkpoint whose sha256 is not known, or build a network of your own."
    )
    download: bool = Field(False, description="Fetch an official name over the network if no cache has it.")


class ExportConfig(Part):
    """How the checkpoint becomes the file that ships."""

    opset: int = Field(18, ge=17, le=20, description="ONNX operator set.")
    nms_free: bool = Field(False, description="Use the one-to-one head of yolov10 and yolo26, which needs no NMS.")
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
