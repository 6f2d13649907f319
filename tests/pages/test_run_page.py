"""The page is one file that loads nothing, and it says what happened, whatever happened."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sightline.config import GateConfig
from sightline.documents import (
    DataDocument,
    ErrorReport,
    EvaluateDocument,
    ExportDocument,
    RegisterDocument,
    SplitCounts,
    StageOutcome,
    TrainDocument,
    Unchanged,
    ValidateDocument,
    read,
)
from sightline.pages.formatting import duration, size
from sightline.pages.run_page import render
from sightline.pages.svg import Chart, Line, round_up, ticks
from sightline.policy import Policy
from sightline.summary import summarise
from sightline.tracking.address import Place
from tests.helpers.documents import train, write_run
from tests.helpers.page import Page
from tests.helpers.run_page import STARTED, page


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_run(tmp_path_factory.mktemp("run"))


def test_it_holds_the_facts_to_decide_from(folders: dict[str, Path]) -> None:
    text = Page(page(folders, mlflow=Place("http://127.0.0.1:5000", "smears", "9f0c2b"))).text
    for fact in (
        "Accepted Registration follows.",
        "map50 is 0.826, at least 0.8 was asked for",
        "mAP 50–95 0.595",
        "Precision 0.801",
        "90 images and 267 boxes of the test split",
        "operating point 0.312",
        "gametocyte 0 no samples",
        "small, under 32² medium, under 96² large 0.441 0.628 no samples",
        "On 6 images without labelled objects, the model made 3 detections: 0.50 false positives per image.",
        "No findings",
        "15 labelled, 13 matched · 2 missed",
        "Images 410 88 90",
        "Splits: 70/15/15 by hash of the image bytes, duplicates kept together.",
        "1 error, 26 warnings",
        "error zero-area-box 1 dropped the box annotations.json: annotations[8812]: 'platelet' box",
        "warning clipped-box 26 clipped labels/train/smear_0000.txt:1",
        "Left out of training, with their reasons: 0 images, 1 box.",
        "412 detections agree and 0 differ",
        "yolo11n.pt (licence: AGPL-3.0)",
        "9f0c2b in smears at http://127.0.0.1:5000",
        "Training needed 2 attempts",
        "NVIDIA H100",
        "needed memory 2.0 GB of 100.0 GB free, shared memory 640.0 MB of 8.0 GB free, disk 230.0 MB of 900.0 GB free, "
        "all-reduce over 2 processes 181.2 GB/s, in 1.4 s",
        "Sizes Tier large chose image size 960, and you chose model yolo11n.yaml.",
        "Sizes in training NVIDIA H100, tier large: 64 images a pass, 64 a step of the optimizer (the largest that "
        "fits: 62.0 GB of 71.4 GB, 85 % of 84.0 GB free on NVIDIA H100); 8 loaders for each process (16 cores for 2 "
        "processes)",
        "Measured before it in each process, with 640 pixels and 480 boxes: 16 images 31.0 GB, 32 images 62.0 GB",
        "train.epochs 20",
        "15 min 22 s",
        read(EvaluateDocument, folders["evaluate"]).onnx_sha256,
    ):
        assert fact in text
    assert "None" not in text


def test_it_loads_nothing_from_anywhere(folders: dict[str, Path]) -> None:
    html = page(folders)
    parsed = Page(html)
    sources = [
        value
        for _, attributes in parsed.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data") and value
    ]
    assert len(sources) == 8  # six of the gallery, two sheets of training
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?://", html)
    assert {"script", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in parsed.tags)


def test_the_pictures_of_the_training_are_shown_as_far_as_they_are_there(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    words = ("What training saw", "train/sheets/train.jpg", "Labels and predictions on val", "train/sheets/val.jpg")
    assert all(word in Page(page(folders)).text for word in words)
    (folders["train"] / "sheets" / "train.jpg").unlink()
    assert [word in Page(page(folders)).text for word in words] == [False, False, True, True]


def test_class_names_and_messages_are_text_and_never_markup(folders: dict[str, Path]) -> None:
    error = ErrorReport(stage="report", kind="tracking", message="<img src=x onerror=alert(2)>", exit_code=1)
    for html in (page(folders), page(folders, error)):
        assert "<script" not in html
        assert "trophozoite &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;img src=x onerror=alert(2)&gt;" in html


def test_a_rejected_model_is_named_so_first(tmp_path: Path) -> None:
    text = Page(page(write_run(tmp_path, verdict="rejected"))).text
    assert "Rejected The score gate turned this model down; it was not registered. map50 is 0.826, at least 0.9" in text


def test_an_unchanged_run_names_the_one_that_stands_and_one_that_trained_says_why(tmp_path: Path) -> None:
    folders = write_run(tmp_path, stages=["validate"])
    stands = Unchanged(run_id="r0", name="night", status="registered", version="3", why="All is the same.")
    rewrite(folders, ValidateDocument, unchanged=stands)
    html = page(folders)
    assert '<div class="verdict plain">' in html
    line = "Unchanged Nothing was trained: run night (r0), registered as version 3, still stands. All is the same."
    assert line in Page(html).text
    assert "Images 410 88 90" in Page(html).text
    rewrite(folders, ValidateDocument, unchanged=None, trains_because="This run trains: the data changed.")
    assert "Why it trained This run trains: the data changed." in Page(page(folders)).text


def register(folder: Path) -> dict[str, Path]:
    """Leave a model version in a folder."""
    RegisterDocument(
        model_name="smear",
        version="3",
        aliases=["candidate"],
        tracking_uri="http://127.0.0.1:5000",
        run_id="9f",
        onnx_sha256="0" * 64,
        seconds=4.2,
    ).write(folder)
    return {"register": folder}


def rewrite(folders: dict[str, Path], kind: type, **values: object) -> None:
    """Change a document that a stage left."""
    folder = folders[kind.file_name().removesuffix(".json")]
    kind.model_validate({**read(kind, folder).model_dump(), **values}).write(folder)


def test_a_verdict_without_a_minimum_says_so_and_is_not_green(tmp_path: Path) -> None:
    """A model of precision 0.35 that nothing was asked of is no good news."""
    folders = write_run(tmp_path / "run")
    for word, more in (("Registered smear", register(tmp_path / "register")), ("Accepted Registration", {})):
        html = page({**folders, **more})
        assert '<div class="verdict good">' in html
        assert "No minimum was set" not in html
        rewrite(folders, EvaluateDocument, gate=GateConfig(), reasons=["no minimum was configured"])
        html = page({**folders, **more})
        assert '<div class="verdict plain">' in html
        header = Page(html).text.partition("mAP 50–95")[0]
        assert re.search(f"{word}.* No minimum was set", header)
        rewrite(folders, EvaluateDocument, gate=GateConfig(min_map50=0.0))


def test_the_curve_of_the_choice_is_the_one_that_was_chosen_on(folders: dict[str, Path], tmp_path: Path) -> None:
    html = page(folders)
    text = Page(html).text
    assert "F1 averaged over the classes is best on val (solid)" in text
    assert "mean F1, val precision, test recall, test" in text
    y = 244 - 0.861 * 218
    assert f'<circle class="dot tone3" cx="168.7" cy="{y:.1f}" r="3.5"/>' in html  # the point lies on the curve of val
    old = write_run(tmp_path)
    rewrite(old, ExportDocument, f1_curve=None)
    rewrite(old, EvaluateDocument, gate=None)
    text = Page(page(old)).text
    assert "chosen by F1 averaged over the classes on val, which this run did not keep" in text
    assert "No minimum was set" not in text


def test_an_operating_point_near_1_is_written_and_drawn_where_it_is(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    curve = {"x": [0.0, 0.99, 0.9992, 0.9996, 1.0], "y": [0.1, 0.11, 0.2, 0.4, 0.0]}
    rewrite(folders, ExportDocument, confidence=0.9996, f1_curve=curve)
    rewrite(folders, EvaluateDocument, confidence=0.9996)
    html = page(folders)
    assert "operating point 0.9996" in html
    assert "operating confidence 0.9996" in Page(html).text
    assert 'cx="346.5"' in html  # three quarters of an axis from 0.9984 to 1
    assert not any("-" in path for path in re.findall(r' d="([^"]+)"', html))  # nothing is drawn left of the axis


def test_a_model_that_found_nothing_on_val_has_no_chosen_point(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    rewrite(folders, ExportDocument, confidence=0.5, confidence_f1=0.0)
    rewrite(folders, EvaluateDocument, confidence=0.5)
    html = page(folders)
    text = Page(html).text
    assert "0.500, a default: no labelled object was found on val at any confidence" in text
    assert "No operating point could be chosen" in text
    assert "is best" not in text
    assert "operating point 0.5" not in html


def test_documents_of_before_these_fields_can_be_read(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    for stage, field in (("export", "f1_curve"), ("evaluate", "gate")):
        path = folders[stage] / f"{stage}.json"
        values = json.loads(path.read_text())
        del values[field]
        path.write_text(json.dumps(values))
    assert read(ExportDocument, folders["export"]).f1_curve is None
    assert read(EvaluateDocument, folders["evaluate"]).gate is None


def test_many_classes_are_said_in_words_for_screens_that_the_matrix_does_not_fit(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    assert "In words" not in Page(page(folders)).text
    labels = [*(f"c{index}" for index in range(8)), "background"]
    counts = [[0] * 9 for _ in range(9)]
    counts[0] = [5, 1, 0, 7, 0, 0, 0, 0, 2]
    counts[8] = [0, 3, 0, 0, 0, 0, 0, 0, 0]
    rewrite(folders, EvaluateDocument, confusion={"labels": labels, "counts": counts})
    text = Page(page(folders)).text
    assert "c0 5 found, 2 missed, 7 as c3, 1 as c1 nothing there 3 c1" in text


def test_what_auto_chose_and_what_settings_meant_is_said(folders: dict[str, Path]) -> None:
    assert "Optimizer AdamW, learning rate 0.004, momentum 0.937" in Page(page(folders)).text
    document = read(TrainDocument, folders["train"])
    rewrite(
        folders, TrainDocument, config={**document.config.model_dump(), "optimizer": "auto"}, notes=["train.rect: …"]
    )
    text = Page(page(folders)).text
    assert "Optimizer AdamW (chosen by auto), learning rate 0.004" in text
    assert "Note train.rect: …" in text


def test_a_registered_model_shows_name_version_and_alias(folders: dict[str, Path], tmp_path: Path) -> None:
    text = Page(page({**folders, **register(tmp_path)})).text
    assert "Registered smear, version 3, alias candidate." in text


def test_a_failed_run_says_where_why_and_what_is_missing(tmp_path: Path) -> None:
    folders = write_run(tmp_path, stages=["validate"])
    error = ErrorReport(stage="train", kind="train", message="Stopped at epoch 3.\n  - out of memory", exit_code=1)
    stages = [
        StageOutcome(name="validate", seconds=14.2, status="done"),
        StageOutcome(name="train", seconds=341, status="failed"),
        StageOutcome(name="export", seconds=None, status="skipped"),
    ]
    result = summarise(run_id="r1", folders=folders, started_at=STARTED, stages=stages, error=error)
    text = Page(render(result, folders)).text
    assert "Failed The run stopped in train. Stopped at epoch 3. - out of memory" in text
    assert "train 5 min 41 s failed export – skipped" in text
    assert "Without a result: train, export, evaluate, sample." in text


def test_data_that_was_refused_before_anything_was_written_has_a_page_too() -> None:
    error = ErrorReport(stage="validate", kind="data-rejected", message="2 errors: a.txt:3", exit_code=3)
    text = Page(page({}, error)).text
    assert "Rejected The data gate refused the data, so nothing was trained on it. 2 errors: a.txt:3" in text


def test_data_that_was_refused_with_a_report_is_counted_on_the_page(tmp_path: Path) -> None:
    counts = SplitCounts(images=7, boxes=9, backgrounds=0, boxes_per_class={"<b>cat</b>": 9})
    document = DataDocument(
        source="set.zip",
        format="yolo",
        policy=Policy(base="strict"),
        verdict="rejected",
        unusable=None,
        classes=["<b>cat</b>"],
        images=8,
        boxes=11,
        errors=2,
        warnings=0,
        dropped_images=1,
        dropped_boxes=0,
        splits={"train": counts},
        split_rule=None,
        findings=[],
        distributions=None,
        split_comparisons=[],
        seconds=1.5,
    )
    document.write(tmp_path / "validate")
    folders = {"validate": tmp_path / "validate"}
    error = ErrorReport(stage="validate", kind="data-rejected", message="2 errors: a.txt:3", exit_code=3)
    result = summarise(run_id="r1", folders=folders, started_at=STARTED, error=error)
    assert result.data
    assert (result.data.source, result.data.snapshot, result.data.images) == ("set.zip", None, {"train": 7})
    text = Page(render(result, folders)).text
    assert "Rejected The data gate refused the data" in text
    assert "<b>cat</b>" in text


def test_a_run_of_one_epoch_and_a_split_without_a_curve_still_draw(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    document = read(EvaluateDocument, folders["evaluate"])
    empty = {name: {"x": [], "y": []} for name in ("precision_recall", "precision", "recall", "f1")}
    nothing = {"map50": None, "map50_95": None, "precision": None, "recall": None, "f1": None, "curves": empty}
    EvaluateDocument.model_validate({**document.model_dump(), **nothing}).write(folders["evaluate"])
    train(epochs=1).write(folders["train"])
    text = Page(page(folders)).text
    assert "mAP 50–95 – mAP 50 –" in text
    assert not re.search(r"\bnan\b", text)


def test_charts_put_values_where_their_axes_say() -> None:
    chart = Chart("t", "", [Line("a", [0, 1], [0, 1])], "x", (0.0, 1.0), (0.0, 1.0), mark=0.5, mark_label="here")
    svg = chart.svg()
    assert 'd="M42.0 244.0L448.0 26.0"' in svg  # bottom left to top right of the plotting area
    assert 'cx="245.0" cy="135.0"' in svg  # the mark lies on the line, half way


def test_axes_end_and_tick_at_round_numbers() -> None:
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(1, 3, 6, whole=True) == [1, 2, 3]
    assert ticks(1, 40, 6) == [10, 20, 30, 40]
    assert [round_up(value) for value in (3.12, 0.031, 7.0, 0.0)] == [3.5, pytest.approx(0.035), 7.0, 1.0]


def test_durations_and_sizes_read_naturally() -> None:
    assert [duration(value) for value in (None, 3.14, 119.6, 7325)] == ["–", "3.1 s", "2 min 00 s", "2 h 02 min"]
    assert [size(value) for value in (145, 10_700_000, 137_400_000_000)] == ["145 bytes", "10.7 MB", "137.4 GB"]
