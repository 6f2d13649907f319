"""Checks the labels of one image and brings them into canonical form. Runs once per image: keep it fast."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from sightline.datasets.types import Box, Edges, ImageRecord, Parsed
from sightline.image_files.images import ImageInfo
from sightline.policy import Thresholds
from sightline.rules import Issue, Scope, rule_ids

MICRO = 1_000_000  # canonical fractions have six decimals, and are stored as whole millionths
OVERSHOOT = 1e-6  # fractions: within the rounding of six decimals, so the edge is not moved
TOLERANCE = 1e-3  # fractions: how far an edge may stick out before it is reported; half a pixel of 500
MOSTLY = 0.5  # share of a box's area that must lie inside
LEFT_OUT = frozenset(rule_ids(lambda rule: rule.scope is Scope.BOX and rule.removes))  # rules whose boxes are not used

Micro = tuple[int | str, int, int, int, int]  # class, cx, cy, w, h in millionths of the upright image


class LabelContext(NamedTuple):
    """What the checks of a box need: its image, its classes, thresholds and the training size.

    `width` and `height` are pixels of the upright image, `image_size` is the training size in pixels. `relative` means
    that edges are fractions of the image, not pixels. `left_out` has the rules that leave out the boxes they find.
    """

    record: ImageRecord
    width: int
    height: int
    relative: bool
    classes: Sequence[str] | None
    thresholds: Thresholds
    image_size: int
    left_out: frozenset[str] = LEFT_OUT

    def where(self, box: Box) -> str:
        """Return the place of the box in its label file."""
        return self.record.where.replace("{}", str(box.place))

    def describe(self, box: Box) -> str:
        """Return the class and coordinates of the box as its file states them."""
        name = self.classes[box.label] if self.classes and isinstance(box.label, int) else box.label
        return f"'{name}' box ({', '.join(f'{edge:.6g}' for edge in box.edges)})"


class CheckedLabels(NamedTuple):
    """The labels of an image in canonical form, and their issues.

    `issue_labels` has for each issue the position of the label that it is about, None where that is not used.
    """

    labels: list[Micro]
    issues: list[Issue]
    issue_labels: list[int | None]


def check_labels(record: ImageRecord, parsed: Parsed, info: ImageInfo, context: LabelContext) -> CheckedLabels:
    """Apply the rules to the labels of a readable image, and return the labels that are used, sorted.

    An issue about a pair of boxes names the second one: that is the one which its rule may leave out.
    """
    issues = [*parsed.issues, *_size(record, parsed, info)]
    issue_labels: list[int | None] = [None] * len(issues)
    labels: list[Micro] = []
    edges: list[Edges] = []
    boxes: list[Box] = []
    for box in parsed.boxes:
        inside, problem = check_box(box, context)
        used = not (problem and problem.rule in context.left_out)
        if problem:
            issues.append(problem)
            issue_labels.append(len(labels) if used else None)
        if used:
            x0, y0, x1, y1 = inside
            center = round((x0 + x1) / 2 * MICRO), round((y0 + y1) / 2 * MICRO)
            labels.append((box.label, *center, round((x1 - x0) * MICRO), round((y1 - y0) * MICRO)))
            edges.append(inside)
            boxes.append(box)
    doubled, conflicts = overlapping([box.label for box in boxes], edges, context.thresholds)
    unused: set[int] = set()
    for issue, second in _pair_issues(boxes, edges, doubled, conflicts, context):
        issues.append(issue)
        issue_labels.append(second)
        if issue.rule in context.left_out:
            unused.add(second)
    return _sorted(CheckedLabels(labels, issues, issue_labels), unused)


def check_box(box: Box, context: LabelContext) -> tuple[Edges, Issue | None]:
    """Return a box clipped to its image, as fractions, and its issue, if any: the one that matters most."""
    x0, y0, x1, y1 = box.edges
    if not context.relative:
        x0, y0, x1, y1 = x0 / context.width, y0 / context.height, x1 / context.width, y1 / context.height
    problem = None
    if x0 < -OVERSHOOT or y0 < -OVERSHOOT or x1 > 1 + OVERSHOOT or y1 > 1 + OVERSHOOT:
        whole = (x0, y0, x1, y1)
        x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in whole)
        problem = _overhang(box, whole, (x0, y0, x1, y1), context)
        if problem and problem.rule in context.left_out:
            return (x0, y0, x1, y1), problem
    width, height = x1 - x0, y1 - y0
    inside = (x0, y0, x1, y1)
    if width * MICRO < 0.5 or height * MICRO < 0.5:
        message = f"{context.describe(box)} of {context.record.source} has no area"
        return inside, Issue("zero-area-box", context.where(box), message, inside)
    if problem is None:
        scale = context.image_size / max(context.width, context.height)
        pixels = min(width * context.width, height * context.height)
        if pixels * scale < context.thresholds.tiny_pixels:
            problem = _tiny(box, inside, scale, context)
        elif min(width, height) >= context.thresholds.whole_image:
            message = f"{context.describe(box)} covers the whole of {context.record.source}"
            problem = Issue("whole-image-box", context.where(box), message, inside, min(width, height))
    return inside, problem


def _pair_issues(
    boxes: Sequence[Box],
    edges: Sequence[Edges],
    doubled: Mapping[int, tuple[int, float]],
    conflicts: Sequence[tuple[int, int, float]],
    context: LabelContext,
) -> Iterator[tuple[Issue, int]]:
    """Yield the issues about repeated and conflicting boxes, each with the position of the second box."""
    for second, (first, overlap) in doubled.items():
        message = (
            f"{context.describe(boxes[second])} repeats that of {context.where(boxes[first])} (overlap {overlap:.3f})"
        )
        yield Issue("duplicate-box", context.where(boxes[second]), message, edges[second], overlap), second
    for first, second, overlap in conflicts:
        a, b = boxes[first], boxes[second]
        message = (
            f"{context.describe(b)} is nearly the {context.describe(a)} of {context.where(a)} (overlap {overlap:.3f})"
        )
        yield Issue("conflicting-boxes", context.where(b), message, edges[second], overlap), second


def _size(record: ImageRecord, parsed: Parsed, info: ImageInfo) -> Iterator[Issue]:
    """Yield issues about the stated size of the image and about its EXIF orientation."""
    upright, stored = (info.width, info.height), info.stored_size
    if info.orientation != 1:
        if parsed.size == stored != upright:
            yield Issue(
                "turned-boxes",
                record.source,
                f"boxes are of the picture as stored ({stored[0]}x{stored[1]}), but its EXIF orientation "
                f"{info.orientation} turns it to {upright[0]}x{upright[1]}",
            )
            return
        yield Issue(
            "exif-orientation",
            record.source,
            f"has EXIF orientation {info.orientation}; boxes are read as those of the upright picture "
            f"({upright[0]}x{upright[1]}), which is what OpenCV and the training engine read",
        )
    if parsed.size and parsed.size != upright:
        yield Issue(
            "size-mismatch",
            record.source,
            f"is {upright[0]}x{upright[1]}, but its annotation says {parsed.size[0]}x{parsed.size[1]}",
        )


def _overhang(box: Box, whole: Edges, inside: Edges, context: LabelContext) -> Issue | None:
    """Return the issue of a box that sticks out: None if by little, clipped, or mostly outside the image."""
    width, height = whole[2] - whole[0], whole[3] - whole[1]
    out = max(-min(whole), max(whole) - 1)
    image = f"{context.record.source} ({context.width}x{context.height})"
    left = (inside[2] - inside[0]) * (inside[3] - inside[1])
    if width > 0 and height > 0 and left < MOSTLY * width * height:
        hint = "; YOLO labels are fractions of the image, 0 to 1" if context.relative and max(whole) > 2 else ""
        message = f"{context.describe(box)} lies outside {image}, expected most of it inside{hint}"
        return Issue("box-outside", context.where(box), message, whole, out)
    if out < TOLERANCE:
        return None
    return Issue("clipped-box", context.where(box), f"{context.describe(box)} sticks out of {image}", whole, out)


def _tiny(box: Box, edges: Edges, scale: float, context: LabelContext) -> Issue:
    width, height = (edges[2] - edges[0]) * context.width, (edges[3] - edges[1]) * context.height
    message = (
        f"{context.describe(box)} of {context.record.source} is {_pixels(width)}x{_pixels(height)} pixels, "
        f"{_pixels(width * scale)}x{_pixels(height * scale)} when trained at {context.image_size}"
    )
    return Issue("tiny-box", context.where(box), message, edges, -min(width, height) * scale)


def _pixels(length: float) -> str:
    """Return a length as text: whole pixels from 10 on, two digits below."""
    return f"{length:.0f}" if length >= 10 else f"{length:.2g}"


def overlapping(
    labels: Sequence[int | str], edges: Sequence[Edges], thresholds: Thresholds
) -> tuple[dict[int, tuple[int, float]], list[tuple[int, int, float]]]:
    """Return repeated boxes and conflicting ones.

    Repeated boxes map the position of a box to that of an earlier one of its class and their IoU. Conflicts are pairs
    of positions of different classes, with their IoU. A repeated box is not compared further, so that ten thousand
    equal boxes take time for ten thousand comparisons, not for all pairs.
    """
    doubled: dict[int, tuple[int, float]] = {}
    seen: dict[tuple[int | str, Edges], int] = {}
    for index, box in enumerate(zip(labels, edges, strict=True)):
        first = seen.setdefault(box, index)
        if first != index:
            doubled[index] = (first, 1.0)
    conflicts = []
    for first, second, overlap in pairs(edges, min(thresholds.duplicate_iou, thresholds.conflict_iou), doubled):
        if labels[first] == labels[second]:
            if overlap >= thresholds.duplicate_iou:
                doubled[second] = (first, overlap)
        elif overlap >= thresholds.conflict_iou:
            conflicts.append((first, second, overlap))
    return doubled, [pair for pair in conflicts if pair[0] not in doubled and pair[1] not in doubled]


def pairs(edges: Sequence[Edges], least: float, skip: Container[int] = ()) -> Iterator[tuple[int, int, float]]:
    """Yield (i, j, IoU) of boxes that overlap by at least `least`, i before j in the list, neither of them in `skip`.

    Let i be the box that starts further left. IoU >= t needs x0_j - x0_i <= (1 - t) * width_i, because the overlap is
    at most width_i minus that distance wide, and the union at least width_i. So a sweep from left to right compares few
    pairs. `skip` may grow during the sweep.
    """
    if len(edges) < 2:
        return
    order = sorted(range(len(edges)), key=lambda index: edges[index][0])
    for position, i in enumerate(order):
        if i in skip:
            continue
        ax0, ay0, ax1, ay1 = edges[i]
        reach = ax0 + (1 - least) * (ax1 - ax0)
        for following in range(position + 1, len(order)):
            j = order[following]
            bx0, by0, bx1, by1 = edges[j]
            if bx0 > reach:
                break
            across, down = min(ax1, bx1) - bx0, min(ay1, by1) - max(ay0, by0)
            if across <= 0 or down <= 0 or j in skip:
                continue
            common = across * down
            overlap = common / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - common)
            if overlap >= least:
                yield min(i, j), max(i, j), overlap
                if i in skip:
                    break


def _sorted(checked: CheckedLabels, unused: Container[int]) -> CheckedLabels:
    """Remove unused labels, sort the others, and update the positions in `issue_labels`.

    Sorting makes the labels of two files equal if they differ only in the order of their lines.
    """
    kept = sorted((label, index) for index, label in enumerate(checked.labels) if index not in unused)
    place = {index: position for position, (_, index) in enumerate(kept)}
    issue_labels = [None if index is None else place.get(index) for index in checked.issue_labels]
    return CheckedLabels([label for label, _ in kept], checked.issues, issue_labels)
