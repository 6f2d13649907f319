"""The predictions file: all that a score was computed from, bound to its sha256, and refused where it is damaged."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline import predictions, scoring
from sightline.documents import EvaluateDocument, PredictionsFile, read
from sightline.errors import StageInputError
from sightline.evaluate.columns import tally
from sightline.evaluate.metrics import coco_results, coco_scores, coco_truth
from sightline.predictions import COLUMNS, Predictions
from sightline.sample.agreement_check import stored
from sightline.snapshots import Labelled, fetch
from sightline.storage import open_store, sha256_file
from tests.helpers.cells import CONFIDENCE, Run, Scene, right, run_of
from tests.helpers.finished_run import Finished

SCENES = {
    "a.png": Scene({0: 0, 1: 1}, {0: (0, 0.9), 5: (0, 0.8), 1: (0, 0.7), 9: (1, 0.2)}),  # 1 is taken for another class
    "b.png": Scene(),
    "c.png": right(2, 3),
    "d.png": Scene({}, {4: (1, 0.6)}),
}


@pytest.fixture
def run(private: None, tmp_path: Path) -> Run:
    return run_of(tmp_path, SCENES)


def stored_under(run: Run, document: EvaluateDocument) -> str:
    """Return the key in the store: the snapshot's digest, then the file's own."""
    return f"predictions/{run.snapshot.rsplit('/', 1)[-1]}/{document.predictions.sha256}.npz"


def test_the_file_holds_every_image_detection_label_and_match(run: Run) -> None:
    document = run.evaluated()
    found = predictions.load(document, run.evaluate)
    assert found
    assert document.predictions == PredictionsFile(
        file="predictions.npz",
        uri=f"file://{run.folder}/store/{stored_under(run, document)}",
        sha256=sha256_file(run.evaluate / "predictions.npz"),
        size_bytes=(run.evaluate / "predictions.npz").stat().st_size,
        images=4,
        detections=7,
        labels=4,
        floor=0.001,
    )
    assert found.header.model_dump() == {
        "schema_version": 1,
        "onnx_sha256": sha256_file(run.export / "model.onnx"),
        "snapshot": run.snapshot.rsplit("/", 1)[-1],
        "split": "test",
        "floor": 0.001,
        "confidence": CONFIDENCE,
        "iou": 0.5,
        "classes": ("red", "green"),
    }
    samples = fetch(run.snapshot, ["test"]).samples("test")
    assert found.image_sources.tolist() == ["test/a.png", "test/b.png", "test/c.png", "test/d.png"]
    assert found.image_sha256s.tolist() == [sha256_file(sample.image) for sample in samples]
    assert found.image_widths.tolist() == found.image_heights.tolist() == [64] * 4
    assert found.detection_offsets.tolist() == [0, 4, 4, 6, 7]
    assert found.detection_scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.2, 0.9, 0.9, 0.6], abs=0.003)
    assert found.detection_classes.tolist() == [0, 0, 0, 1, 0, 0, 1]
    assert found.detection_boxes[:3].tolist() == [[0, 0, 16, 16], [16, 16, 32, 32], [16, 0, 32, 16]]
    assert sorted(found.detection_matches[4:6].tolist()) == [0, 1]
    assert found.detection_matches[[0, 1, 2, 3, 6]].tolist() == [0, -1, -1, -1, -1]
    assert found.label_offsets.tolist() == [0, 2, 2, 4, 4]
    assert found.label_classes.tolist() == [0, 1, 0, 0]
    errors = found.errors(CONFIDENCE)
    assert [errors.missed.tolist(), errors.false.tolist()] == [[1, 0, 0, 0], [2, 0, 0, 1]]
    assert found.errors(0.75).false.tolist() == [1, 0, 0, 0]


def test_every_score_follows_from_the_file_alone(quickstart: Finished) -> None:
    document = read(EvaluateDocument, quickstart.folder / "evaluate")
    found = predictions.load(document, quickstart.folder / "evaluate")
    assert found
    assert len(found) == document.images == 40
    counts = tally(found)
    for index, item in enumerate(document.per_class):
        point = scoring.at(counts, document.confidence, index)
        assert (item.precision, item.recall, item.f1) == (point.precision, point.recall, point.f1)
    errors = found.errors(document.confidence)
    assert errors.right.sum() / errors.found.sum() == document.precision
    assert errors.right.sum() / errors.labelled.sum() == document.recall
    samples = [
        Labelled(
            Path(),
            str(found.image_sources[image]),
            str(found.image_sha256s[image]),
            int(found.image_widths[image]),
            int(found.image_heights[image]),
            found.label_classes[found.labels(image)].astype(np.int64),
            found.label_boxes[found.labels(image)],
        )
        for image in range(len(found))
    ]
    results = coco_results([stored(found, image) for image in range(len(found))])
    coco = coco_scores(coco_truth(samples, found.header.classes), results)
    assert (coco.map50_95, coco.map50, coco.map75) == (document.map50_95, document.map50, document.map75)


def test_equal_predictions_are_equal_bytes(run: Run) -> None:
    first, again = run.evaluated(), run.evaluated()
    assert first.predictions == again.predictions
    run.ship(scale=0.99)
    assert run.evaluated().predictions.sha256 != first.predictions.sha256


def test_a_copy_that_is_gone_is_fetched_from_the_store(run: Run) -> None:
    document = run.evaluated()
    local = run.evaluate / "predictions.npz"
    local.unlink()
    found = predictions.load(document, run.evaluate)
    assert found
    assert len(found) == 4
    assert not local.exists()
    place = run.folder / "store" / stored_under(run, document)
    place.write_bytes(b"x" * place.stat().st_size)
    with pytest.raises(
        StageInputError, match=rf"copy at {place.as_uri()} was damaged, and there is none at {local}. Evaluate"
    ):
        predictions.load(document, run.evaluate)
    place.unlink(missing_ok=True)
    with pytest.raises(StageInputError, match=f"are neither at {local} nor at {document.predictions.uri}. Evaluate"):
        predictions.load(document, run.evaluate)
    run.evaluated()
    assert sha256_file(place) == sha256_file(local) == document.predictions.sha256


def test_the_file_goes_to_the_bucket_that_the_snapshot_is_in(s3: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, SCENES, f"s3://{s3}/lab")
    document = run.evaluated()
    key = stored_under(run, document)
    assert document.predictions.uri == f"s3://{s3}/lab/{key}"
    local = (run.evaluate / "predictions.npz").read_bytes()
    assert open_store(f"s3://{s3}/lab").get_bytes(key) == local
    (run.evaluate / "predictions.npz").unlink()
    assert predictions.load(read(EvaluateDocument, run.evaluate), run.evaluate)


def test_an_evaluation_of_before_has_none(run: Run) -> None:
    document = run.evaluated().model_copy(update={"predictions": None})
    assert predictions.load(document, run.evaluate) is None


def test_bytes_other_than_those_of_the_evaluation_are_refused(run: Run) -> None:
    document = run.evaluated()
    local = run.evaluate / "predictions.npz"
    with local.open("ab") as file:
        file.write(b"x")
    found = predictions.load(document, run.evaluate)  # the store's copy
    assert found
    assert len(found) == 4
    shutil.rmtree(run.folder / "store" / "predictions")
    with pytest.raises(
        StageInputError, match=f"{local} was changed or damaged: .* there is no copy at file.* Evaluate"
    ):
        predictions.load(document, run.evaluate)


def arrays_of(run: Run) -> dict[str, Any]:
    run.evaluated()
    with np.load(run.evaluate / "predictions.npz") as archive:
        return dict(archive)


def read_back(run: Run, data: bytes) -> Predictions:
    """Read bytes that the evaluation is said to have written."""
    path = run.evaluate / "predictions.npz"
    path.write_bytes(data)
    return predictions.read(path, sha256_file(path))


def at(index: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("column", "change", "problem"),
    [
        ("detection_boxes", lambda a: a.astype(np.float64), "detection_boxes: got float64 (7, 4), expected float32"),
        ("detection_boxes", lambda a: a[:, :3], "detection_boxes: got float32 (7, 3), expected float32 (7, 4)"),
        ("detection_boxes", at((2, 1), np.nan), "detection_boxes: expected finite numbers"),
        ("detection_boxes", at((0, 2), -1), "x2 not below x1"),
        ("detection_scores", at(0, np.nan), "detection_scores: expected numbers above 0.001, up to 1"),
        ("detection_scores", at(3, 0.0005), "detection_scores: expected numbers above 0.001, up to 1"),
        ("detection_scores", at(3, 0.95), "detection_scores: expected falling ones within an image"),
        ("detection_classes", at(0, 2), "detection_classes: expected 0 to 1"),
        ("detection_classes", at(0, 1), "detection_matches: expected labelled boxes of the detection's own class"),
        ("detection_matches", at(0, 2), "detection_matches: expected -1, or a labelled box of the same image"),
        ("detection_matches", at(6, 0), "detection_matches: expected -1, or a labelled box of the same image"),
        ("detection_matches", at(1, 0), "detection_matches: expected each labelled box once"),
        ("detection_matches", lambda a: a[1:], "detection_matches: got int32 (6,), expected int32 (7,)"),
        ("detection_offsets", at(1, 9), "detection_offsets: expected numbers that rise from 0 to 7"),
        ("label_offsets", at(-1, 3), "label_offsets: expected numbers that rise from 0 to 4"),
        ("label_boxes", at((0, 0), np.inf), "label_boxes: expected finite numbers"),
        ("image_widths", at(0, 0), "image_widths, image_heights: expected 1 or more"),
        ("image_sources", lambda a: a.astype(object), "allow_pickle"),
        ("image_sources", lambda a: a.astype("S"), "image_sources: got bytes"),
        ("header", lambda a: np.array("{}"), "header.onnx_sha256: got {}; Field required"),
        ("header", lambda a: np.array(str(a).replace(':1,"onnx', ':2,"onnx')), "header.schema_version: got 2"),
    ],
)
def test_a_column_that_is_not_what_it_should_be_is_named(
    run: Run, column: str, change: Callable[[np.ndarray], np.ndarray], problem: str
) -> None:
    arrays = arrays_of(run)
    arrays[column] = change(arrays[column])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with pytest.raises(StageInputError) as raised:
        read_back(run, buffer.getvalue())
    assert problem in str(raised.value)
    assert "Evaluate again." in str(raised.value)


def test_a_file_that_is_cut_short_or_none_is_refused(run: Run) -> None:
    run.evaluated()
    data = (run.evaluate / "predictions.npz").read_bytes()
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    broken = bytearray(data)
    broken[len(data) // 3] ^= 255
    for wrong in (data[: len(data) // 2], b"", b"PK\x03\x04", single.getvalue(), bytes(broken)):
        with pytest.raises(StageInputError, match="holds no predictions of this version"):
            read_back(run, wrong)
    arrays = arrays_of(run)
    del arrays["image_sha256s"]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with pytest.raises(StageInputError, match=r"got the columns .*, expected .*image_sha256s"):
        read_back(run, buffer.getvalue())


def test_the_columns_are_those_that_the_class_and_its_description_have() -> None:
    names = [field.name for field in dataclasses.fields(Predictions)]
    assert names == ["header", *COLUMNS]
    described = [
        line.split()[0] for line in (predictions.columns.__doc__ or "").splitlines() if line.startswith("    ")
    ]
    assert described == names


def test_a_split_without_a_detection_or_an_object_is_stored(private: None, tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a.png": Scene(), "b.png": Scene({3: 1})})
    found = predictions.load(run.evaluated(), run.evaluate)
    assert found
    assert found.detection_boxes.shape == (0, 4)
    assert found.errors(CONFIDENCE).missed.tolist() == [0, 1]
    shutil.rmtree(run.evaluate)
    run = run_of(tmp_path / "none", {"a.png": Scene()})
    found = predictions.load(run.evaluated(), run.evaluate)
    assert found
    assert found.label_boxes.shape == (0, 4)
