"""Export: turn the best checkpoint into the ONNX file that ships, with its contract inside and its parity checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import scoring, ultralytics_env
from sightline.config import ExportConfig
from sightline.contract import Contract
from sightline.detect import Detector
from sightline.documents import Curve, ExportDocument, TrainDocument, read
from sightline.errors import StageInputError
from sightline.export import onnx_file, parity
from sightline.preprocess import read_image
from sightline.runtime.stage_frame import running, same_snapshot
from sightline.snapshots import Snapshot, fetch
from sightline.storage import sha256_file

ONNX = "model.onnx"
PARITY_IMAGES = 16


def run(*, train: Path, snapshot: str, config: ExportConfig, out: Path) -> ExportDocument:
    """Export `train/best.pt` at the size it was trained at, and leave `model.onnx` and `export.json` in `out`.

    Raises ExportError if the file and the checkpoint disagree, ConfigError for an nms-free head that the network lacks,
    StageInputError if `train` holds no finished training on this snapshot.
    """
    with running("export", out) as seconds:
        trained = read(TrainDocument, train)
        same_snapshot(trained.snapshot, snapshot, f"The training in {train}")
        image_size = trained.config.image_size
        checkpoint = train / trained.checkpoint
        if not checkpoint.is_file() or sha256_file(checkpoint) != trained.checkpoint_sha256:
            raise StageInputError(f"{checkpoint} is not the file that {train / 'train.json'} describes. Train again.")
        data = fetch(snapshot, splits=("val",), single_class=trained.config.single_class)
        ultralytics_env.prepare()
        model = onnx_file.load_checkpoint(checkpoint)
        onnx_file.select_head(model, config.nms_free, config.max_det)
        work = out / f".{ONNX}"
        try:
            onnx_file.export(checkpoint, work, config, image_size)
            contract = _contract(model, config, data.classes, image_size)
            onnx_file.write_contract(work, contract)
            counts = _tally_on_val(work, data)
            confidence, f1 = scoring.operating_point(counts)
            contract = replace(contract, confidence=confidence)
            onnx_file.write_contract(work, contract)
            samples = data.samples("val")
            images = [read_image(sample.image) for sample in samples[:: -(-len(samples) // PARITY_IMAGES)]]
            exported = Detector(work, device="cpu", confidence=scoring.FLOOR)
            measured = parity.check(model, exported, images, config.tolerance)
            work.replace(out / ONNX)
        finally:
            work.unlink(missing_ok=True)
        document = ExportDocument(
            snapshot=snapshot,
            onnx=ONNX,
            sha256=sha256_file(out / ONNX),
            size_bytes=(out / ONNX).stat().st_size,
            opset=onnx_file.opset(out / ONNX),
            architecture=contract.architecture,
            head=contract.head,
            image_size=image_size,
            classes=data.classes,
            single_class=data.single_class,
            confidence=confidence,
            confidence_f1=f1,
            f1_curve=_curve(counts, confidence),
            checkpoint_sha256=trained.checkpoint_sha256,
            parity=measured,
            seconds=seconds(),
        )
        document.write(out)
    return document


def _contract(model: Any, config: ExportConfig, classes: list[str], image_size: int) -> Contract:
    """Return the file's contract, with an operating confidence of 0 until one is chosen."""
    return Contract(
        schema_version=1,
        architecture=Path(model.yaml.get("yaml_file", "unknown")).stem,
        classes=tuple(classes),
        image_size=image_size,
        stride=int(model.stride.max()),
        head="nms-free" if config.nms_free else "anchors",
        confidence=0.0,
        iou=config.iou,
        max_det=config.max_det,
    )


def _tally_on_val(model: Path, data: Snapshot) -> scoring.Tally:
    """Run the exported file on val and return its detections, right and wrong."""
    samples = data.samples("val")
    found = scoring.detect_all(Detector(model, confidence=scoring.FLOOR), samples, "export")
    return scoring.tally(found, samples, len(data.classes))


def _curve(counts: scoring.Tally, confidence: float) -> Curve:
    """Return the curve of mean F1 over confidence, by which `confidence` was chosen."""
    x = scoring.curve_confidences(confidence)
    return Curve(x=x.tolist(), y=scoring.mean_f1(counts, x).round(4).tolist())
