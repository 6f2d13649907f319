"""What one stage leaves counts only with what it was made from: predictions, galleries and documents of other runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline import predictions, report, sample
from sightline.config import SampleConfig
from sightline.documents import Architecture, EvaluateDocument, TrainDocument, load, read
from sightline.errors import DeviceError, StageInputError
from sightline.pages.error_analysis import analyse
from sightline.predictions import Header, Predictions
from sightline.runtime.stage_frame import NAMES, running
from sightline.storage import open_store
from sightline.train import run as train
from tests.helpers import documents
from tests.helpers.cells import Run, Scene, right, run_of
from tests.helpers.page import Page
from tests.helpers.run_page import page

SCENES = {"a.png": right(0, 1), "b.png": Scene({0: 0, 1: 1}, {0: (0, 0.9), 5: (1, 0.7)}), "c.png": Scene()}


@pytest.fixture
def run(private: None, tmp_path: Path) -> Run:
    run = run_of(tmp_path, SCENES)
    run.evaluated()
    return run


def gallery(run: Run) -> Any:
    return sample.run(
        export=run.export,
        evaluate=run.evaluate,
        snapshot=run.snapshot,
        config=SampleConfig(count=3),
        out=run.folder / "sample",
    )


def forge(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    """Replace the predictions by others, whose sha256 the evaluation then names."""
    document = read(EvaluateDocument, run.evaluate)
    found = predictions.load(document, run.evaluate)
    assert found
    columns = {name: np.copy(getattr(found, name)) for name in predictions.COLUMNS}
    values: dict[str, Any] = {"header": found.header.model_dump(), **columns}
    change(values)
    forged = Predictions(**{**values, "header": Header.model_validate(values["header"])})
    reference = predictions.write(forged, run.evaluate, open_store(str(run.folder / "store")))
    document.model_copy(update={"predictions": reference}).write(run.evaluate)


def header(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda columns: columns["header"].update(values)


def cell(name: str, index: Any, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda columns: columns[name].__setitem__(index, value)


# --- predictions


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (header(confidence=1.0), "confidence: got 1.0, expected 0.5"),
        (header(onnx_sha256="0" * 64), f"onnx_sha256: got {'0' * 64}, expected "),
        (header(snapshot="0" * 64), f"snapshot: got {'0' * 64}, expected "),
        (header(split="val"), "split: got val, expected test"),
        (header(classes=("red", "blue")), "classes: got ['red', 'blue'], expected ['red', 'green']"),
        (header(iou=0.1), "iou: got 0.1, expected 0.5"),
        (cell("detection_matches", 0, -1), "detection_matches of test/a.png: got [-1, "),
    ],
    ids=["confidence", "file", "snapshot", "split", "classes", "iou", "matches"],
)
def test_predictions_that_contradict_the_evaluation_are_refused_and_not_shown(
    run: Run, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    forge(run, change)
    with pytest.raises(StageInputError) as raised:
        gallery(run)
    assert problem in raised.value.problems[0]
    assert len(raised.value.problems) == 1
    assert raised.value.message.endswith("Evaluate again:")
    if "matches" not in problem:  # the page does not match again: that takes seconds for a large split
        shown = analyse(read(EvaluateDocument, run.evaluate), run.evaluate)
        assert shown
        assert problem in (shown.problem or "")
        assert shown.chart is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (header(floor=0.0), "floor: got 0.0, expected 0.001 (what evaluate and sample use)"),
        (cell("image_sources", 1, "test/x.png"), "test/b.png: other name than in the snapshot"),
        (cell("image_sha256s", 1, "0" * 64), "test/b.png: other sha256 than in the snapshot"),
        (cell("image_widths", 2, 65), "test/c.png: other width than in the snapshot"),
        (cell("image_heights", 2, 65), "test/c.png: other height than in the snapshot"),
        (cell("label_boxes", (3, 2), 30.0), "test/b.png: other labelled boxes than in the snapshot"),
        (cell("label_classes", 3, 0), "test/b.png: other labelled classes than in the snapshot"),
    ],
    ids=["floor", "name", "sha256", "width", "height", "box", "class"],
)
def test_predictions_of_other_data_are_refused(
    run: Run, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    forge(run, change)
    with pytest.raises(StageInputError) as raised:
        gallery(run)
    assert raised.value.problems == (problem,)
    assert raised.value.exit_code == 2


def test_a_confidence_other_than_the_exported_files_is_refused(run: Run) -> None:
    """Evaluation and predictions agree on it: the file itself says otherwise."""
    forge(run, header(confidence=1.0))
    document = read(EvaluateDocument, run.evaluate)
    document.model_copy(update={"confidence": 1.0}).write(run.evaluate)
    with pytest.raises(StageInputError) as raised:
        gallery(run)
    assert raised.value.problems == ("confidence: got 1.0, expected 0.5 (the exported file)",)


def test_a_damaged_copy_here_is_replaced_by_the_stores_and_one_gone_there_is_sent_again(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    document = read(EvaluateDocument, run.evaluate)
    assert document.predictions
    local = run.evaluate / "predictions.npz"
    there = Path(document.predictions.uri.removeprefix("file://"))
    assert there.is_relative_to(run.folder / "store" / "predictions")
    whole = local.read_bytes()
    local.write_bytes(whole[:-9])
    assert gallery(run).agreement.images == 3
    assert (
        f"note: {local} was changed or damaged; the store's copy is used: {there.as_uri()}." in capsys.readouterr().err
    )
    local.write_bytes(whole)
    shutil.rmtree(there.parent)
    gallery(run)
    assert there.read_bytes() == whole


# --- a stage that is repeated


def test_a_failed_sample_leaves_neither_document_nor_drawings(run: Run) -> None:
    gallery(run)
    assert len(list((run.folder / "sample").iterdir())) == 4
    forge(run, header(confidence=1.0))
    with pytest.raises(StageInputError):
        gallery(run)
    assert not (run.folder / "sample").exists()


@pytest.mark.parametrize("stage", [name for name in NAMES if name != "train"])
def test_a_stage_that_fails_leaves_no_document_of_before(tmp_path: Path, stage: str) -> None:
    (tmp_path / f"{stage}.json").write_text("{}")
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(RuntimeError), running(stage, tmp_path):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_training_that_is_refused_leaves_the_one_of_before(tmp_path: Path, run: Run) -> None:
    documents.train().write(tmp_path / "train")
    (tmp_path / "train" / "best.pt").write_bytes(b"x")
    before = read(TrainDocument, tmp_path / "train")
    with pytest.raises(DeviceError):
        train(
            snapshot=run.snapshot,
            config=before.config.model_copy(update={"gpus": 64}),
            weights=Architecture(architecture="yolo11n.yaml"),
            code="c0" * 32,
            out=tmp_path / "train",
        )
    assert read(TrainDocument, tmp_path / "train") == before
    assert (tmp_path / "train" / "best.pt").exists()


# --- documents of different runs


def places(run: Run) -> dict[str, Path]:
    gallery(run)
    folders = {"export": run.export, "evaluate": run.evaluate, "sample": run.folder / "sample"}
    return {**documents.write_run(run.folder / "run", stages=["validate", "train"]), **folders}


def aligned(run: Run) -> dict[str, Path]:
    """Return the folders of a run whose documents all name the run's snapshot."""
    folders = places(run)
    for stage in ("validate", "train"):
        path = folders[stage] / f"{stage}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "snapshot": run.snapshot}))
    return folders


def test_a_gallery_of_another_evaluation_is_not_shown(run: Run) -> None:
    folders = aligned(run)
    assert load(folders).outdated() == {}
    assert "The runtime ran on these 3 images once more" in Page(page(folders)).text
    run.ship(scale=0.99)
    after = run.evaluated()
    text = Page(page(folders)).text
    assert "The gallery is of an earlier evaluation, so it is not shown. Sample again." in text
    assert "once more" not in text
    problem = load(folders).outdated()["sample"]
    assert problem.endswith(f"but export.json has {after.onnx_sha256}")
    gallery(run)
    assert load(folders).outdated() == {}


def test_report_refuses_documents_that_do_not_belong_together(run: Run) -> None:
    folders = aligned(run)
    forge(run, lambda columns: columns["detection_scores"].__imul__(np.float32(0.999)))
    with pytest.raises(StageInputError) as raised:
        report.run(run_id="r", folders=folders, out=run.folder / "report")
    assert "Repeat sample and what follows it:" in raised.value.message
    (problem,) = raised.value.problems
    assert problem.startswith(f"{run.folder}/sample was compared with the predictions of sha256 ")
    assert not (run.folder / "report").exists()
    path = folders["validate"] / "validate.json"
    path.write_text(path.read_text().replace(run.snapshot, documents.SNAPSHOT))
    with pytest.raises(StageInputError, match="Repeat train and what follows it") as raised:
        report.run(run_id="r", folders=folders, out=run.folder / "report")
    assert len(raised.value.problems) == 4


def test_report_says_that_predictions_cannot_be_used_and_puts_back_what_the_store_lost(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = aligned(run)
    store = run.folder / "store" / "predictions"
    shutil.rmtree(store)
    report.look_at_predictions(read(EvaluateDocument, run.evaluate), folders)
    assert capsys.readouterr().err == ""
    (there,) = store.rglob("*.npz")
    for path in (there, run.evaluate / "predictions.npz"):
        path.write_bytes(b"x")
    report.look_at_predictions(read(EvaluateDocument, run.evaluate), folders)
    said = capsys.readouterr().err
    assert said.startswith("note: the predictions of the evaluation cannot be used: ")
    assert "was damaged, and" in said
    assert "Evaluate again." in said
