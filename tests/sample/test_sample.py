"""The gallery: images that say something, pictures of one's own, and no detection that evaluate did not score."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightline import predictions, sample
from sightline.config import SampleConfig
from sightline.config.presets import quickstart as quickstart_config
from sightline.documents import EvaluateDocument, SampleDocument, read
from sightline.errors import ConfigError, DataError, SampleError, StageInputError
from sightline.predictions import Header, Predictions
from sightline.storage import open_store
from sightline.validate import preflight
from tests.helpers import documents
from tests.helpers.cells import Run, Scene, right, run_of
from tests.helpers.finished_run import Finished

EMPTY = Scene()
# Two objects missed, one missed, three false alarms, one in an empty image, and ordinary ones.
SCENES = {
    "a-right.png": right(0, 1, 2),
    "b-two-missed.png": Scene({0: 0, 1: 0, 2: 0}, {0: (0, 0.9), 1: (0, 0.3)}),
    "c-one-missed.png": Scene({0: 0, 1: 0}, {0: (0, 0.9)}),
    "d-false.png": Scene({0: 0}, {0: (0, 0.9), 5: (0, 0.8), 6: (1, 0.7), 7: (1, 0.6), 8: (1, 0.4)}),
    "e-right.png": right(3, 4),
    "f-empty-false.png": Scene({}, {9: (0, 0.7)}),
    "g-empty.png": EMPTY,
    "h-right.png": right(5, 6, 7, 8),
    "i-right.png": right(9),
}


@pytest.fixture
def run(private: None, tmp_path: Path) -> Run:
    run = run_of(tmp_path, SCENES)
    run.evaluated()
    return run


def gallery(run: Run, evaluate: Path | None = None, **config: object) -> SampleDocument:
    return sample.run(
        export=run.export,
        evaluate=evaluate or run.evaluate,
        snapshot=run.snapshot,
        config=SampleConfig.model_validate(config),
        out=run.folder / "sample",
    )


def chosen(document: SampleDocument) -> list[tuple[str, str]]:
    return [(one.chosen, one.image.removeprefix("test/").removesuffix(".png")) for one in document.samples]


def write_predictions(run: Run, changed: Predictions) -> None:
    """Let the evaluation have written other predictions."""
    document = read(EvaluateDocument, run.evaluate)
    reference = predictions.write(changed, run.evaluate, open_store(str(run.folder / "store")))
    document.model_copy(update={"predictions": reference}).write(run.evaluate)


def changed(run: Run, **columns: Any) -> None:
    before = predictions.load(read(EvaluateDocument, run.evaluate), run.evaluate)
    assert before
    values = {name: getattr(before, name) for name in ("header", *predictions.COLUMNS)}
    write_predictions(run, Predictions(**{**values, **columns}))


def column(run: Run, name: str) -> np.ndarray:
    found = predictions.load(read(EvaluateDocument, run.evaluate), run.evaluate)
    return np.asarray(getattr(found, name)).copy()


def header_of(run: Run, **values: Any) -> Header:
    found = predictions.load(read(EvaluateDocument, run.evaluate), run.evaluate)
    assert found
    return Header.model_validate({**found.header.model_dump(), **values})


# --- which images


def test_images_say_why_they_are_shown(run: Run) -> None:
    document = gallery(run, count=6)
    shown = chosen(document)
    assert shown[:2] == [("miss", "b-two-missed"), ("miss", "c-one-missed")]
    assert shown[2:4] == [("false alarm", "d-false"), ("false alarm", "f-empty-false")]
    assert shown[4][0] == "typical"
    assert shown[4][1].endswith("-right")
    assert shown[5] == ("empty", "g-empty")
    assert chosen(gallery(run, count=6)) == shown
    counts = [(one.labelled, one.found, one.matched, one.missed, one.false) for one in document.samples]
    assert counts[0] == (3, 1, 1, 2, 0)
    assert counts[2] == (1, 4, 1, 0, 3)
    assert counts[5] == (0, 0, 0, 0, 0)
    assert [one.finding for one in document.samples][-1] == "No findings"
    assert document.agreement
    assert (document.agreement.images, document.agreement.matched) == (6, sum(found for _, found, *_ in counts))
    assert document.agreement.predictions_sha256 == read(EvaluateDocument, run.evaluate).predictions.sha256
    for one in document.samples:
        assert cv2.imread(str(run.folder / "sample" / one.file)).shape == (512, 512, 3)


def test_kinds_that_are_used_up_leave_their_places_to_others(run: Run) -> None:
    kinds = Counter(kind for kind, _ in chosen(gallery(run, count=9)))
    assert kinds == {"miss": 2, "false alarm": 2, "typical": 4, "empty": 1}
    assert len(gallery(run, count=50).samples) == 9
    assert chosen(gallery(run, count=1)) == [("miss", "b-two-missed")]
    assert len(list((run.folder / "sample").glob("*.jpg"))) == 1


def test_without_predictions_images_are_spread_evenly(run: Run) -> None:
    old = read(EvaluateDocument, run.evaluate).model_copy(update={"predictions": None})
    old.write(run.folder / "old")
    for evaluate in (run.folder / "old", None):
        document = sample.run(
            export=run.export,
            evaluate=evaluate,
            snapshot=run.snapshot,
            config=SampleConfig(count=3),
            out=run.folder / "sample",
        )
        assert chosen(document) == [("even", "a-right"), ("even", "i-right"), ("even", "f-empty-false")]
        assert document.agreement is None


def test_documents_of_before_these_fields_can_be_read(run: Run) -> None:
    gallery(run)
    path = run.folder / "sample" / "sample.json"
    values = json.loads(path.read_text())
    del values["agreement"], values["pictures"]
    for one in values["samples"]:
        del one["chosen"]
    path.write_text(json.dumps(values))
    assert {one.chosen for one in read(SampleDocument, path.parent).samples} == {"even"}


def test_evaluation_of_another_file_is_refused(run: Run) -> None:
    run.ship(scale=0.9)
    with pytest.raises(StageInputError, match=r"scored a file of sha256 .* was exported. Evaluate again\."):
        gallery(run)
    run.evaluated()
    assert gallery(run).agreement


def test_predictions_of_other_images_are_refused(run: Run) -> None:
    names = column(run, "image_sha256s")
    changed(run, image_sha256s=names[::-1])
    with pytest.raises(StageInputError, match=r"a-right\.png: other sha256 than in the snapshot"):
        gallery(run)


# --- agreement


def test_a_file_that_finds_its_boxes_elsewhere_fails(run: Run) -> None:
    """The evaluation says that it scored this file, and a runtime that shifts boxes ran it."""
    run.ship(shift=2.0)
    sha256 = hashlib.sha256((run.export / "model.onnx").read_bytes()).hexdigest()
    changed(run, header=header_of(run, onnx_sha256=sha256))
    document = read(EvaluateDocument, run.evaluate)
    document.model_copy(update={"onnx_sha256": sha256}).write(run.evaluate)
    with pytest.raises(SampleError) as raised:
        gallery(run, count=9)
    assert raised.value.exit_code == 1
    assert "8 of 9 images differ above confidence 0.5" in raised.value.message
    assert "run here by CPUExecutionProvider, does not find what evaluate, by CPU" in raised.value.message
    first = next(problem for problem in raised.value.problems if "i-right" in problem)
    assert first.startswith(
        "test/i-right.png: boxes of evaluate not found here: 1, boxes found here and not by evaluate: 1."
    )
    assert "red 0.902 at (16.0, 32.0, 32.0, 48.0) (evaluate): nearest to it is red 0.902 at (18.0, 34.0" in first
    assert "IoU 0.62, up to 2.0 pixels off, score off by 0." in first
    assert not (run.folder / "sample").exists()


def test_a_box_that_evaluate_did_not_write_down_fails(run: Run) -> None:
    """Its file is whole and has its sha256, but a detection of one image has another class, and one a lower score."""
    classes, matches = column(run, "detection_classes"), column(run, "detection_matches")
    classes[0], matches[0] = 1, -1
    changed(run, detection_classes=classes, detection_matches=matches)
    with pytest.raises(SampleError, match="1 of 9 images") as raised:
        gallery(run)
    (problem,) = raised.value.problems
    assert problem.startswith(
        "test/a-right.png: boxes of evaluate not found here: 1, boxes found here and not by evaluate: 1."
    )
    assert "nothing of its class overlaps it" in problem


def test_roundings_of_other_hardware_are_no_disagreement(run: Run) -> None:
    boxes, scores = column(run, "detection_boxes"), column(run, "detection_scores")
    changed(run, detection_boxes=boxes + np.float32(0.04), detection_scores=scores * np.float32(0.995))
    assert gallery(run).agreement
    changed(run, detection_boxes=boxes, detection_scores=scores * np.float32(0.97))
    with pytest.raises(SampleError, match=r"score off by 0\.02"):
        gallery(run)


def test_the_command_names_the_disagreement_and_exits_1(run: Run, command: Callable) -> None:
    folder = run.folder / "runs" / "mine"
    for stage in ("export", "evaluate"):
        (folder / stage).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / stage).rename(folder / stage)
    document = documents.validate(quickstart_config())
    document.model_copy(update={"snapshot": run.snapshot}).write(folder / "validate")
    done = command("sample", "--run", "runs/mine", "--json", cwd=run.folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agreement"]["images"] == 9
    moved = Run(folder, run.snapshot)
    changed(moved, detection_boxes=column(moved, "detection_boxes") + np.float32(2))
    done = command("sample", "--run", "runs/mine", cwd=run.folder)
    assert done.returncode == 1
    assert "Evaluate again on this machine" in done.stderr
    assert "test/d-false.png: boxes of evaluate not found here: 4" in done.stderr
    assert "Traceback" not in done.stderr
    header = header_of(moved, onnx_sha256="0" * 64, confidence=1.0)
    changed(moved, header=header)
    done = command("sample", "--run", "runs/mine", cwd=run.folder)
    assert done.returncode == 2
    assert f"onnx_sha256: got {'0' * 64}, expected " in done.stderr
    assert "confidence: got 1.0, expected 0.5" in done.stderr


# --- a user's own pictures


@pytest.fixture
def photos(run: Run) -> Path:
    folder = run.folder / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "one.png").write_bytes(right(0, 5).picture())
    (folder / "more" / "two.png").write_bytes(EMPTY.picture())
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("x")
    return folder


def test_own_pictures_get_findings_and_no_counts(run: Run, photos: Path) -> None:
    document = gallery(run, count=2, pictures=str(photos))
    own = [one for one in document.samples if one.chosen == "given"]
    assert [(one.image, one.finding, one.found) for one in own] == [
        ("more/two.png", "No findings", 0),
        ("one.png", "2 red", 2),
    ]
    for one in own:
        assert (one.labelled, one.matched, one.missed, one.false) == (None, None, None, None)
        assert cv2.imread(str(run.folder / "sample" / one.file)) is not None
    assert [one.file for one in document.samples] == ["000.jpg", "001.jpg", "002.jpg", "003.jpg"]
    assert document.pictures
    assert (document.pictures.place, document.pictures.found) == (str(photos), 3)
    (unread,) = document.pictures.unread
    assert (unread.image, unread.reason) == ("broken.jpg", "broken.jpg is not an image that OpenCV can read.")


def test_an_archive_and_a_bucket_of_pictures_are_read_too(run: Run, photos: Path, s3: str) -> None:
    with zipfile.ZipFile(run.folder / "photos.zip", "w") as archive:
        for path in photos.rglob("*.png"):
            archive.write(path, path.relative_to(photos))
    store = open_store(f"s3://{s3}/in/photos")
    for path in sorted(photos.rglob("*.*")):
        store.put_bytes(str(path.relative_to(photos)), path.read_bytes())
    open_store(f"s3://{s3}/in").put_bytes("all.zip", (run.folder / "photos.zip").read_bytes())
    for place, found in (
        (f"file://{run.folder}/photos.zip", 2),
        (f"s3://{s3}/in/photos", 3),
        (f"s3://{s3}/in/all.zip", 2),
    ):
        document = gallery(run, count=1, pictures=place)
        assert [one.image for one in document.samples[1:]] == ["more/two.png", "one.png"]
        assert document.pictures
        assert document.pictures.found == found


def test_of_many_pictures_some_are_shown_evenly_spread(run: Run, photos: Path) -> None:
    for index in range(20):
        (photos / f"p{index:02}.png").write_bytes(right(index % 16).picture())
    document = gallery(run, count=1, pictures=str(photos), max_pictures=3)
    assert document.pictures
    assert document.pictures.found == 23
    assert [one.image for one in document.samples[1:]] == ["p08.png", "p19.png"]
    assert [one.image for one in document.pictures.unread] == ["broken.jpg"]


def test_pictures_none_of_which_can_be_read_are_refused(run: Run, photos: Path) -> None:
    gallery(run, count=9)
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"sample\.pictures: none of the 3 images taken of 3 in .* can") as raised:
        gallery(run, pictures=str(photos))
    assert len(raised.value.problems) == 3
    assert not (run.folder / "sample" / "sample.json").exists()  # it would name drawings that are gone


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("phtos", "sample.pictures: phtos does not exist; did you mean 'photos'?"),
        ("none", "sample.pictures: none holds no image (.jpg, .jpeg, .png"),
        (
            "photos/one.png",
            "sample.pictures: photos/one.png is an image; expected a folder or an archive of",
        ),
        ("photos/notes.txt", "sample.pictures: photos/notes.txt is no folder and no archive; expected a folder or an"),
        ("x.rar", "sample.pictures: x.rar does not exist"),
        ("http://host/x", "sample.pictures: http://host/x: got http://, expected a folder or an archive of images, or"),
        ("file:///nope", "sample.pictures: file:///nope does not exist."),
        ("none.zip", "sample.pictures: none.zip is not a readable archive; expected a folder, or a .zip"),
        ("up.zip", "sample.pictures: up.zip: member '../../evil.jpg' points outside the archive"),
        ("notes.zip", "sample.pictures: notes.zip holds no image (.jpg, .jpeg, .png"),
        ("broken.tgz", "sample.pictures: none of the 2 images taken of 2 in broken.tgz can be read:"),
        ("broken", "sample.pictures: none of the 3 images taken of 3 in broken can be read:"),
    ],
)
def test_a_place_without_pictures_is_refused_before_anything_is_done(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, place: str, problem: str
) -> None:
    monkeypatch.chdir(run.folder)
    (run.folder / "none").mkdir()
    (run.folder / "broken").mkdir()
    for index in range(3):
        (run.folder / "broken" / f"{index}.jpg").write_bytes(b"no picture")
    (run.folder / "none.zip").write_bytes(b"no archive")
    for name, member in (("up.zip", "../../evil.jpg"), ("notes.zip", "notes.txt")):
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(member, right(0).picture())
    with tarfile.open("broken.tgz", "w:gz") as packed:
        for index in range(2):
            packed.add(run.folder / "broken" / f"{index}.jpg", f"./{index}.jpg")
    wrong = preflight.mistakes("quickstart", {"sample.pictures": place}, source="quickstart", store="store")
    (found,) = wrong
    assert problem in found
    with pytest.raises(ConfigError) as raised:
        preflight.resolve("quickstart", {"sample.pictures": place, "x": 1}, source="quickstart", store="store")
    assert found in raised.value.problems
    with pytest.raises(DataError) as refused:  # the stage says the same
        gallery(run, pictures=place)
    assert str(refused.value) == found or place in ("none", "notes.zip")


def test_one_picture_that_can_be_read_is_enough(run: Run, photos: Path) -> None:
    with tarfile.open(run.folder / "photos.tar", "w") as packed:
        packed.add(photos, ".")
    for place in (photos, run.folder / "photos.tar"):
        values = {"sample.pictures": str(place)}
        assert preflight.mistakes("quickstart", values, source="quickstart", store="store") == []
    values["sample.max_pictures"] = 1  # then the first by name is taken, which is none
    (found,) = preflight.mistakes("quickstart", values, source="quickstart", store="store")
    assert "none of the 1 images taken of 3" in found


def test_an_empty_prefix_of_a_bucket_is_refused_at_once(run: Run, s3: str) -> None:
    for place, problem in (
        (f"s3://{s3}/nothing", f"sample.pictures: s3://{s3}/nothing holds no image"),
        (f"s3://{s3}/no.zip", f"sample.pictures: s3://{s3}/no.zip does not exist"),
    ):
        (found,) = preflight.mistakes("quickstart", {"sample.pictures": place}, source="quickstart", store="store")
        assert problem in found


# --- a whole run


def test_the_quickstart_shows_each_kind_and_agrees(quickstart: Finished) -> None:
    document = read(SampleDocument, quickstart.folder / "sample")
    evaluated = read(EvaluateDocument, quickstart.folder / "evaluate")
    found = predictions.load(evaluated, quickstart.folder / "evaluate")
    assert found
    assert document.agreement
    assert document.agreement.images == len(document.samples) == 12
    assert document.agreement.matched == sum(one.found for one in document.samples) > 30
    errors = found.errors(evaluated.confidence)
    most = {"miss": errors.missed.max(), "false alarm": errors.false.max()}
    for kind, field in (("miss", "missed"), ("false alarm", "false")):
        counts = [getattr(one, field) for one in document.samples if one.chosen == kind]
        assert not counts or max(counts) == most[kind]
    assert {"typical", "empty"} <= {one.chosen for one in document.samples}
    for one in document.samples:
        assert cv2.imread(str(quickstart.folder / "sample" / one.file)).shape[0] >= 400
        assert one.labelled == one.matched + one.missed
        assert one.found == one.matched + one.false
