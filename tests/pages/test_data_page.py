"""The data page is one file that loads nothing, and stays readable and small whatever was found."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.documents import SPLITS, Example, SplitCounts
from sightline.pages.data_page import Outline, Picture, render
from sightline.rules import RULES
from tests.helpers.data_report import BOX, document, draw, finding
from tests.helpers.page import Page


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[str], Picture | None]:
    """The one image there is, with two boxes."""
    path = draw(tmp_path / "a.jpg")
    boxes = [Outline("red", BOX), Outline("white", (0.1, 0.1, 0.2, 0.2))]
    return lambda name: Picture(str(path), boxes) if name == "a.jpg" else None


def nothing(_: str) -> Picture | None:
    return None


def test_every_rule_is_shown_with_its_advice_and_nothing_is_loaded(pictures: Callable[[str], Picture | None]) -> None:
    names = [f"class {number}" for number in range(80)]
    html = render(document(*(finding(rule, 50_000) for rule in RULES), classes=names), pictures)
    page = Page(html)
    assert {attrs["id"] for tag, attrs in page.tags if tag == "article"} == set(RULES)
    assert set(page.values("a", "href")) == {f"#{rule}" for rule in RULES} | {"#classes"}
    for rule in RULES.values():
        assert rule.why in page.text
        assert rule.fix in page.text
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.values("img", "src"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|url\(|@import|\bsrc=.(?!data:)", html.replace("default-src", ""))
    assert "default-src 'none'" in html


def test_the_verdict_comes_first_with_rules_limits_and_counts() -> None:
    leaked = finding("leaked-image", 12, of=874)
    budget = finding("zero-area-box", 40, of=2000, max_fraction=0.01, max_count=15)
    warning = finding("tiny-box", 7)
    page = Page(render(document(leaked, budget, warning, dropped_images=3, dropped_boxes=1), nothing))
    start = page.text[: page.text.index("What passed")]
    assert "Rejected 2 rules reject this data." in start
    assert "leaked-image: 12 found (1.4 % of images), none allowed" in start
    assert "zero-area-box: 40 found (2.0 % of boxes), at most 15 and 1 % of boxes allowed" in start
    assert "tiny-box" not in start
    for words in ("Images 90", "Boxes 180", "Errors 52", "Warnings 7", "Left out 3 images 1 box"):
        assert words in start


def test_rules_that_refuse_the_data_are_listed_first() -> None:
    tolerated = finding("zero-area-box", 900, rejected=False, max_fraction=0.9)
    page = Page(render(document(tolerated, finding("leaked-image", 1)), nothing))
    assert [attrs["id"] for tag, attrs in page.tags if tag == "article"] == ["leaked-image", "zero-area-box"]


def test_a_set_without_findings_passes_in_few_words() -> None:
    page = Page(render(document(), nothing))
    assert "Accepted No rule found anything." in page.text
    assert "Every split looks like train." in page.text
    assert not page.values("img", "src")


def test_one_warning_is_counted_in_the_singular(pictures: Callable[[str], Picture | None]) -> None:
    page = Page(render(document(finding("tiny-box", 1), classes=["cell"]), pictures))
    assert "No rule rejects this data; 1 warning to look at." in page.text
    assert "1 rule found something." in page.text
    assert "1 time: a box of a pixel or two" in page.text
    assert "more, in problems.csv" not in page.text
    assert "appear together" not in page.text  # one class has no company
    assert len(page.values("img", "src")) == 1


def test_fifty_thousand_findings_take_eight_pictures_and_a_count(pictures: Callable[[str], Picture | None]) -> None:
    page = Page(render(document(finding("tiny-box", 50_000), finding("orphan-label", 50_000)), pictures))
    assert len(page.values("img", "src")) == 8
    assert "and 49,992 more, in problems.csv" in page.text
    assert "and 49,990 more, in problems.csv" in page.text


def test_findings_whose_image_is_gone_are_written_out() -> None:
    page = Page(render(document(finding("leaked-image", 2)), nothing))
    assert "labels/leaked-image.txt:1 was found by leaked-image" in page.text
    assert not page.values("img", "src")


def test_a_page_of_every_rule_stays_below_five_megabytes_on_the_noisiest_images(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (432, 576, 3), np.uint8)).save(path)
    names = [f"a class with quite a long name, number {number}" for number in range(80)]
    html = render(
        document(*(finding(rule, 1000) for rule in RULES), classes=names),
        lambda _: Picture(str(path), [Outline(names[0], BOX)] * 400),
    )
    assert len(Page(html).values("img", "src")) > 100
    assert len(html.encode()) < 5_000_000


def test_many_classes_are_cut_to_the_commonest_and_a_sum() -> None:
    page = Page(render(document(classes=[f"class-{number:03}" for number in range(200)], images=150), nothing))
    assert "160 rarer classes" in page.text
    assert len({word for word in page.text.split() if word.startswith("class-")}) == 40
    assert sum(1 for tag, attrs in page.tags if tag == "table" and "pairs" in (attrs.get("class") or "")) == 1


def test_shares_of_classes_are_those_of_the_split() -> None:
    page = Page(render(document(classes=["red", "white"]), nothing))
    assert "red 50 % 50 % 50 % white 50 % 50 % 50 %" in page.text


def test_names_with_markup_are_shown_as_text(pictures: Callable[[str], Picture | None]) -> None:
    hostile = "<script>alert('x')</script>\"><b>&"
    found = finding("tiny-box", 1)
    found = found.model_copy(
        update={"examples": [Example(where=hostile, message=hostile, image="a.jpg", box=BOX)], "handling": hostile}
    )
    path = pictures("a.jpg")
    assert path is not None
    html = render(
        document(found, classes=[hostile, "'quoted'"], source=hostile),
        lambda _: Picture(path.path, [Outline(hostile, BOX)]),
    )
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert('x')</script>") >= 5
    assert hostile in page.values("img", "alt")


def test_an_empty_split_and_a_refused_source_have_a_page_too() -> None:
    empty = SplitCounts(images=0, boxes=0, backgrounds=0, boxes_per_class={})
    nothing_passed = {"splits": dict.fromkeys(SPLITS, empty), "distributions": None, "split_comparisons": []}
    page = Page(render(document(finding("unreadable-image"), **nothing_passed), nothing))
    assert "There is nothing to compare" in page.text
    page = Page(render(document(classes=[], images=0, splits={}, distributions=None, split_comparisons=[]), nothing))
    assert "What passed 0 classes." in page.text


def test_a_split_that_differs_is_said_first() -> None:
    base = document()
    *others, last = base.split_comparisons
    differing = last.model_copy(update={"differs": True, "distance": 0.5, "sentence": "test is <other>"})
    page = Page(render(base.model_copy(update={"split_comparisons": [*others, differing]}), nothing))
    rows = page.text[page.text.index("By chance") :]
    assert rows.index("Test is <other>") < rows.index("alike")
    assert "test differs from train in positions." in page.text.lower()


def test_names_that_the_font_lacks_are_left_to_the_caption(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg")
    boxes = [Outline("血小板", BOX)]
    found = finding("tiny-box", 1)
    page = Page(render(document(found), lambda _: Picture(str(path), boxes)))
    assert "血小板" in page.text
