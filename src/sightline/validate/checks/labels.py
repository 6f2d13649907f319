"""The rules about the labels of one image, and their canonical form. Runs once for every image: keep it lean."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from sightline.datasets.types import Box, Edges, ImageRecord, Parsed
from sightline.image_files.images import ImageInfo
from sightline.policy import Thresholds
from sightline.rules import Issue

MICRO = 1_000_000  # canonical fractions have six decimals, and are kept as whole millionths
OVERSHOOT = 1e-6  # fractions: what rounding to six decimals adds; not worth moving an edge for
TOLERANCE = 1e-3  # fractions: how far an edge may stick out before it is reported; half a pixel at 500
MOSTLY = 0.5  # share of a box's area that must lie inside

Micro = tuple[int | str, int, int, int, int]  # class, cx, cy, w, h in millionths of the upright image


class Frame(NamedTuple):
    """What a box is judged by: its image and how large it will be trained."""

    entry: ImageRecord
    width: int
    height: int
    relative: bool
    names: Sequence[str] | None
    thresholds: Thresholds
    image_size: int

    def where(self, box: Box) -> str:
        """Name the box's place in its file."""
        return self.entry.where.replace("{}", str(box.place))

    def named(self, box: Box) -> str:
        """Name the box by its class and its own coordinates."""
        name = self.names[box.label] if self.names and isinstance(box.label, int) else box.label
        return f"'{name}' box ({', '.join(f'{edge:.6g}' for edge in box.edges)})"


class Judged(NamedTuple):
    """The labels of an image in canonical form, and what is wrong; `about` has the label each finding would drop."""

    labels: list[Micro]
    found: list[Issue]
    about: list[int | None]


def judge(entry: ImageRecord, parsed: Parsed, facts: ImageInfo, frame: Frame) -> Judged:
    """Apply the rules to the labels of an image that could be read."""
    found = [*parsed.issues, *_size(entry, parsed, facts)]
    about: list[int | None] = [None] * len(found)
    labels: list[Micro] = []
    edges: list[Edges] = []
    boxes: list[Box] = []
    for box in parsed.boxes:
        inside, problem = judge_box(box, frame)
        if problem:
            found.append(problem)
            about.append(len(labels) if inside else None)
        if inside:
            x0, y0, x1, y1 = inside
            center = round((x0 + x1) / 2 * MICRO), round((y0 + y1) / 2 * MICRO)
            labels.append((box.label, *center, round((x1 - x0) * MICRO), round((y1 - y0) * MICRO)))
            edges.append(inside)
            boxes.append(box)
    doubled, conflicts = overlapping([box.label for box in boxes], edges, frame.thresholds)
    for second, (first, overlap) in doubled.items():
        message = f"{frame.named(boxes[second])} repeats that of {frame.where(boxes[first])} (overlap {overlap:.3f})"
        found.append(Issue("duplicate-box", frame.where(boxes[second]), message, edges[second], overlap))
        about.append(None)
    for first, second, overlap in conflicts:
        a, b = boxes[first], boxes[second]
        message = f"{frame.named(b)} is nearly the {frame.named(a)} of {frame.where(a)} (overlap {overlap:.3f})"
        found.append(Issue("conflicting-boxes", frame.where(b), message, edges[second], overlap))
        about.append(second)
    return _in_order(Judged(labels, found, about), doubled)


def judge_box(box: Box, frame: Frame) -> tuple[Edges | None, Issue | None]:
    """Return a box inside its image, as fractions, and what is wrong with it; None if nothing of it can be used."""
    x0, y0, x1, y1 = box.edges
    if not frame.relative:
        x0, y0, x1, y1 = x0 / frame.width, y0 / frame.height, x1 / frame.width, y1 / frame.height
    problem = None
    if x0 < -OVERSHOOT or y0 < -OVERSHOOT or x1 > 1 + OVERSHOOT or y1 > 1 + OVERSHOOT:
        whole = (x0, y0, x1, y1)
        x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in whole)
        problem = _overhang(box, whole, (x0, y0, x1, y1), frame)
        if problem and problem.rule == "box-outside":
            return None, problem
    width, height = x1 - x0, y1 - y0
    if width * MICRO < 0.5 or height * MICRO < 0.5:
        message = f"{frame.named(box)} of {frame.entry.source} has no area"
        return None, Issue("zero-area-box", frame.where(box), message, (x0, y0, x1, y1))
    inside = (x0, y0, x1, y1)
    if problem is None:
        scale = frame.image_size / max(frame.width, frame.height)
        pixels = min(width * frame.width, height * frame.height)
        if pixels * scale < frame.thresholds.tiny_pixels:
            problem = _tiny(box, inside, scale, frame)
        elif min(width, height) >= frame.thresholds.whole_image:
            message = f"{frame.named(box)} covers the whole of {frame.entry.source}"
            problem = Issue("whole-image-box", frame.where(box), message, inside, min(width, height))
    return inside, problem


def _size(entry: ImageRecord, parsed: Parsed, facts: ImageInfo) -> Iterator[Issue]:
    """Compare the size that the annotation states with the image's, and say what an EXIF orientation means for it."""
    upright, stored = (facts.width, facts.height), facts.stored_size
    if facts.orientation != 1:
        if parsed.size == stored != upright:
            yield Issue(
                "turned-boxes",
                entry.source,
                f"boxes are of the picture as stored ({stored[0]}x{stored[1]}), but its EXIF orientation "
                f"{facts.orientation} turns it to {upright[0]}x{upright[1]}",
            )
            return
        yield Issue(
            "exif-orientation",
            entry.source,
            f"has EXIF orientation {facts.orientation}; boxes are taken as of the upright picture "
            f"({upright[0]}x{upright[1]}), which is what OpenCV and the training engine read",
        )
    if parsed.size and parsed.size != upright:
        yield Issue(
            "size-mismatch",
            entry.source,
            f"is {upright[0]}x{upright[1]}, but its annotation says {parsed.size[0]}x{parsed.size[1]}",
        )


def _overhang(box: Box, whole: Edges, inside: Edges, frame: Frame) -> Issue | None:
    """Judge a box that sticks out: nothing, clipped, or not of this image at all."""
    width, height = whole[2] - whole[0], whole[3] - whole[1]
    out = max(-min(whole), max(whole) - 1)
    of = f"{frame.entry.source} ({frame.width}x{frame.height})"
    left = (inside[2] - inside[0]) * (inside[3] - inside[1])
    if width > 0 and height > 0 and left < MOSTLY * width * height:
        hint = "; YOLO labels are fractions of the image, 0 to 1" if frame.relative and max(whole) > 2 else ""
        message = f"{frame.named(box)} lies outside {of}, expected most of it inside{hint}"
        return Issue("box-outside", frame.where(box), message, whole, out)
    if out < TOLERANCE:
        return None
    return Issue("clipped-box", frame.where(box), f"{frame.named(box)} sticks out of {of}", whole, out)


def _tiny(box: Box, edges: Edges, scale: float, frame: Frame) -> Issue:
    width, height = (edges[2] - edges[0]) * frame.width, (edges[3] - edges[1]) * frame.height
    message = (
        f"{frame.named(box)} of {frame.entry.source} is {_pixels(width)}x{_pixels(height)} pixels, "
        f"{_pixels(width * scale)}x{_pixels(height * scale)} when trained at {frame.image_size}"
    )
    return Issue("tiny-box", frame.where(box), message, edges, -min(width, height) * scale)


def _pixels(length: float) -> str:
    """Show a length: whole pixels from 10 on, two digits below."""
    return f"{length:.0f}" if length >= 10 else f"{length:.2g}"


def overlapping(
    labels: Sequence[int | str], edges: Sequence[Edges], thresholds: Thresholds
) -> tuple[dict[int, tuple[int, float]], list[tuple[int, int, float]]]:
    """Return which box repeats which earlier one of its class, and the pairs that differ in class alone, with IoU.

    A box that repeats another is compared no more: ten thousand equal boxes take the time of ten thousand, not of their
    pairs.
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

    With i the box that starts first, IoU >= t needs x0_j - x0_i <= (1 - t) * width_i: what is in common is at most
    width_i minus that distance, what is covered at least width_i. So a sweep from left to right meets few others.
    `skip` may grow on the way.
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


def _in_order(judged: Judged, doubled: Container[int]) -> Judged:
    """Leave out the second of two equal boxes, sort the others, and let `about` point into what is left.

    Sorted, labels of two files that say the same are the same, whatever the order of their lines.
    """
    kept = sorted((label, index) for index, label in enumerate(judged.labels) if index not in doubled)
    place = {index: position for position, (_, index) in enumerate(kept)}
    about = [None if index is None else place.get(index) for index in judged.about]
    return Judged([label for label, _ in kept], judged.found, about)
