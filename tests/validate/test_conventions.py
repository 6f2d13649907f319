"""Coordinates of another convention are named where honest boxes cannot look so, and honest sets are left alone."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from operator import add
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.presets import resolve
from sightline.datasets.types import Box, Edges, Parsed
from sightline.errors import DataError, DataRejected
from sightline.validate.checks.convention_counts import (
    CENTRE,
    CORNERS,
    OWN,
    TOPLEFT,
    ConventionCounts,
    Format,
    count_image,
    edges,
)
from sightline.validate.checks.conventions import BoxSet, diagnose
from sightline.validate.repair.fix import fix
from tests.helpers.sets import COUNTS, HEIGHT, WIDTH, Sets, found, picture, places

Quad = tuple[float, float, float, float]
SIZE = (640, 480)
WORDS = {CENTRE: "centre and size", TOPLEFT: "upper left corner and size", CORNERS: "corners"}
EITHER = "corners (x1 y1 x2 y2, or with y first: y1 x1 y2 x2)"
UNITS = {"fractions": (1 / 640, 1 / 480), "percentages": (100 / 640, 100 / 480), "pixels": (1.0, 1.0)}


def quad(box: Edges, layout: int, unit: str) -> Quad:
    """Write a box given in pixels in a convention."""
    (sx, sy), (x0, y0, x1, y1) = UNITS[unit], box
    x0, y0, x1, y1 = x0 * sx, y0 * sy, x1 * sx, y1 * sy
    if layout == CENTRE:
        return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    return (x0, y0, x1 - x0, y1 - y0) if layout == TOPLEFT else (x0, y0, x1, y1)


def verdict(format: Format, quads: Sequence[Quad], areas: Sequence[float] = (), size: tuple[int, int] = SIZE) -> str:
    """Return what is said of a set of images with one box each."""
    total, example = list(ConventionCounts()), ""
    for number, numbers in enumerate(quads):
        x0, y0, x1, y1 = read = edges(OWN[format], numbers)
        if x0 <= x1 and y0 <= y1:
            parsed = Parsed((Box(0, read, number),), areas=tuple(areas[number : number + 1]))
        else:
            parsed = Parsed(inverted=((number, read),))
        text = count_image(format, parsed, "labels/a.txt:{}", *size)
        _, shown, *counts = json.loads(text or "")
        total, example = list(map(add, total, counts)), example or shown
    return diagnose(format, BoxSet(ConventionCounts(*total), example)) or ""


def scattered(count: int, seed: int = 0, least: float = 0.02, most: float = 0.5) -> list[Edges]:
    """Draw boxes anywhere in an image, in pixels."""
    rng = random.Random(seed)
    boxes = []
    for _ in range(count):
        w, h = SIZE[0] * rng.uniform(least, most), SIZE[1] * rng.uniform(least, most)
        x, y = rng.uniform(0, SIZE[0] - w), rng.uniform(0, SIZE[1] - h)
        boxes.append((x, y, x + w, y + h))
    return boxes


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("layout", WORDS, ids=WORDS.values())
@pytest.mark.parametrize("format", OWN)
def test_each_convention_is_named_in_each_format_and_the_own_one_is_none(format, layout, unit):
    own_unit = "fractions" if format == "yolo" else "pixels"
    message = verdict(format, [quad(box, layout, unit) for box in scattered(60)])
    if (layout, unit) == (OWN[format], own_unit):
        assert message == ""
        return
    if (
        unit == "percentages" and format != "yolo"
    ):  # as good as boxes in the upper left corner, if they are read as they are
        assert "percentages" not in message
        return
    likely = message.split(": likely ")[1].split("; expected")[0]
    assert (unit in likely) == (unit != own_unit)
    assert (WORDS[layout] in likely) == (layout != OWN[format])
    assert "such as labels/a.txt:" in message


@pytest.mark.parametrize("format", OWN)
@pytest.mark.parametrize("seed", range(20))
def test_a_handful_of_boxes_is_no_evidence_of_another_layout(format, seed):
    own_unit = "fractions" if format == "yolo" else "pixels"
    for layout in WORDS:
        assert verdict(format, [quad(box, layout, own_unit) for box in scattered(5, seed)]) == ""


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(OWN)),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=40),
    st.sampled_from([(640, 480), (64, 48), (100, 100), (4000, 3000)]),
    st.sampled_from(["anywhere", "border", "whole", "corner", "speck"]),
)
def test_boxes_that_lie_in_their_images_are_never_accused(format, fractions, size, kind):
    width, height = size
    quads = []
    for a, b, c, d in fractions:
        x0, x1, y0, y1 = min(a, c), max(a, c), min(b, d), max(b, d)
        if kind == "border":
            x0, x1 = (0.0, max(x1 - x0, 0.01)) if a < 0.5 else (min(x0, 0.99), 1.0)
        elif kind == "whole":
            x0, y0, x1, y1 = 0.1 * a, 0.1 * b, 1 - 0.1 * c, 1 - 0.1 * d
        elif kind == "corner":
            x0, y0, x1, y1 = 0.0, 0.0, max(0.3 * c, 2 / width), max(0.3 * d, 2 / height)
        elif kind == "speck":
            x0, y0 = x0 * (1 - 2 / width), y0 * (1 - 2 / height)
            x1, y1 = x0 + 2 / width, y0 + 2 / height
        scale = (1, 1) if format == "yolo" else size
        if x1 - x0 < 1.5 / width or y1 - y0 < 1.5 / height:
            continue
        box = (x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1])
        x0, y0, x1, y1 = box
        quads.append(
            ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
            if format == "yolo"
            else (x0, y0, x1 - x0, y1 - y0)
            if format == "coco"
            else box
        )
    assert verdict(format, quads, size=size) == "" if quads else True


def test_boxes_drawn_beyond_the_border_are_not_another_convention():
    rng = random.Random(7)
    for seed in range(60):
        boxes = []
        for box in scattered(30, seed):
            x0, y0, x1, y1 = box
            if rng.random() < 0.4:  # its hidden part is drawn, too
                x0, x1 = x0 - rng.choice([1, -1]) * 0.2 * (x1 - x0), x1
                y1 += 0.2 * (y1 - y0)
            boxes.append((x0, y0, max(x1, x0 + 2), y1))
        for format in OWN:
            unit = "fractions" if format == "yolo" else "pixels"
            assert verdict(format, [quad(box, OWN[format], unit) for box in boxes]) == ""


def test_the_area_tells_corners_that_lie_inside_as_sizes_too_and_the_area_of_a_mask_does_not():
    quads = [(150.0 + n, 120.0, 250.0 + n, 200.0) for n in range(4)]
    assert "4 of 4 boxes have an 'area' that fits corners only" in verdict("coco", quads, [8000] * 4)
    assert f"likely {EITHER}" in verdict("coco", quads, [101 * 81] * 4)  # of a tool that counts ends
    assert verdict("coco", quads) == ""  # without it these are boxes like any other
    assert verdict("coco", quads, [250.0 * 200] * 4) == ""
    assert verdict("coco", quads, [30_000, 8000, 41_000, 22_000]) == ""  # masks, one of them by chance


def test_real_specks_are_no_fractions_and_a_few_fractions_among_pixels_are_reported():
    specks = [(x + 0.0, y + 0.0, 1.0, 1.0) for x, y in zip(range(3, 103), range(5, 105), strict=True)]
    assert verdict("coco", specks) == ""
    mixed = [quad(box, TOPLEFT, "pixels") for box in scattered(40)]
    mixed += [quad(box, TOPLEFT, "fractions") for box in scattered(10, 1)]
    assert "10 of 50 boxes lie within the first pixel" in verdict("coco", mixed)
    assert verdict("coco", mixed[:42]) == ""  # two clicks into a corner are two mistakes


def thousand(box: Edges, layout: int) -> Quad:
    """Write a box given in pixels in numbers from 0 to 1000."""
    return quad((box[0] * 1000 / 640, box[1] * 1000 / 480, box[2] * 1000 / 640, box[3] * 1000 / 480), layout, "pixels")


@pytest.mark.parametrize("layout", WORDS, ids=WORDS.values())
@pytest.mark.parametrize("format", OWN)
def test_numbers_from_0_to_1000_and_pixels_of_other_images_are_named(format, layout):
    for size, least in (((640, 480), 20), ((240, 320), 50)):
        message = verdict(format, [thousand(box, layout) for box in scattered(60)], size=size)
        likely = message.split(": likely ")[1].split("; expected")[0]
        assert likely.startswith("numbers from 0 to 1000, or pixels of images of another size")
        assert (WORDS[layout] in likely) == (layout != OWN[format])
        assert int(message.split(" of ")[0]) >= least
    for factor in (2, 3, 8):
        boxes = [tuple(factor * edge for edge in box) for box in scattered(60)]
        assert "pixels of images of another size" in verdict(format, [quad(box, layout, "pixels") for box in boxes])


@pytest.mark.parametrize("format", OWN)
@pytest.mark.parametrize("seed", range(10))
def test_some_boxes_elsewhere_are_not_another_convention(format, seed):
    unit = "fractions" if format == "yolo" else "pixels"
    boxes = scattered(40, seed)
    for outside in (1, 4, 8):
        mixed = [(x0 + 640, y0 + 480, x1 + 640, y1 + 480) for x0, y0, x1, y1 in boxes[:outside]] + boxes[outside:]
        assert verdict(format, [quad(box, OWN[format], unit) for box in mixed]) == ""


def test_y_before_x_is_named_where_the_shape_of_images_shows_it():
    boxes = [(y0, x0, y1, x1) for x0, y0, x1, y1 in scattered(60)]
    assert "likely corners with y first (y1 x1 y2 x2)" in verdict("coco", boxes)
    areas = [(c - a) * (d - b) for a, b, c, d in boxes]
    assert "likely corners with y first (y1 x1 y2 x2)" in verdict("coco", boxes, areas)
    assert "likely corners with y first (y1 x1 y2 x2)" in verdict("voc", boxes)
    assert "likely pixels, as corners with y first (y1 x1 y2 x2)" in verdict("yolo", boxes)
    fractions = [(a / 480, b / 640, c / 480, d / 640) for a, b, c, d in boxes]
    assert f"likely {EITHER}" in verdict("yolo", fractions)
    assert f"likely fractions of the image, as {EITHER}" in verdict("coco", fractions)
    square = [(a, b, c, d) for a, b, c, d in scattered(80) if max(b, d, a, c) < 480]
    assert f"likely {EITHER}" in verdict("coco", square, size=(480, 480))
    sizes = [(a, b, c - a, d - b) for a, b, c, d in boxes]
    assert "likely upper left corner and size with y first (y x h w)" in verdict("coco", sizes)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_honest_boxes_beyond_the_border_are_not_y_first(share):
    rng = random.Random(3)
    for seed in range(40):
        boxes = []
        for x0, y0, x1, y1 in scattered(30, seed):
            down = 480 - y0 + 0.2 * (y1 - y0) if rng.random() < share else y1 - y0
            boxes.append((x0, y0, x1, y0 + down))
        for format in OWN:
            unit = "fractions" if format == "yolo" else "pixels"
            assert "y first" not in verdict(format, [quad(box, OWN[format], unit) for box in boxes])


# --- through the gate


def _coco(sets: Sets, write: Callable[[int, int, int, int], list[float]]) -> Path:
    root = sets.coco()
    for path in root.glob("*/_annotations.coco.json"):
        document = json.loads(path.read_text())
        for annotation in document["annotations"]:
            annotation["bbox"] = write(*annotation["bbox"])
        path.write_text(json.dumps(document))
    return root


def test_a_coco_set_in_fractions_is_refused_with_the_likely_convention(sets: Sets, refuse, rejected):
    root = _coco(sets, lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT])
    document = rejected(root)
    assert found(document, "error") == {"box-convention": 1}
    assert places(document, "box-convention") == [root.name]
    message = next(f for f in document.findings if f.rule == "box-convention").examples[0].message
    assert message == (
        "10 of 10 boxes lie within the first pixel (such as test/_annotations.coco.json: annotations[0]: 0.25 0.2 0.5 "
        "0.5): likely fractions of the image; expected pixels, upper left corner and size (x y w h)"
    )


def test_one_split_from_another_tool_is_named_alone(sets: Sets, rejected, tmp_path):
    root = sets.coco()
    path = root / "val/_annotations.coco.json"
    path.write_text(path.read_text().replace("[10, 4, 20, 10]", "[0.25, 0.2, 0.5, 0.5]"))
    document = rejected(root)
    assert places(document, "box-convention") == ["val"]


@pytest.mark.parametrize(("line", "likely"), [("20 9 20 10", "pixels"), ("0.35 0.3 0.85 0.8", EITHER)])
def test_yolo_labels_in_pixels_or_corners_are_refused_by_name(sets: Sets, rejected, line, likely):
    root = sets.yolo()
    for path in root.glob("labels/*/*.txt"):
        path.write_text(f"0 {line}\n")
    document = rejected(root)
    [finding] = [f for f in document.findings if f.rule == "box-convention"]
    assert f"likely {likely}; expected fractions, centre and size (cx cy w h)" in finding.examples[0].message


def test_voc_boxes_as_sizes_are_named_though_most_cannot_be_read(sets: Sets, rejected):
    document = rejected(sets.voc(box=(25, 8, 10, 6)))
    assert found(document, "error") == {"label-syntax": 10, "box-convention": 1}
    assert "upper left corner and size" in str(document.findings)


def test_another_convention_comes_first_with_what_follows_from_it_in_a_line(sets: Sets, refuse, tmp_path):
    root = _coco(sets, lambda x, y, w, h: [30 * x, 30 * y, 30 * w, 30 * h])
    error = refuse(root, DataRejected)
    assert "11 errors in labels or images: box-convention 1, box-outside 10." in error.message
    assert "--fix" not in error.message
    first, second = error.problems
    assert first.startswith(f"{root.name}: 10 of 10 boxes lie outside their images however they are read (such as ")
    assert second.startswith("box-outside 10, which may follow from box-convention, such as ")
    with open(tmp_path / "out/problems.csv", newline="", encoding="utf-8") as file:
        assert [row["rule"] for row in csv.DictReader(file)] == ["box-convention"] + ["box-outside"] * 10
    page = (tmp_path / "out/data.html").read_text()
    assert page.index('<article id="box-convention">') < page.index('<article id="box-outside">')


def test_a_split_with_boxes_of_larger_images_is_named_alone(sets: Sets, rejected):
    root = sets.coco()
    path = root / "train/_annotations.coco.json"
    path.write_text(path.read_text().replace("[10, 4, 20, 10]", "[300, 120, 600, 300]"))
    assert places(rejected(root), "box-convention") == ["train"]


def test_what_the_index_remembers_says_the_same_of_unchanged_files(sets: Sets, rejected, monkeypatch, tmp_path):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    root = _coco(sets, lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT])
    first, second = rejected(root), rejected(root)
    assert [f for f in first.findings if f.rule == "box-convention"] == [
        f for f in second.findings if f.rule == "box-convention"
    ]


def test_an_owner_who_knows_better_makes_it_a_warning(sets: Sets, validate):
    root = _coco(sets, lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT])
    document = validate(root, policy={"rules": {"box-convention": "warning"}})
    assert found(document, "warning")["box-convention"] == 1


def test_a_repair_does_not_hide_another_convention(sets: Sets, tmp_path):
    root = sets.yolo()
    for path in root.glob("labels/*/*.txt"):
        path.write_text("0 0.35 0.3 0.85 0.8\n")  # clipped, these would pass
    with pytest.raises(DataError, match="problems that only you can resolve") as caught:
        fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    assert f"likely {EITHER}" in caught.value.problems[0]
    assert not list((tmp_path / "fixed").rglob("*"))


def test_honest_sets_of_all_formats_pass_without_a_finding(sets: Sets, validate):
    for root in (sets.yolo(), sets.coco(), sets.voc()):
        assert "box-convention" not in found(validate(root))


def test_a_label_that_lies_in_the_border_alone_is_honest(sets: Sets, validate):
    root = sets.yolo()
    for number, path in enumerate(sorted(root.glob("labels/*/*.txt"))):
        path.write_text(f"0 {0.25 if number % 2 else 0.75} 0.5 0.5 1.0\n")
    assert "box-convention" not in found(validate(root))
    for split in COUNTS:
        picture(root / f"images/{split}/extra.png", 99)
