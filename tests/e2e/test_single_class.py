"""One class from train to registry: a view of the data that all stages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import predictions
from sightline.contract import Contract
from sightline.detect import Detector
from sightline.documents import EvaluateDocument, ExportDocument, SampleDocument, TrainDocument, ValidateDocument, read


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_file_scores_gallery_and_gate_know_one_class_and_the_snapshot_stays(command: Callable, tmp_path: Path) -> None:
    options = ["--epochs", "6", "--set", "train.single_class=true", "--set", "gate.min_map50=null"]
    done = command("run", "--run-id", "one", *options, "--set", "gate.min_class_ap50=0.01", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs" / "one"
    assert len(read(ValidateDocument, run / "validate").classes) == 3
    assert read(TrainDocument, run / "train").notes == [
        "train.single_class: all classes of the snapshot counted as one."
    ]
    exported = read(ExportDocument, run / "export")
    assert (exported.classes, exported.single_class, exported.parity.unmatched) == (["object"], True, 0)
    contract: Contract = Detector(run / "export" / exported.onnx, device="cpu").contract
    assert contract.classes == ("object",)
    evaluated = read(EvaluateDocument, run / "evaluate")
    [only] = evaluated.per_class
    assert (only.name, only.boxes) == ("object", evaluated.boxes)
    assert only.map50 == evaluated.map50 > 0.2
    assert evaluated.confusion.labels == ["object", "background"]
    found = predictions.load(evaluated, run / "evaluate")
    assert found
    assert found.header.classes == ("object",)
    assert set(found.label_classes.tolist()) == {0}
    assert any("object" in sample.finding for sample in read(SampleDocument, run / "sample").samples)
    assert "object" in (run / "report.html").read_text()
