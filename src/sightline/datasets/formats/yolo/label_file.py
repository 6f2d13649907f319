"""A YOLO label file: `class cx cy w h` a line, centre and size as fractions of the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from math import isfinite

from sightline.datasets.formats.files import FAR, short
from sightline.datasets.types import Box, Parsed
from sightline.rules import Issue

LARGEST = 2**24  # bytes of a label file; 300 000 boxes
MOST = 1000  # bad lines that are named; a file with more is no label file
EXPECTED = "expected five numbers: class cx cy w h"


@cache
def plain(count: int) -> dict[float, int]:
    """Return the usual meaning of class numbers: each is its own index."""
    return {float(index): index for index in range(count)}


def parse(data: bytes, where: str, classes: list[str] | None, ids: dict[float, int] | None = None) -> Parsed:
    """Read a label file; `ids` maps class numbers to indices where they are not the same."""
    if len(data) > LARGEST:
        return _refused(where, f"is {len(data) >> 20} MiB large; expected a label file of at most {LARGEST >> 20} MiB")
    if b"\0" in data:
        return _refused(where, "is no text; expected a label file in ASCII or UTF-8")
    if ids is None:
        ids = plain(len(classes or ()))
    boxes, issues = [], []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            label, cx, cy, w, h = map(float, line.split())
        except ValueError:
            wrong = _wrong(line, f"{where}:{number}", ids)
        else:
            index = ids.get(label)
            if index is not None and 0 <= w < FAR and 0 <= h < FAR and -FAR < cx < FAR and -FAR < cy < FAR:
                w /= 2
                h /= 2
                boxes.append(Box(index, (cx - w, cy - h, cx + w, cy + h), number))
                continue
            wrong = _wrong(line, f"{where}:{number}", ids)
        if wrong:
            issues.append(wrong)
            if len(issues) == MOST:
                issues.append(
                    Issue("label-syntax", f"{where}:{number}", f"the {MOST}th bad line; the rest is not read")
                )
                break
    return Parsed(tuple(boxes), None, tuple(issues))


def _refused(where: str, message: str) -> Parsed:
    return Parsed(issues=(Issue("label-syntax", where, message),))


def _wrong(line: bytes, where: str, ids: dict[float, int]) -> Issue | None:
    """Say what is wrong with a line; nothing with a blank one."""
    words = line.split()
    if not words:
        return None
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return Issue("label-syntax", where, f"got '{_short(line)}', {EXPECTED}")
    task = _task(numbers)
    if task:
        return Issue("wrong-task", where, f"got {len(words)} numbers, which is {task}; expected class cx cy w h")
    if len(words) != 5:
        return Issue("label-syntax", where, f"got {len(words)} numbers, {EXPECTED}")
    if not all(map(isfinite, numbers)):
        return Issue("label-syntax", where, f"got '{_short(line)}', expected finite numbers")
    if numbers[0] not in ids:
        message = f"got class {_short(words[0])}, expected {_allowed(ids)}"
        return Issue("class-range", where, message)
    wrong = "negative size" if min(numbers[3:]) < 0 else "endless size or place"
    return Issue("label-syntax", where, f"got '{_short(line)}', a box of {wrong}; expected w and h of 0 to 1")


def _task(numbers: list[float]) -> str | None:
    """Guess the other task whose labels have this many numbers."""
    count = len(numbers)
    if count == 6:
        return "a prediction (a box and its confidence) or a tracked box"
    if count > 6 and count % 3 == 2 and set(numbers[7::3]) <= {0, 1, 2}:
        return "a pose label (a box, and keypoints with their visibility)"
    if count == 9:
        return "an oriented box or a polygon of four points"
    if count > 6 and count % 2:
        return "a segmentation label (class and polygon) or a pose label (a box and keypoints)"
    return None


def _allowed(ids: dict[float, int]) -> str:
    known = sorted(int(number) for number in ids)
    if not known:
        return "none: there are no class names"
    if known != list(range(len(known))):
        return f"one of {', '.join(map(str, known[:20]))}{', …' * (len(known) > 20)}"
    many = len(known) > 1
    return f"{f'0 to {known[-1]}' if many else '0'} ({len(known)} class name{'s' * many})"


def _short(line: bytes) -> str:
    return short(line.strip().decode("utf-8", "replace"), 60)


def label_text(labels: Iterable[Sequence[float]]) -> str:
    """Return a label file: one line `class cx cy w h` for each object."""
    return "".join(["%d %.6f %.6f %.6f %.6f\n" % tuple(label) for label in labels])  # noqa: UP031  twice as fast
