"""The rules about one image's labels: what each finds, what becomes of the box, and what is left alone."""

from __future__ import annotations

import random

import pytest

from sightline.datasets.types import Box, Edges, ImageRecord, Parsed
from sightline.image_files.images import ImageInfo
from sightline.policy import Thresholds
from sightline.validate.checks.labels import LEFT_OUT, CheckedLabels, LabelContext, check_labels, pairs


def check(
    *boxes: tuple[int | str, Edges],
    size: tuple[int, int] = (1000, 500),
    relative: bool = True,
    declared: tuple[int, int] | None = None,
    orientation: int = 1,
    image_size: int = 640,
    left_out: frozenset[str] = LEFT_OUT,
    **thresholds: float,
) -> CheckedLabels:
    record = ImageRecord("/x/a.jpg", "a.jpg", "train", "a.txt:{}", "/x/a.txt")
    parsed = Parsed(tuple(Box(label, edges, line) for line, (label, edges) in enumerate(boxes, 1)), size=declared)
    info = ImageInfo("0" * 64, 1, *size, orientation, False, None)
    context = LabelContext(record, *size, relative, ["cat", "dog"], Thresholds(**thresholds), image_size, left_out)
    return check_labels(record, parsed, info, context)


def rules(judged: CheckedLabels) -> list[str]:
    return [found.rule for found in judged.issues]


GOOD = (0.25, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    ("edges", "rule", "label"),
    [
        (GOOD, None, (0, 500_000, 500_000, 500_000, 500_000)),
        ((0, 0, 0.5, 0.5), None, (0, 250_000, 250_000, 500_000, 500_000)),
        ((-0.0005, 0.1, 0.5, 0.5), None, (0, 250_000, 300_000, 500_000, 400_000)),  # rounding of whole pixels
        ((-0.1, 0.1, 0.5, 0.5), "clipped-box", (0, 250_000, 300_000, 500_000, 400_000)),
        ((0.9, 0.9, 1.05, 1.05), "box-outside", None),  # 44 % of it is inside
        ((0.9, 0.9, 1.03, 1.03), "clipped-box", (0, 950_000, 950_000, 100_000, 100_000)),
        ((1.2, 1.2, 1.4, 1.4), "box-outside", None),
        ((100, 100, 300, 200), "box-outside", None),
        ((0.5, 0.2, 0.5, 0.8), "zero-area-box", None),
        ((0.6, 0.2, 0.5, 0.8), "zero-area-box", None),  # right of left
        ((0.5, 0.5, 0.502, 0.502), "tiny-box", (0, 501_000, 501_000, 2_000, 2_000)),  # 0.64 pixels high at 640
        ((0.001, 0.005, 0.999, 0.995), "whole-image-box", (0, 500_000, 500_000, 998_000, 990_000)),
    ],
)
def test_a_box_is_taken_clipped_or_refused(edges, rule, label):
    judged = check((0, edges))
    assert rules(judged) == ([rule] if rule else [])
    assert judged.labels == ([label] if label else [])
    assert judged.issue_labels == ([0 if label else None] if rule else [])


@pytest.mark.parametrize(
    ("rule", "boxes", "found"),
    [
        ("box-outside", [(0, (0.9, 0.9, 1.05, 1.05))], (0, 950_000, 950_000, 100_000, 100_000)),
        ("clipped-box", [(0, (-0.1, 0.1, 0.5, 0.5))], (0, 250_000, 300_000, 500_000, 400_000)),
        ("zero-area-box", [(0, (0.5, 0.2, 0.5, 0.8))], (0, 500_000, 500_000, 0, 600_000)),
        ("tiny-box", [(0, (0.5, 0.5, 0.502, 0.502))], (0, 501_000, 501_000, 2_000, 2_000)),
        ("whole-image-box", [(0, (0, 0, 1, 1))], (0, 500_000, 500_000, 1_000_000, 1_000_000)),
        ("duplicate-box", [(0, GOOD), (0, GOOD)], (0, 500_000, 500_000, 500_000, 500_000)),
        ("conflicting-boxes", [(0, GOOD), (1, GOOD)], (1, 500_000, 500_000, 500_000, 500_000)),
    ],
)
def test_the_handling_of_a_rule_decides_whether_its_box_is_used(rule, boxes, found):
    """An issue names its box while that is used, so that a tolerated error can drop it."""
    first = [(0, 500_000, 500_000, 500_000, 500_000)] if len(boxes) == 2 else []
    kept = check(*boxes, left_out=frozenset())
    assert rules(kept) == [rule]
    assert kept.labels == [*first, found]
    assert kept.issue_labels == [len(first)]
    left_out = check(*boxes, left_out=frozenset([rule]))
    assert rules(left_out) == [rule]
    assert left_out.labels == first
    assert left_out.issue_labels == [None]


def test_messages_name_class_coordinates_image_and_place():
    [found] = check((1, (-100, 50, 300, 200)), relative=False).issues
    assert found.where == "a.txt:1"
    assert found.message == "'dog' box (-100, 50, 300, 200) sticks out of a.jpg (1000x500)"
    assert found.box == (-0.1, 0.1, 0.3, 0.4)
    [found] = check((0, (320, 200, 370, 240))).issues
    assert found.message.endswith("expected most of it inside; YOLO labels are fractions of the image, 0 to 1")


def test_the_size_of_a_tiny_box_is_written_in_plain_digits():
    [found] = check((0, (10.0, 10.0, 10.9, 400.0)), relative=False).issues
    assert found.message.endswith("of a.jpg is 0.9x390 pixels, 0.58x250 when trained at 640")


def test_what_is_tiny_depends_on_the_training_size():
    speck = (0, (10.0, 10.0, 14.0, 14.0))  # 4 pixels of 1000: 2.56 at 640, 1.28 at 320
    assert rules(check(speck, relative=False)) == []
    judged = check(speck, relative=False, image_size=320)
    assert judged.issues[0].message == "'cat' box (10, 10, 14, 14) of a.jpg is 4x4 pixels, 1.3x1.3 when trained at 320"
    assert rules(check(speck, relative=False, tiny_pixels=3.0)) == ["tiny-box"]


def test_repeated_boxes_are_kept_once_and_two_classes_on_one_box_are_reported():
    other = (0.1, 0.1, 0.2, 0.2)
    judged = check((0, GOOD), (0, other), (0, (0.2501, 0.25, 0.75, 0.75)), (1, (0.251, 0.25, 0.75, 0.75)))
    assert rules(judged) == ["duplicate-box", "conflicting-boxes"]
    assert [label[0] for label in judged.labels] == [0, 0, 1]
    assert judged.issues[0].where == "a.txt:3"
    assert "repeats that of a.txt:1" in judged.issues[0].message
    assert judged.issue_labels == [None, 2]  # the conflicting one is the third label that is left
    assert rules(check((0, GOOD), (0, (0.27, 0.25, 0.75, 0.75)))) == []  # 0.96: two objects may be that close


def test_three_times_the_same_box_leaves_one():
    judged = check((0, GOOD), (0, GOOD), (0, GOOD))
    assert rules(judged) == ["duplicate-box"] * 2
    assert len(judged.labels) == 1


def test_overlapping_pairs_are_those_of_comparing_all_with_all():
    rng = random.Random(3)
    for _ in range(50):
        edges = []
        for _ in range(30):
            x, y, w, h = rng.random() * 0.3, rng.random() * 0.3, 0.2 + rng.random() * 0.3, 0.2 + rng.random() * 0.3
            edges.append((x, y, x + w, y + h))
        expected = set()
        for i, a in enumerate(edges):
            for j, b in enumerate(edges[:i]):
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                common = max(w, 0) * max(h, 0)
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
                if common / union >= 0.6:
                    expected.add((j, i))
        assert {(i, j) for i, j, _ in pairs(edges, 0.6)} == expected


def test_the_size_an_annotation_states_must_be_the_images():
    assert rules(check((0, GOOD), declared=(1000, 500))) == []
    [found] = check((0, GOOD), declared=(500, 250)).issues
    assert (found.rule, found.where) == ("size-mismatch", "a.jpg")
    assert found.message == "is 1000x500, but its annotation says 500x250"


def test_a_turned_picture_is_a_warning_unless_its_boxes_are_of_the_stored_one():
    assert rules(check((0, GOOD), orientation=6)) == ["exif-orientation"]
    assert rules(check((0, GOOD), orientation=6, declared=(1000, 500))) == ["exif-orientation"]
    [found] = check((0, GOOD), orientation=6, declared=(500, 1000)).issues
    assert found.rule == "turned-boxes"
    assert "as stored (500x1000)" in found.message
    assert rules(check((0, GOOD), size=(500, 500), orientation=3, declared=(500, 500))) == ["exif-orientation"]
