"""Where predictions are kept: in the folder of their evaluation and, under their sha256, in the snapshot's store."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from sightline.atomic import write_bytes
from sightline.boxes import IOU, match_by_class
from sightline.documents import EvaluateDocument, PredictionsFile
from sightline.errors import StageInputError
from sightline.predictions.columns import FILE, Predictions, read
from sightline.runtime import progress
from sightline.snapshots.manifest import address, predictions_path
from sightline.storage import MissingObject, Store, Transfer, WrongBytes, fetch_uri, open_store


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
