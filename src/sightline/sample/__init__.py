"""Sample: a gallery of detections with a written finding for each image, of the test split and of the user's own.

It runs the runtime that ships. In test images this must find what evaluate found and scored.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from sightline import predictions
from sightline.annotate import annotate, jpeg
from sightline.atomic import write_bytes
from sightline.boxes import IOU, match_by_class
from sightline.config import SampleConfig
from sightline.datasets import pictures
from sightline.detect import Detections, Detector, Device
from sightline.documents import (
    Agreement,
    Chosen,
    EvaluateDocument,
    ExportDocument,
    GivenPictures,
    Sample,
    SampleDocument,
    UnreadPicture,
    read,
)
from sightline.errors import DataError, StageInputError
from sightline.preprocess import Image, read_image
from sightline.runtime.stage_frame import running, same_snapshot
from sightline.sample import agreement_check, choice
from sightline.scoring import FLOOR, detect_all
from sightline.shipped import SPLIT, exported_model
from sightline.snapshots import Labelled, fetch


def run(
    *, export: Path, evaluate: Path | None, snapshot: str, config: SampleConfig, out: Path, device: Device = "auto"
) -> SampleDocument:
    """Draw what `export/model.onnx` finds in some images; leave the drawings and `sample.json` in `out`.

    The predictions in `evaluate` choose the test images (`choice.by_predictions`); without them they are spread evenly.
    If their copy in the store is gone, it is put back. Drawings of an earlier gallery are removed first.

    Raises SampleError if the detections differ from evaluate's, StageInputError if `evaluate` scored another file or
    other data, or its predictions are of other data or were made otherwise, DataError if none of the user's pictures
    can be read.
    """
    with running("sample", out) as seconds, contextlib.ExitStack() as stack:
        gallery = _Gallery(out)
        place = config.pictures
        given = stack.enter_context(pictures.opened(place, config.max_pictures)) if place else None
        exported, model = exported_model(export, snapshot)
        evaluated = _evaluation(evaluate, exported, snapshot) if evaluate else None
        predicted = predictions.load(evaluated, evaluate) if evaluate and evaluated else None
        data = fetch(snapshot, splits=(SPLIT,), single_class=exported.single_class)
        samples = data.samples(SPLIT)
        detector = Detector(model, device=device, confidence=FLOOR)
        gallery.confidence = detector.contract.confidence
        if evaluate and evaluated and predicted:
            agreement_check.same_inputs(predicted, detector.contract, data.classes, samples)
            predictions.put_back(evaluated, evaluate)
            chosen = choice.by_predictions(predicted, gallery.confidence, config.count)
        else:
            chosen = choice.evenly(samples, config.count)
        images, shown = [image for image, _ in chosen], [samples[image] for image, _ in chosen]
        found = detect_all(detector, shown, "sample")
        agreement = None
        if predicted and evaluated and evaluated.predictions:
            agreement = Agreement(
                predictions_sha256=evaluated.predictions.sha256,
                images=len(images),
                matched=agreement_check.check(detector, images, shown, found, predicted, evaluated.provider),
                provider=detector.provider,
            )
        for (_, why), sample, detections in zip(chosen, shown, found, strict=True):
            gallery.add_labelled(sample, detections, why)
        own = _own(place, given, detector, gallery) if place and given else None
        document = SampleDocument(
            onnx_sha256=exported.sha256,
            split=SPLIT,
            confidence=gallery.confidence,
            samples=gallery.samples,
            agreement=agreement,
            pictures=own,
            seconds=seconds(),
        )
        document.write(out)
    return document


def _evaluation(folder: Path, exported: ExportDocument, snapshot: str) -> EvaluateDocument:
    """Return the evaluation of this very file. Raises StageInputError."""
    evaluated = read(EvaluateDocument, folder)
    same_snapshot(evaluated.snapshot, snapshot, f"The evaluation in {folder}")
    if evaluated.onnx_sha256 != exported.sha256:
        raise StageInputError(
            f"The evaluation in {folder} scored a file of sha256 {evaluated.onnx_sha256}, but {exported.sha256} was "
            "exported. Evaluate again."
        )
    return evaluated


class _Gallery:
    """Writes numbered drawings of what lies above a confidence into a folder, and keeps a `Sample` for each."""

    def __init__(self, out: Path) -> None:
        """Remove the drawings that are there."""
        self.out, self.confidence = out, 0.0
        self.samples: list[Sample] = []
        for old in out.glob("*.jpg"):
            old.unlink()

    def add_labelled(self, sample: Labelled, found: Detections, chosen: Chosen) -> None:
        """Draw a test image with its detections and missed objects."""
        found = found.above(self.confidence)
        partner = match_by_class(found.boxes, found.classes, sample.boxes, sample.classes, IOU)
        missed = np.setdiff1d(np.arange(len(sample.classes)), partner)
        matched = int((partner >= 0).sum())
        self.samples.append(
            Sample(
                image=sample.source,
                file=self._draw(annotate(read_image(sample.image), found, sample.boxes[missed])),
                chosen=chosen,
                finding=found.finding(),
                labelled=len(sample.classes),
                found=len(found),
                matched=matched,
                missed=len(missed),
                false=len(found) - matched,
            )
        )

    def add_given(self, name: str, image: Image, found: Detections) -> None:
        """Draw an unlabelled picture with its detections."""
        found = found.above(self.confidence)
        self.samples.append(
            Sample(
                image=name,
                file=self._draw(annotate(image, found)),
                chosen="given",
                finding=found.finding(),
                labelled=None,
                found=len(found),
                matched=None,
                missed=None,
                false=None,
            )
        )

    def _draw(self, picture: Image) -> str:
        name = f"{len(self.samples):03d}.jpg"
        write_bytes(self.out / name, jpeg(picture))
        return name


def _own(place: str, given: pictures.Pictures, detector: Detector, gallery: _Gallery) -> GivenPictures:
    """Draw the user's own pictures; those that cannot be read are listed. Raises DataError if none can be."""
    unread = []
    for name, path in given.files.items():
        try:
            image = read_image(path)
        except DataError as error:
            unread.append(UnreadPicture(image=name, reason=error.message.replace(str(path), name)))
            continue
        gallery.add_given(name, image, detector(image)[0])
    if len(unread) == len(given.files):
        with pictures.named():
            raise pictures.none_readable(place, [picture.reason for picture in unread], given.found)
    return GivenPictures(place=place, found=given.found, unread=unread)
