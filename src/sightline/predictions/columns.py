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
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from sightline.documents import Part, Sha256, Split
from sightline.errors import StageInputError

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
