"""The data page is one file that loads nothing, and stays readable and small whatever was found."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.datasets.statistics import Statistics
from sightline.datasets.types import Label, Sample
from sightline.documents import SPLITS, DataDocument, Example, RuleResult, SplitCounts
from sightline.pages.data_page import Outline, Picture, render
from sightline.pages.thumbnails import HEIGHT, MOST_BYTES, STRONG, WIDTH, thumbnail
from sightline.policy import Policy
from sightline.rules import RULES

VOID = {"meta", "img", "br", "path", "rect"}
BOX = (0.25, 0.25, 0.75, 0.75)


class Page(HTMLParser):
    """Text, tags and attributes of a page; refuses tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for name, attrs in self.tags if name == tag and attribute in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def finding(rule: str, count: int = 3, **values: Any) -> RuleResult:
    """What a rule found; images and boxes as the rule has them."""
    severity = "error" if RULES[rule].severity == "error" else "warning"
    image = "a.jpg" if RULES[rule].drops else None
    box = BOX if RULES[rule].budget_unit == "boxes" else None
    examples = [
        Example(where=f"labels/{rule}.txt:{number}", message=f"was found by {rule}", image=image, box=box)
        for number in range(min(count, 20))
    ]
    standard = {"severity": severity, "count": count, "of": 1000, "max_count": None, "max_fraction": None}
    standard |= {"rejected": severity == "error", "handling": RULES[rule].handled, "examples": examples}
    return RuleResult(rule=rule, **standard | values)


def document(*findings: RuleResult, classes: list[str] | None = None, images: int = 30, **values: Any) -> DataDocument:
    """A report on a set with two boxes an image, classes in turn."""
    names = ["red", "white"] if classes is None else classes
    statistics = Statistics(names)
    boxes = {split: [0] * len(names) for split in SPLITS}
    for split in SPLITS:
        for number in range(images):
            labels: list[Label] = [((number + k) % len(names), 0.2 + 0.02 * number, 0.5, 0.1, 0.2) for k in range(2)]
            statistics.add(Sample(split, "a.jpg", "", "a.jpg", "0" * 64, 1, 640, 480, tuple(labels)))
            for label in labels:
                boxes[split][label[0]] += 1
    splits = {
        split: SplitCounts(
            images=images,
            boxes=sum(boxes[split]),
            backgrounds=0,
            boxes_per_class=dict(zip(names, boxes[split], strict=True)),
        )
        for split in SPLITS
    }
    counts = {kind: sum(item.count for item in findings if item.severity == kind) for kind in ("error", "warning")}
    standard = {
        "source": "/data/cells",
        "format": "yolo",
        "policy": Policy(),
        "verdict": "rejected" if any(item.rejected for item in findings) else "accepted",
        "unusable": None,
        "classes": names,
        "images": 3 * images,
        "boxes": 6 * images,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "dropped_images": 0,
        "dropped_boxes": 0,
        "splits": splits,
        "split_rule": None,
        "findings": list(findings),
        "distributions": statistics.distributions(),
        "split_comparisons": statistics.split_comparisons(),
        "seconds": 1.0,
    }
    return DataDocument(**standard | values)


def draw(path: Path, size: tuple[int, int] = (400, 300), colour: tuple[int, int, int] = (120, 130, 140)) -> Path:
    Image.new("RGB", size, colour).save(path, quality=95)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[str], Picture | None]:
    """The one image there is, with two boxes."""
    path = draw(tmp_path / "a.jpg")
    boxes = [Outline("red", BOX), Outline("white", (0.1, 0.1, 0.2, 0.2))]
    return lambda name: Picture(str(path), boxes) if name == "a.jpg" else None


def nothing(_: str) -> Picture | None:
    return None


def opened(uri: str | None) -> np.ndarray:
    assert uri is not None
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    """Where a picture has about this colour."""
    return np.abs(pixels - np.array(colour)).max(axis=2) < tolerance


# --- the page


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


# --- thumbnails


def test_a_box_is_framed_where_it_lies_and_others_stay_muted(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (576, 432))
    result = thumbnail(Picture(str(path), [Outline("red", BOX), Outline("white", (0.05, 0.05, 0.15, 0.15))]), BOX)
    pixels = opened(result.uri)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (result.name, result.note) == ("red", "")
    rows, columns = np.nonzero(near(pixels, STRONG))
    assert (columns.min(), columns.max()) == pytest.approx((WIDTH / 4, 3 * WIDTH / 4), abs=4)
    assert rows.max() == pytest.approx(3 * HEIGHT / 4, abs=4)
    assert rows.min() == pytest.approx(HEIGHT / 4 - 18, abs=4)  # the tag with the class sits on the box
    assert not near(pixels, STRONG)[5:35, 10:45].any()
    assert np.ptp(pixels[5:40, 10:50]) > 60  # the muted box


def test_a_small_box_is_shown_close_up(tmp_path: Path) -> None:
    image = Image.new("RGB", (2000, 1500), (120, 130, 140))
    image.paste((20, 200, 20), (1500, 300, 1510, 310))
    image.save(tmp_path / "a.png")
    box = (0.75, 0.2, 0.755, 310 / 1500)
    result = thumbnail(Picture(str(tmp_path / "a.png"), [Outline("cell", box)]), box)
    assert result.note == "zoomed"
    green = near(opened(result.uri), (20, 200, 20), 90)
    rows, columns = np.nonzero(green)
    assert green.sum() > 700  # of the 10 x 10 pixels, of which the whole picture would show two
    assert (rows.mean(), columns.mean()) == pytest.approx((HEIGHT / 2, WIDTH / 2), abs=3)
    whole = thumbnail(Picture(str(tmp_path / "a.png")), None)
    assert whole.note == ""
    assert near(opened(whole.uri), (20, 200, 20), 90).sum() < 10


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.98, 0.0), (0.0, 0.98), (0.98, 0.98)])
def test_a_small_box_in_a_corner_is_shown_without_leaving_the_image(
    tmp_path: Path, corner: tuple[float, float]
) -> None:
    path = draw(tmp_path / "a.jpg", (1000, 800))
    x, y = corner
    result = thumbnail(Picture(str(path)), (x, y, x + 0.02, y + 0.02))
    pixels = opened(result.uri)
    assert (pixels.shape, result.note) == ((HEIGHT, WIDTH, 3), "zoomed")
    assert near(pixels, STRONG).sum() > 50
    assert near(pixels, (120, 130, 140), 20).mean() > 0.8


def test_a_box_without_width_is_still_seen(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (1000, 800))
    result = thumbnail(Picture(str(path)), (0.5, 0.5, 0.5, 0.5))
    assert near(opened(result.uri), STRONG).sum() > 10


def test_a_box_outside_is_shown_beside_the_image(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (400, 300))
    pixels = opened(thumbnail(Picture(str(path)), (1.1, 0.2, 1.4, 0.8)).uri)
    columns = np.nonzero(near(pixels, STRONG))[1]
    assert columns.min() / pixels.shape[1] == pytest.approx(1.1 / 1.4, abs=0.03)
    far = thumbnail(Picture(str(path)), (200.0, 100.0, 240.0, 150.0))
    assert far.note == "the box is far outside"
    assert opened(far.uri).shape == (HEIGHT, WIDTH, 3)


def test_a_turned_photograph_is_shown_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 300), (120, 130, 140))
    image.paste((20, 20, 200), (0, 0, 400, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: the stored top is the upright right side
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    box = (0.8, 0.0, 1.0, 1.0)
    result = thumbnail(Picture(str(tmp_path / "a.jpg"), [Outline("sky", box)]), box)
    pixels = opened(result.uri)
    assert pixels.shape[0] > pixels.shape[1]
    blue = near(pixels, (20, 20, 200))
    assert blue[:, int(0.9 * blue.shape[1])].mean() > 0.8
    assert not blue[:, : int(0.7 * blue.shape[1])].any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_can_be_shown(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 60_000 if mode in ("I;16", "I", "F") else 255, 200), (100, 1))
    image = Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.int32 if mode == "I" else np.float32))
    image = (
        image if mode in ("I;16", "I", "F") else image.convert("L").convert("RGB" if mode == "P" else "L").convert(mode)
    )
    image.save(tmp_path / "a.tif")
    pixels = opened(thumbnail(Picture(str(tmp_path / "a.tif"))).uri)
    assert pixels[:, -20:].mean() - pixels[:, :20].mean() > 150


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "folder", "gone"])
def test_what_cannot_be_shown_is_a_placeholder_that_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.jpg"
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes({"empty": b"", "text": b"no image", "cut": path.read_bytes()[:5000]}[damage])
    words = "the image is not there" if damage == "gone" else "the image cannot be decoded"
    assert thumbnail(Picture(str(path)), BOX).problem == words
    page = Page(render(document(finding("unreadable-image", 1)), lambda _: Picture(str(path))))
    assert words in page.text
    assert not page.values("img", "src")


def test_bombs_are_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "large.png")
    assert thumbnail(Picture(str(tmp_path / "large.png"))).problem == "81 million pixels: too large to be shown"
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert thumbnail(Picture(str(tmp_path / "bomb.png"))).problem == "too large to be shown"


def test_a_large_photograph_is_decoded_small(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (9_000, 6_000))
    assert opened(thumbnail(Picture(str(path))).uri).shape == (WIDTH * 2 // 3, WIDTH, 3)


def test_a_thumbnail_of_noise_is_pressed_to_the_limit(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (216, 288, 3), np.uint8)).save(tmp_path / "a.png")
    uri = thumbnail(Picture(str(tmp_path / "a.png"))).uri
    assert uri is not None
    assert len(uri) < 1.4 * MOST_BYTES


def test_names_that_the_font_lacks_are_left_to_the_caption(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg")
    boxes = [Outline("血小板", BOX)]
    found = finding("tiny-box", 1)
    page = Page(render(document(found), lambda _: Picture(str(path), boxes)))
    assert "血小板" in page.text


def test_real_images_are_drawn_with_their_labels(shared: Path) -> None:
    path = shared / "data/bccd/BCCD/JPEGImages/BloodImage_00000.jpg"
    box = (0.4, 0.4, 0.6, 0.6)
    result = thumbnail(Picture(str(path), [Outline("WBC", box)]), box)
    assert result.name == "WBC"
    assert near(opened(result.uri), STRONG).sum() > 300
