"""What the page tells of the predictions: where right and wrong lie, which images are worst, and why one is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline import sample
from sightline.config import SampleConfig
from sightline.documents import EvaluateDocument, read
from sightline.pages.error_analysis import analyse
from sightline.pages.svg import Chart, Line
from tests.helpers.cells import Run, Scene, right, run_of
from tests.helpers.documents import write_run
from tests.helpers.page import Page
from tests.helpers.run_page import page

SCENES = {
    "a.png": right(0, 1, 2),
    "b-<i>two.png": Scene({0: 0, 1: 0, 2: 0}, {0: (0, 0.9), 1: (0, 0.31)}),
    "c.png": Scene({0: 0, 1: 0}, {0: (0, 0.9)}),
    "d.png": Scene({0: 0}, {0: (0, 0.9), 5: (0, 0.8), 6: (1, 0.7), 7: (1, 0.6), 8: (1, 0.2)}),
    "e.png": Scene(),
}


@pytest.fixture
def run(private: None, tmp_path: Path) -> Run:
    run = run_of(tmp_path, SCENES)
    run.evaluated()
    return run


def folders(run: Run, **config: object) -> dict[str, Path]:
    """The folders of a run whose predictions and gallery are real."""
    places = {"export": run.export, "evaluate": run.evaluate, "sample": run.folder / "sample"}
    sample.run(
        export=run.export,
        evaluate=run.evaluate,
        snapshot=run.snapshot,
        config=SampleConfig.model_validate(config),
        out=places["sample"],
    )
    return {**write_run(run.folder / "run", stages=["validate", "train"]), **places}


def section(html: str, title: str) -> str:
    """The text of one section."""
    found = re.search(rf"<section>\n<h2>{title}</h2>.*?</section>", html, re.DOTALL)
    assert found, title
    return Page(found[0]).text


def test_errors_are_counted_and_the_worst_images_named(run: Run) -> None:
    text = section(page(folders(run)), "Errors")
    for fact in (
        "Every detection above 0.001 on test; a right one claims an object of its class at IoU 0.50.",
        "operating point 0.500 right wrong",
        "At confidence 0.500 Right, reported 6 detections Wrong, reported 3, in 1 images Objects missed 3, in 2 images",
        "seen below the operating point 1 of them not seen at any score 2 of them",
        "Images without an error 2 of 5 Empty images left clean 1 of 1",
        "most misses Image Labelled Missed False test/b-<i>two.png 3 2 0 test/c.png 2 1 0 Images",
        "most false alarms Image Labelled Missed False test/d.png 1 0 3",
    ):
        assert fact in text


def test_the_histogram_holds_every_detection(run: Run) -> None:
    found = analyse(read(EvaluateDocument, run.evaluate), run.evaluate)
    assert found
    assert found.chart
    right_ones, wrong_ones = found.chart.lines
    tops = {(round(x, 3), round(10**y)) for x, y in zip(right_ones.x, right_ones.y, strict=True) if y > -0.1}
    assert tops == {(0.3, 1), (0.325, 1), (0.9, 6), (0.925, 6)}  # one below the operating point, six above
    heights = dict(zip(wrong_ones.x, wrong_ones.y, strict=True))
    assert [x for x, y in heights.items() if y > -0.1] == pytest.approx([0.2, 0.6, 0.675, 0.8])
    assert found.chart.mark == 0.5


def test_powers_are_labelled_with_what_they_stand_for() -> None:
    svg = Chart("t", "", [Line("a", [0, 1], [0, 4])], "x", (0.0, 1.0), (-0.3, 4.2), powers=True).svg()
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == ["1", "10", "100", "1,000", "10,000"]


def test_the_operating_point_is_named_above_all_lines() -> None:
    for mark in (0.0, 0.3, 0.9):
        line = Line("a", [0, 1], [1, 1])
        svg = Chart("t", "", [line], "x", (0.0, 1.0), (0.0, 1.0), mark=mark, mark_label="point").svg()
        named = float(re.findall(r'<text class="marked"[^>]* y="([^"]*)"', svg)[0])
        highest = min(float(y) for y in re.findall(r'class="line [^>]*d="M\S+ ([0-9.]+)L', svg))
        assert named + 4 < highest


def test_each_drawing_says_why_it_is_shown(run: Run) -> None:
    html = page(folders(run, count=5))
    text = section(html, "Samples")
    assert "Most missed 1 red 3 labelled, 1 matched · 2 missed test/b-<i>two.png" in text
    assert "Most false alarms 2 red, 2 green 1 labelled, 1 matched · 3 false test/d.png" in text
    assert "Typical 3 red 3 labelled, 3 matched test/a.png" in text
    assert "Nothing in it No findings Nothing labelled test/e.png" in text
    assert "ran on these 5 images once more, on CPU: it finds what evaluate found, 9 detections and no other." in text
    assert "Your pictures" not in html
    assert "<i>two" not in html


def test_own_pictures_have_a_section_of_their_own(run: Run) -> None:
    photos = run.folder / "<b>photos"
    photos.mkdir()
    for index in range(5):
        (photos / f"p{index}.png").write_bytes(right(index).picture())
    (photos / "p5.png").write_bytes(b"")
    html = page(folders(run, count=2, pictures=str(photos), max_pictures=3))
    text = section(html, "Your pictures")
    assert "<b>photos , at confidence 0.500. Nothing is labelled there" in text
    assert "Shown are some of 6 images, evenly spread by name." in text
    assert "1 red p0.png 1 red p2.png 1 picture could not be read p5.png is not an image" in text
    assert "labelled," not in text
    assert "p0.png" not in section(html, "Samples")
    assert "<b>photos" not in html
    assert "None" not in Page(html).text


def test_predictions_that_are_damaged_are_said_and_the_page_appears(run: Run) -> None:
    places = folders(run)
    for path in (run.evaluate / "predictions.npz", *(run.folder / "store" / "predictions").rglob("*.npz")):
        path.write_bytes(path.read_bytes()[:-1])
    text = section(page(places), "Errors")
    assert "The predictions of this evaluation cannot be shown." in text
    assert "was changed or damaged: its sha256 is not the one that the evaluation wrote. Evaluate again." in text


def test_a_run_of_before_predictions_has_no_such_section(run: Run) -> None:
    places = folders(run)
    read(EvaluateDocument, run.evaluate).model_copy(update={"predictions": None}).write(run.evaluate)
    assert "<h2>Errors</h2>" not in page(places)
