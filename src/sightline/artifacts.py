"""The documents that pass between stages: one JSON file a stage, each of a frozen, documented schema.

Absent is null everywhere: a class or size bucket without samples has no score, not -1, NaN or 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline.config import GateConfig, RunConfig, TrainConfig
from sightline.errors import FULL, StageInputError, no_room
from sightline.policy import Policy

SCHEMA_VERSION = 1
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Score = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A frozen piece of a document that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Part):
    """What a stage leaves behind; `file_name` is where, inside the stage's folder."""

    schema_version: int = SCHEMA_VERSION

    @classmethod
    def file_name(cls) -> str:
        """`TrainDocument` is stored in `train.json`."""
        return f"{cls.__name__.removesuffix('Document').lower()}.json"

    def write(self, folder: Path) -> Path:
        """Write the document into a stage's folder; it appears whole or not at all."""
        path = folder / self.file_name()
        write_text(path, self.model_dump_json(indent=2, by_alias=True) + "\n")
        return path


AnyDocument = TypeVar("AnyDocument", bound=Document)


def read(kind: type[AnyDocument], folder: Path) -> AnyDocument:
    """Read a stage's document out of its folder.

    Raises StageInputError if it is not there or does not fit the schema.
    """
    path = folder / kind.file_name()
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StageInputError(
            f"{folder} holds no {path.name}; expected the folder that `sightline {path.stem}` wrote."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StageInputError(
            f"{path} is not a {path.stem} document of this version: {where}: {first['msg']}"
        ) from None


def decimals(confidence: float) -> str:
    """Return a confidence with three decimals, or with all where it has more: 0.9996 is not 1."""
    return f"{confidence:.3f}" if round(confidence, 3) == confidence else f"{confidence:.10g}"


def write_text(path: Path, text: str) -> None:
    """Like `write_bytes`, for UTF-8 text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that no reader ever sees half of it.

    The name gets a new file each time: runs share files by hard links, and the other name keeps the old bytes.
    Raises StorageError where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise (no_room(path, len(data)) if error.errno in FULL else error) from None
    finally:
        beside.unlink(missing_ok=True)


# --- validate ---------------------------------------------------------------------------------------------------------


class Example(Part):
    """One thing that a rule found."""

    where: str = Field(description="File, and line or object, relative to the source.")
    message: str = Field(description="What was found there.")
    image: str | None = Field(description="The image it is about, relative to the source; null where it is about none.")
    box: tuple[float, float, float, float] | None = Field(
        description="The box it is about: x0, y0, x1, y1 as fractions of the upright image, which it may leave."
    )


class Finding(Part):
    """What one rule found in the whole source."""

    rule: str = Field(description="Identifier of the rule, such as `zero-area-box`; `sightline validate --rules`.")
    severity: Literal["error", "warning"]
    count: int = Field(ge=1)
    of: int = Field(description="Images or boxes that the rule looked at, which `max_fraction` is a share of.")
    max_count: int | None = Field(description="Errors that the policy tolerates; null sets no such limit.")
    max_fraction: float | None = Field(description="Share of errors that the policy tolerates.")
    rejected: bool = Field(description="Whether this rule refuses the source.")
    handling: str = Field(description="What happened to what was found, such as `clipped` or `dropped the image`.")
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


class Weights(Part):
    """Starting weights, pinned."""

    source: str = Field(description="What the user asked for.")
    uri: str | None = Field(description="Where the pinned bytes lie in the store; null when training from scratch.")
    sha256: Sha256 | None = Field(description="Digest of those bytes; null when training from scratch.")
    architecture: str | None = Field(description="Engine architecture file for training from scratch, else null.")
    licence: str = Field(description="Licence under which the weights may be used, as far as known.")


class Histogram(Part):
    """Counts by split; `edges` has one number more than each list of counts, and the outer bins take what lies out."""

    edges: list[float]
    counts: dict[Split, list[int]]


class Distributions(Part):
    """What the labels look like, split by split. Of boxes that passed; before quarantine nothing is counted."""

    sizes: Histogram = Field(description="Square root of a box's share of its image's area, 0 to 1.")
    aspects: Histogram = Field(description="Width over height of boxes, in pixels.")
    boxes_per_image: Histogram
    image_sizes: Histogram = Field(description="Square root of width times height of images, in pixels.")
    positions: dict[Split, list[list[int]]] = Field(description="Box centres on a 16 x 16 grid, rows from the top.")
    cooccurrence_classes: list[str] = Field(description="The commonest classes, at most 20.")
    cooccurrence: list[list[int]] = Field(description="Images that hold both classes; the diagonal: that hold one.")


class Drift(Part):
    """One property compared between train and another split."""

    what: Literal["classes", "box sizes", "box aspects", "positions", "boxes per image", "image sizes"]
    split: Split
    distance: float = Field(description="Kolmogorov-Smirnov distance; for classes and positions total variation.")
    noise: float = Field(description="Distance that two samples of these sizes reach by chance one time in a hundred.")
    drifted: bool
    sentence: str = Field(description="The verdict in words, such as `test has smaller boxes than train`.")


class DataDocument(Document):
    """The data report: everything that is wrong with a source, and what it looks like. Written whatever the verdict."""

    source: str
    format: Literal["yolo", "coco", "voc"]
    policy: Policy
    verdict: Literal["passed", "rejected"]
    unusable: str | None = Field(description="Why nothing can be trained on this, whatever the rules say; or null.")
    classes: list[str]
    images: int = Field(description="Images that the source names.")
    boxes: int = Field(description="Boxes that it names, including those that cannot be read.")
    errors: int
    warnings: int
    dropped_images: int = Field(description="Images that were left out, each with a finding that says why.")
    dropped_boxes: int = Field(description="Boxes that were left out of images that stay.")
    splits: dict[Split, SplitCounts] = Field(description="What passed.")
    split_rule: str | None = Field(description="How missing splits were made; null when the source brought all three.")
    findings: list[Finding] = Field(description="One for each rule that found something: errors first, most first.")
    distributions: Distributions | None = Field(description="Null where nothing passed.")
    drift: list[Drift]
    seconds: float


class ValidateDocument(Document):
    """What was read and what was made of it. `data.json` beside it is the data report."""

    source: str
    format: Literal["yolo", "coco", "voc"]
    snapshot: str = Field(description="URI of the snapshot's folder in the store.")
    digest: Sha256 = Field(description="Digest over image bytes, labels, class names, splits and file names.")
    classes: list[str]
    splits: dict[Split, SplitCounts]
    split_rule: str | None = Field(description="How missing splits were made; null when the source brought all three.")
    uploaded_bytes: int = Field(description="Bytes that this run added to the store.")
    findings: list[Finding] = Field(description="What the rules found and the policy let pass.")
    dropped_images: int = Field(description="Images that were left out, each with a finding that says why.")
    dropped_boxes: int = Field(description="Boxes that were left out of images that stay.")
    weights: Weights
    config: RunConfig
    code: Sha256 = Field(description="Digest of Sightline's source and of package versions; part of a training's key.")
    started_at: str = Field(description="When the stage, and with it the run, began: ISO 8601, UTC.")
    seconds: float


# --- train ------------------------------------------------------------------------------------------------------------


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
    """The epoch whose weights go on, chosen on val by the engine's fitness."""

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


# --- export -----------------------------------------------------------------------------------------------------------


class Curve(Part):
    """A line of points for the page, thinned to at most about 150."""

    x: list[float]
    y: list[float]


class Parity(Part):
    """The exported file against the checkpoint, on real val images."""

    images: int
    max_abs_diff: float = Field(description="Largest difference of raw outputs: boxes in pixels, scores in 0..1.")
    tolerance: float
    confidence: float = Field(description="Confidence above which detections were compared.")
    matched: int = Field(description="Detections of the checkpoint that the file computes as well: box, class, score.")
    unmatched: int = Field(description="Detections of either that the other does not compute.")
    passed: bool


class ExportDocument(Document):
    """The file that ships."""

    snapshot: str = Field(description="Data on whose val split confidence and parity were measured.")
    onnx: str = Field(description="File name of the ONNX model in this folder.")
    sha256: Sha256
    size_bytes: int
    opset: int
    architecture: str
    head: Literal["anchors", "nms-free"]
    image_size: int
    classes: list[str]
    confidence: Score = Field(
        description="Operating confidence: best mean F1 on val, in the widest gap between scores there."
    )
    confidence_f1: Score = Field(description="Mean F1 over classes on val at that confidence.")
    f1_curve: Curve | None = Field(
        None, description="Mean F1 over classes on val, over confidence; null in documents of before it was kept."
    )
    checkpoint_sha256: Sha256
    parity: Parity
    seconds: float


# --- evaluate ---------------------------------------------------------------------------------------------------------


class ClassScores(Part):
    """Scores of one class on the test split; null where the split holds no box of it."""

    name: str
    boxes: int
    map50_95: Score | None
    map50: Score | None
    map75: Score | None
    precision: Score | None = Field(description="At the operating confidence; null without a detection.")
    recall: Score | None
    f1: Score | None


class SizeScores(Part):
    """Mean AP by object area in original pixels: small < 32², medium < 96², large."""

    small: Score | None
    medium: Score | None
    large: Score | None


class Curves(Part):
    """Curves at IoU 0.50."""

    precision_recall: Curve = Field(description="Interpolated precision over recall, mean over classes.")
    precision: Curve = Field(description="Precision over confidence, all boxes together.")
    recall: Curve = Field(description="Recall over confidence, all boxes together.")
    f1: Curve = Field(description="F1 over confidence, all boxes together.")


class ConfusionMatrix(Part):
    """Counts at IoU 0.50 and the operating confidence. Rows are what is there, columns what was found."""

    labels: list[str] = Field(description="Class names, then `background`.")
    counts: list[list[int]]


class Backgrounds(Part):
    """Images of the test split with nothing in them."""

    images: int
    false_positives: int
    false_positives_per_image: float | None


class EvaluateDocument(Document):
    """The published score: measured on the exported file's own bytes, on the test split, at its own settings."""

    onnx_sha256: Sha256
    snapshot: str
    split: Split
    images: int
    boxes: int
    map50_95: Score | None
    map50: Score | None
    map75: Score | None
    by_size: SizeScores
    recall_at: dict[str, Score | None] = Field(description="Mean recall (AR) with at most 1, 10, 100 detections.")
    confidence: Score
    precision: Score | None
    recall: Score | None
    f1: Score | None
    per_class: list[ClassScores]
    confusion: ConfusionMatrix
    backgrounds: Backgrounds
    curves: Curves
    settings: str = Field(description="How detections were made and matched, in one sentence.")
    verdict: Literal["register", "reject"]
    reasons: list[str]
    gate: GateConfig | None = Field(
        None, description="The minimums that it was judged by; null in documents of before they were kept."
    )
    provider: str = Field(description="ONNX Runtime execution provider that ran the file.")
    milliseconds_per_image: float = Field(description="Mean time of one image, decoding included.")
    finished_at: str = Field(description="When the scores were known: ISO 8601, UTC.")
    seconds: float


# --- sample -----------------------------------------------------------------------------------------------------------


class Sample(Part):
    """One held-out image with what the model saw in it."""

    image: str = Field(description="Name of the image in the source.")
    file: str = Field(description="Drawing in this folder.")
    finding: str = Field(description="What was found, in words; `No findings` where there is nothing.")
    labelled: int
    found: int
    matched: int
    missed: int
    false: int


class SampleDocument(Document):
    """The gallery."""

    onnx_sha256: Sha256
    split: Split
    confidence: Score
    samples: list[Sample]
    seconds: float


# --- report and register ----------------------------------------------------------------------------------------------


class ReportDocument(Document):
    """Where the run was recorded."""

    tracking_uri: str
    experiment: str
    run_id: str = Field(description="MLflow run of this pipeline run.")
    seconds: float


class RegisterDocument(Document):
    """The model version."""

    model_name: str
    version: str
    aliases: list[str]
    tracking_uri: str
    run_id: str
    onnx_sha256: Sha256
    seconds: float
