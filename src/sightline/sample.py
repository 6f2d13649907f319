"""Sample: a gallery of detections on held-out images, with a written finding for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline.annotate import annotate, jpeg
from sightline.atomic import write_bytes
from sightline.boxes import match_by_class
from sightline.config import SampleConfig
from sightline.detect import Detections, Detector, Device
from sightline.documents import Sample, SampleDocument
from sightline.preprocess import read_image
from sightline.runtime.stage_frame import running
from sightline.scoring import IOU, detect_all
from sightline.shipped import SPLIT, exported_model
from sightline.snapshots import Labelled, fetch


def run(*, export: Path, snapshot: str, config: SampleConfig, out: Path, device: Device = "auto") -> SampleDocument:
    """Draw what `export/model.onnx` finds in some test images; leave the drawings and `sample.json` in `out`."""
    with running("sample", out, export=export) as seconds:
        exported, model = exported_model(export, snapshot)
        data = fetch(snapshot, splits=(SPLIT,))
        chosen = choose(data.samples(SPLIT), config.count)
        for old in out.glob("*.jpg"):  # of a larger gallery
            old.unlink()
        detector = Detector(model, device=device)
        found = detect_all(detector, chosen, "sample")
        samples = [_draw(*pair, out, index) for index, pair in enumerate(zip(chosen, found, strict=True))]
        document = SampleDocument(
            onnx_sha256=exported.sha256,
            split=SPLIT,
            confidence=detector.confidence,
            samples=samples,
            seconds=seconds(),
        )
        document.write(out)
    return document


def choose(samples: Sequence[Labelled], count: int) -> list[Labelled]:
    """Pick images evenly over the split, by name and not by score: neither the best nor the worst.

    Images with nothing in them take their share, but one of several at least where there are any.
    """
    empty = [sample for sample in samples if not len(sample.classes)]
    full = [sample for sample in samples if len(sample.classes)]
    share = min(len(empty), max(1, round(count * len(empty) / len(samples)))) if empty and count > 1 else 0
    return [*_spread(full, count - share), *_spread(empty, share)]


def _spread(samples: Sequence[Labelled], count: int) -> list[Labelled]:
    if count >= len(samples):
        return list(samples)
    return [samples[int(position)] for position in np.linspace(0, len(samples) - 1, count)] if count else []


def _draw(sample: Labelled, found: Detections, out: Path, index: int) -> Sample:
    partner = match_by_class(found.boxes, found.classes, sample.boxes, sample.classes, IOU)
    missed = np.setdiff1d(np.arange(len(sample.classes)), partner)
    picture = annotate(read_image(sample.image), found, sample.boxes[missed])
    name = f"{index:03d}.jpg"
    write_bytes(out / name, jpeg(picture))
    matched = int((partner >= 0).sum())
    return Sample(
        image=sample.source,
        file=name,
        finding=found.finding(),
        labelled=len(sample.classes),
        found=len(found),
        matched=matched,
        missed=len(missed),
        false=len(found) - matched,
    )
