"""The predictions file: everything the shipped file found in a split, image by image, beside what is labelled there.

A compressed numpy archive (`.npz`) of columns. `numpy.load(path)` opens it anywhere; `load` also checks it. Rows of
one kind follow each other image by image: those of image i lie from `offsets[i]` to `offsets[i + 1]`.

    header              ()       str      JSON of `Header`: which file, data, split and thresholds; class names
    image_sources       (n,)     str      name of the image in the source
    image_sha256s       (n,)     str      sha256 of the image's bytes
    image_widths        (n,)     int32    pixels of the upright image
    image_heights       (n,)     int32
    detection_offsets   (n + 1,) int64
    detection_boxes     (d, 4)   float32  x1 y1 x2 y2 in pixels of the upright image
    detection_scores    (d,)     float32  0 to 1, falling within an image, all above `Header.floor`
    detection_classes   (d,)     int32    index into `Header.classes`
    detection_matches   (d,)     int32    the labelled box of the same image that it claims at `Header.iou`, -1 if none
    label_offsets       (n + 1,) int64
    label_boxes         (l, 4)   float64  like detection_boxes
    label_classes       (l,)     int32

A detection claims a labelled box of its own class, the best score first (`boxes.match_by_class`). So at a higher
confidence the matches of the detections above it hold as they are, and precision, recall and errors at any confidence
are sums over these columns. Equal predictions are equal bytes, so the sha256 names them.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from sightline.atomic import write_bytes
from sightline.boxes import IOU, match_by_class
from sightline.documents import EvaluateDocument, Part, PredictionsFile, Sha256, Split
from sightline.errors import StageInputError
from sightline.runtime import progress
from sightline.snapshots.manifest import address, predictions_path
from sightline.storage import MissingObject, Store, Transfer, WrongBytes, fetch_uri, open_store

FILE = "predictions.npz"
DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
# Type of each column, and what it has a row for: images, detections, labels, or one more than images.
COLUMNS: dict[str, tuple[str, str]] = {
    "image_sources": ("str", "images"),
    "image_sha256s": ("str", "images"),
    "image_widths": ("int32", "images"),
    "image_heights": ("int32", "images"),
    "detection_offsets": ("int64", "offsets"),
    "detection_boxes": ("float32", "detections"),
    "detection_scores": ("float32", "detections"),
    "detection_classes": ("int32", "detections"),
    "detection_matches": ("int32", "detections"),
    "label_offsets": ("int64", "offsets"),
    "label_boxes": ("float64", "labels"),
    "label_classes": ("int32", "labels"),
}

Text = NDArray[np.str_]
Whole = NDArray[np.int32]
Offsets = NDArray[np.int64]


class Header(Part):
    """What the columns were made from."""

    schema_version: Literal[1] = 1
    onnx_sha256: Sha256
    snapshot: Sha256 = Field(description="Digest of the data.")
    split: Split
    floor: float = Field(description="Detections of lower scores are not there.")
    confidence: float = Field(description="The file's own operating confidence.")
    iou: float = Field(description="Overlap from which a detection claims a labelled box.")
    classes: tuple[str, ...]


class Errors(NamedTuple):
    """Labelled objects, detections and right detections of each image above a confidence: (images,) counts."""

    labelled: Offsets
    found: Offsets
    right: Offsets

    @property
    def missed(self) -> Offsets:
        """Labelled objects without a detection."""
        return self.labelled - self.right

    @property
    def false(self) -> Offsets:
        """Detections of nothing that is labelled."""
        return self.found - self.right


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """The columns of the file; see the module for their meaning."""

    header: Header
    image_sources: Text
    image_sha256s: Text
    image_widths: Whole
    image_heights: Whole
    detection_offsets: Offsets
    detection_boxes: NDArray[np.float32]
    detection_scores: NDArray[np.float32]
    detection_classes: Whole
    detection_matches: Whole
    label_offsets: Offsets
    label_boxes: NDArray[np.float64]
    label_classes: Whole

    def __len__(self) -> int:
        return len(self.image_sources)

    def detections(self, image: int) -> slice:
        """Return where the detections of an image lie in their columns."""
        return slice(*self.detection_offsets[image : image + 2].tolist())

    def labels(self, image: int) -> slice:
        """Return where the labelled boxes of an image lie in their columns."""
        return slice(*self.label_offsets[image : image + 2].tolist())

    def above(self, confidence: float) -> NDArray[np.bool_]:
        """Say of each detection whether its score lies above a confidence, rounded as the detector rounds it."""
        return np.asarray(self.detection_scores > np.float32(confidence))

    def errors(self, confidence: float) -> Errors:
        """Count the detections above a confidence, image by image."""
        sure = self.above(confidence)
        images = _images(self.detection_offsets)
        found, right = (
            np.bincount(images[rows], minlength=len(self)) for rows in (sure, sure & (self.detection_matches >= 0))
        )
        return Errors(np.diff(self.label_offsets), found, right)

    def to_bytes(self) -> bytes:
        """Return the file; equal columns give equal bytes, as numpy dates the members of every archive alike."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, header=np.array(self.header.model_dump_json()), **columns)
        return buffer.getvalue()


def write(predictions: Predictions, folder: Path, store: Store) -> PredictionsFile:
    """Leave the file in a stage's folder and, under its sha256, beside the snapshot's others in the store.

    Returns what it is and where.

    Raises StorageError.
    """
    data = predictions.to_bytes()
    digest = hashlib.sha256(data).hexdigest()
    key = predictions_path(predictions.header.snapshot, digest)
    write_bytes(folder / FILE, data)
    store.upload([Transfer(key, folder / FILE, digest)])
    return PredictionsFile(
        file=FILE,
        uri=f"{store.uri}/{key}",
        sha256=digest,
        size_bytes=len(data),
        images=len(predictions),
        detections=len(predictions.detection_scores),
        labels=len(predictions.label_classes),
        floor=predictions.header.floor,
    )


def load(document: EvaluateDocument, folder: Path, *, match_again: bool = True) -> Predictions | None:
    """Return the predictions of an evaluation: the copy in its `folder`, or the one in the store.

    None for an evaluation that kept none, made by an earlier version. Without `match_again` the matches are taken as
    they are: for 20,000 images with 100 detections each, matching takes seconds. Raises StageInputError for a file that
    is gone, cannot be read, or is not the one that the evaluation describes; StorageError for a store that cannot be
    used.
    """
    reference = document.predictions
    if reference is None:
        return None
    path = folder / reference.file
    if _whole(path, reference):
        found = read(path, reference.sha256)
    else:
        with tempfile.TemporaryDirectory(prefix="sightline-predictions-") as temporary:
            found = read(_fetched(reference, path, Path(temporary) / FILE), reference.sha256)
    if problems := [*_differences(found, document, reference), *(_wrong_partners(found) if match_again else ())]:
        raise StageInputError(
            f"The predictions at {path} are not those of the evaluation in {folder}. Evaluate again:", problems
        )
    return found


def put_back(document: EvaluateDocument, folder: Path) -> None:
    """Send the copy in an evaluation's `folder` to the store again if it is gone there, so that its URI holds.

    An evaluation that is reused may be older than its store. If the copy here is damaged, say so. Raises StorageError.
    """
    reference = document.predictions
    if reference is None:
        return
    path = folder / reference.file
    if _whole(path, reference):
        place, _, name = reference.uri.rpartition("/")
        open_store(place).upload([Transfer(name, path, reference.sha256)])
    elif path.is_file():
        progress.notice(f"{path} was changed or damaged; the store's copy is used: {reference.uri}.")


def _whole(path: Path, reference: PredictionsFile) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == reference.sha256


def _fetched(reference: PredictionsFile, local: Path, target: Path) -> Path:
    """Fetch the store's copy, as the one at `local` is gone or damaged. Raises StageInputError if that one is too."""
    damaged = local.is_file()
    here = f"{local} was changed or damaged: its sha256 is not the one that the evaluation wrote"
    try:
        fetch_uri(reference.uri, target, reference.sha256)
    except MissingObject:
        problem = (
            f"{here}; and there is no copy at {reference.uri}"
            if damaged
            else f"The predictions of the evaluation are neither at {local} nor at {reference.uri}"
        )
    except WrongBytes:
        problem = f"The copy at {reference.uri} was damaged, and {here if damaged else f'there is none at {local}'}"
    else:
        return target
    raise StageInputError(f"{problem}. Evaluate again.")


def _differences(found: Predictions, document: EvaluateDocument, reference: PredictionsFile) -> list[str]:
    """Name what the file says of itself and the evaluation's document says otherwise."""
    header = found.header
    pairs: dict[str, tuple[object, object]] = {
        "onnx_sha256": (header.onnx_sha256, document.onnx_sha256),
        "snapshot": (header.snapshot, address(document.snapshot)[1]),
        "split": (header.split, document.split),
        "floor": (header.floor, reference.floor),
        "confidence": (header.confidence, document.confidence),
        "iou": (header.iou, IOU),
        "classes": (list(header.classes), [item.name for item in document.per_class]),
        "images": (len(found), document.images),
        "labels": (len(found.label_classes), document.boxes),
        "detections": (len(found.detection_scores), reference.detections),
    }
    return [f"{name}: got {got}, expected {wanted}" for name, (got, wanted) in pairs.items() if got != wanted]


def _wrong_partners(found: Predictions) -> list[str]:
    """Match each image again and name the first whose matches are others; empty if there is none."""
    for image in range(len(found)):
        rows, labels = found.detections(image), found.labels(image)
        if not rows.stop - rows.start:
            continue
        partners = match_by_class(
            found.detection_boxes[rows],
            found.detection_classes[rows].astype(np.int64),
            found.label_boxes[labels],
            found.label_classes[labels].astype(np.int64),
            IOU,
        )
        if not np.array_equal(partners, found.detection_matches[rows]):
            return [
                f"detection_matches of {found.image_sources[image]}: got {found.detection_matches[rows].tolist()!s:.80}"
                f", expected {partners.tolist()!s:.80}"
            ]
    return []


def read(path: Path, sha256: str) -> Predictions:
    """Read the file, if its bytes are those of `sha256` and every column is what the module says.

    Raises StageInputError.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise StageInputError(
            f"{path} has sha256 {found}, but the evaluation wrote {sha256}: it was changed or damaged. Evaluate again."
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
        header = Header.model_validate_json(str(arrays.pop("header")))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"header.{'.'.join(map(str, first['loc']))}: got {first['input']!r:.80}; {first['msg']}"
    except DAMAGED as error:
        problem = str(error) or type(error).__name__
    else:
        problem = _problem(header, arrays)
        if not problem:
            return Predictions(header=header, **arrays)
    raise StageInputError(f"{path} holds no predictions of this version: {problem}. Evaluate again.")


def _problem(header: Header, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Say what is wrong with the columns; empty if nothing is."""
    if arrays.keys() != COLUMNS.keys():
        return f"got the columns {', '.join(sorted(arrays))}, expected {', '.join(sorted(COLUMNS))}"
    rows = {
        "images": len(np.atleast_1d(arrays["image_sources"])),
        "detections": len(np.atleast_1d(arrays["detection_scores"])),
        "labels": len(np.atleast_1d(arrays["label_classes"])),
    }
    rows["offsets"] = rows["images"] + 1
    for name, (kind, of) in COLUMNS.items():
        shape = (rows[of], 4) if name.endswith("boxes") else (rows[of],)
        array = arrays[name]
        typed = array.dtype.kind == "U" if kind == "str" else array.dtype == kind
        if not typed or array.shape != shape:
            return f"{name}: got {array.dtype.name} {array.shape}, expected {kind} {shape}"
    for kind in ("detection", "label"):
        offsets = arrays[f"{kind}_offsets"]
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != rows[f"{kind}s"]:
            return f"{kind}_offsets: expected numbers that rise from 0 to {rows[f'{kind}s']}"
        boxes, classes = arrays[f"{kind}_boxes"], arrays[f"{kind}_classes"]
        if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
            return f"{kind}_boxes: expected finite numbers x1 y1 x2 y2, x2 not below x1 and y2 not below y1"
        if ((classes < 0) | (classes >= len(header.classes))).any():
            return f"{kind}_classes: expected 0 to {len(header.classes) - 1}"
    if (arrays["image_widths"] < 1).any() or (arrays["image_heights"] < 1).any():
        return "image_widths, image_heights: expected 1 or more"
    return _wrong_scores(header, arrays) or _wrong_matches(arrays)


def _wrong_scores(header: Header, arrays: Mapping[str, NDArray[Any]]) -> str:
    scores, offsets = arrays["detection_scores"], arrays["detection_offsets"]
    if not ((scores > np.float32(header.floor)) & (scores <= 1)).all():  # NaN is neither
        return f"detection_scores: expected numbers above {header.floor}, up to 1"
    rising = np.diff(scores, prepend=scores[:1]) > 0
    rising[offsets[:-1][np.diff(offsets) > 0]] = False  # the first of an image
    return "detection_scores: expected falling ones within an image" if rising.any() else ""


def _wrong_matches(arrays: Mapping[str, NDArray[Any]]) -> str:
    matches, images = arrays["detection_matches"], _images(arrays["detection_offsets"])
    counts = np.diff(arrays["label_offsets"])
    if ((matches < -1) | (matches >= counts[images])).any():
        return "detection_matches: expected -1, or a labelled box of the same image"
    right = matches >= 0
    claimed = arrays["label_offsets"][images[right]] + matches[right]
    if len(np.unique(claimed)) != len(claimed):
        return "detection_matches: expected each labelled box once"
    if (arrays["label_classes"][claimed] != arrays["detection_classes"][right]).any():
        return "detection_matches: expected labelled boxes of the detection's own class"
    return ""


def _images(offsets: Offsets) -> Offsets:
    """Return the image of each row."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
