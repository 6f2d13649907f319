"""Evaluate: run the exported file on the test split with the code that ships, score it, and let the gate judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline import predictions, scoring
from sightline.boxes import IOU, match
from sightline.config import GateConfig
from sightline.detect import Detections, Detector, Device
from sightline.documents import (
    Backgrounds,
    ClassScores,
    ConfusionMatrix,
    Curve,
    Curves,
    EvaluateDocument,
)
from sightline.evaluate import gate as gates
from sightline.evaluate.columns import columns, tally
from sightline.evaluate.metrics import CocoScores, coco_results, coco_scores, coco_truth
from sightline.predictions import Header
from sightline.runtime.stage_frame import moment, running
from sightline.shipped import SPLIT, exported_model
from sightline.snapshots import Labelled, Snapshot, fetch
from sightline.snapshots.manifest import address
from sightline.storage import open_store


def run(*, export: Path, snapshot: str, gate: GateConfig, out: Path, device: Device = "auto") -> EvaluateDocument:
    """Score `export/model.onnx` on the test split and leave `evaluate.json` and `predictions.npz` in `out`.

    The predictions also go to the snapshot's store. Raises StageInputError if the file is not the one that was exported
    or comes from another snapshot, StorageError if the store fails.
    """
    with running("evaluate", out) as seconds:
        exported, model = exported_model(export, snapshot)
        data = fetch(snapshot, splits=(SPLIT,), single_class=exported.single_class)
        samples = data.samples(SPLIT)
        detector = Detector(model, device=device, confidence=scoring.FLOOR)
        before = seconds()
        found = scoring.detect_all(detector, samples, "evaluate")
        per_image = 1000 * (seconds() - before) / len(samples)
        confidence = detector.contract.confidence
        coco = coco_scores(coco_truth(samples, data.classes), coco_results(found))
        everything = columns(_header(exported.sha256, data, confidence), found, samples)
        counts = tally(everything)
        per_class = class_scores(data.classes, coco, counts, confidence)
        overall = scoring.at(counts, confidence)
        verdict, reasons = gates.judge(
            gate,
            map50=coco.map50,
            map50_95=coco.map50_95,
            precision=overall.precision,
            recall=overall.recall,
            per_class=per_class,
        )
        document = EvaluateDocument(
            onnx_sha256=exported.sha256,
            snapshot=snapshot,
            split=SPLIT,
            images=len(samples),
            boxes=int(counts.labelled.sum()),
            map50_95=coco.map50_95,
            map50=coco.map50,
            map75=coco.map75,
            by_size=coco.by_size,
            recall_at=coco.recall_at,
            confidence=confidence,
            precision=overall.precision,
            recall=overall.recall,
            f1=overall.f1,
            per_class=per_class,
            confusion=confusion(found, samples, data.classes, confidence),
            backgrounds=backgrounds(found, samples, confidence),
            curves=_curves(coco, counts, confidence),
            predictions=predictions.write(everything, out, open_store(address(snapshot)[0])),
            settings=_settings(detector),
            verdict=verdict,
            reasons=reasons,
            gate=gate,
            provider=detector.provider,
            milliseconds_per_image=round(per_image, 2),
            finished_at=moment(),
            seconds=seconds(),
        )
        document.write(out)
    return document


def _header(onnx_sha256: str, data: Snapshot, confidence: float) -> Header:
    return Header(
        onnx_sha256=onnx_sha256,
        snapshot=data.digest,
        split=SPLIT,
        floor=scoring.FLOOR,
        confidence=confidence,
        iou=IOU,
        classes=tuple(data.classes),
    )


def class_scores(
    classes: Sequence[str], coco: CocoScores, counts: scoring.Tally, confidence: float
) -> list[ClassScores]:
    """Join average precision with precision, recall and F1 at the operating confidence, class by class."""
    rows = []
    for index, name in enumerate(classes):
        point = scoring.at(counts, confidence, index)
        map50_95, map50, map75 = coco.per_class[index]
        rows.append(
            ClassScores(
                name=name,
                boxes=int(counts.labelled[index]),
                map50_95=map50_95,
                map50=map50,
                map75=map75,
                precision=point.precision,
                recall=point.recall,
                f1=point.f1,
            )
        )
    return rows


def confusion(
    found: Sequence[Detections], samples: Sequence[Labelled], classes: Sequence[str], confidence: float
) -> ConfusionMatrix:
    """Count the class that each labelled object was detected as, matching boxes at IoU 0.50 regardless of class.

    Returns (classes + 1, classes + 1) counts: rows are labels, columns detections. The last row counts detections of
    background, the last column missed objects.
    """
    nothing = len(classes)
    counts = np.zeros((nothing + 1, nothing + 1), np.int64)
    for detections, sample in zip(found, samples, strict=True):
        sure = detections.above(confidence)
        partner = match(sure.boxes, sample.boxes, IOU)
        actual = np.where(partner >= 0, np.append(sample.classes, nothing)[partner], nothing)
        for row, column in zip(actual.tolist(), sure.classes.tolist(), strict=True):
            counts[row, column] += 1
        missed = np.setdiff1d(np.arange(len(sample.classes)), partner)
        for row in sample.classes[missed].tolist():
            counts[row, nothing] += 1
    return ConfusionMatrix(labels=[*classes, "background"], counts=counts.tolist())


def backgrounds(found: Sequence[Detections], samples: Sequence[Labelled], confidence: float) -> Backgrounds:
    """Count false positives at the operating confidence in images without labelled objects."""
    empty = [len(d.above(confidence)) for d, sample in zip(found, samples, strict=True) if not len(sample.classes)]
    return Backgrounds(
        images=len(empty),
        false_positives=sum(empty),
        false_positives_per_image=sum(empty) / len(empty) if empty else None,
    )


def _curves(coco: CocoScores, counts: scoring.Tally, confidence: float) -> Curves:
    points = scoring.pooled(counts, scoring.curve_confidences(confidence))
    over = {name: Curve(x=x.tolist(), y=y.round(4).tolist()) for name, (x, y) in points.items()}
    return Curves(precision_recall=coco.precision_recall, **over)


def _settings(detector: Detector) -> str:
    contract = detector.contract
    nms = "the network's own one-to-one selection" if contract.head == "nms-free" else f"NMS at IoU {contract.iou}"
    return (
        f"Square input of {contract.image_size} px, letterboxed; one class per box; candidates above {scoring.FLOOR}; "
        f"{nms}; at most {contract.max_det} detections per image (COCO counts the best 100). Precision, recall and F1 "
        f"at IoU {IOU} above confidence {contract.confidence}."
    )
