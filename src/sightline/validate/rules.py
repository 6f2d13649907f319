"""What must hold of labels and images, as small functions that return problems.

Errors reject the data; what a warning names was repaired as its message says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sightline.artifacts import SPLITS, Problem, Split
from sightline.errors import DataRejected
from sightline.validate.dataset import Box, Item, Label, Sample, error, warning
from sightline.validate.pictures import Picture

SHOWN = 20  # errors that a message lists
OVERSHOOT = 1e-6  # fractions: what rounding to six decimals adds; not worth moving an edge for


def reject(source: str, problems: Sequence[Problem]) -> None:
    """Raise DataRejected if there are errors: their total, and the first of them."""
    errors = [
        f"{problem.where}: {problem.message} [{problem.rule}]" for problem in problems if problem.severity == "error"
    ]
    if errors:
        rest = len(errors) - SHOWN
        lines = [*errors[:SHOWN], *([f"… and {rest} more"] if rest > 0 else [])]
        count = f"{len(errors)} error{'s' * (len(errors) > 1)}"
        raise DataRejected(f"{source} has {count} in labels or images. Nothing was stored; correct the data:", lines)


def orientation(item: Item, picture: Picture) -> Iterator[Problem]:
    """A picture stored turned: fine if the boxes are of the upright picture, as every reader shows it."""
    if picture.orientation == 1:
        return
    upright = (picture.width, picture.height)
    if item.size == picture.stored_size != upright:
        yield error(
            "exif-orientation",
            item.source,
            f"boxes are of the picture as stored ({item.size[0]}x{item.size[1]}), but its EXIF orientation "
            f"{picture.orientation} turns it; save the image and its boxes upright",
        )
    else:
        yield warning(
            "exif-orientation",
            item.source,
            f"has EXIF orientation {picture.orientation}; boxes are taken as of the upright picture "
            f"({upright[0]}x{upright[1]}), which is what OpenCV and the training engine read",
        )


def labels(
    item: Item, picture: Picture, classes: dict[str, int], relative: bool
) -> tuple[tuple[Label, ...], list[Problem]]:
    """Return the canonical labels of an image; boxes are clipped to it, and those without an area dropped."""
    result: list[Label] = []
    problems: list[Problem] = []
    for box in item.boxes:
        fractions = box.edges if relative else _fractions(box.edges, picture)
        label = _label(classes[box.name], _clip(fractions))
        if label[3] <= 0 or label[4] <= 0:
            message = f"'{box.name}' box {_shown(box)} of {item.source} has no area; dropped"
            problems.append(warning("zero-area-box", box.where, message))
            continue
        if not relative and (min(fractions) < -OVERSHOOT or max(fractions) > 1 + OVERSHOOT):
            size = f"{picture.width}x{picture.height}"
            message = f"'{box.name}' box {_shown(box)} sticks out of {item.source} ({size}); clipped"
            problems.append(warning("box-outside", box.where, message))
        result.append(label)
    return tuple(sorted(result)), problems


def _fractions(edges: tuple[float, float, float, float], picture: Picture) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = edges
    return x0 / picture.width, y0 / picture.height, x1 / picture.width, y1 / picture.height


def _clip(edges: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Bring edges into the image, except those that only rounding put outside: a snapshot read again stays itself."""
    x0, y0, x1, y1 = (edge if -OVERSHOOT <= edge <= 1 + OVERSHOOT else min(max(edge, 0.0), 1.0) for edge in edges)
    return x0, y0, x1, y1


def _label(index: int, edges: tuple[float, float, float, float]) -> Label:
    x0, y0, x1, y1 = edges
    return index, round((x0 + x1) / 2, 6), round((y0 + y1) / 2, 6), round(x1 - x0, 6), round(y1 - y0, 6)


def _shown(box: Box) -> str:
    return f"({', '.join(f'{edge:g}' for edge in box.edges)})"


def duplicates(
    items: Sequence[Item], pictures: Sequence[Picture], found: Sequence[tuple[Label, ...]]
) -> tuple[list[int], list[Problem]]:
    """Return the indices of the images to keep: of equal bytes in one split the first, if the labels agree."""
    first: dict[tuple[Split | None, str], int] = {}
    problems: list[Problem] = []
    for index, (item, picture) in enumerate(zip(items, pictures, strict=True)):
        before = first.setdefault((item.split, picture.sha256), index)
        if before == index:
            continue
        if found[before] == found[index]:
            message = f"the same image as {items[before].source}, with the same labels; left out"
            problems.append(warning("duplicate-image", item.source, message))
        else:
            message = f"the same image as {items[before].source}, with other labels; correct or remove one of them"
            problems.append(error("conflicting-labels", item.source, message))
    return sorted(first.values()), problems


def empty_classes(samples: Sequence[Sample], classes: Sequence[str]) -> Iterator[Problem]:
    """A class without a box in a split cannot be learnt from it, chosen on it or scored on it."""
    for split in SPLITS:
        seen = {label[0] for sample in samples if sample.split == split for label in sample.labels}
        absent = [f"'{name}'" for index, name in enumerate(classes) if index not in seen]
        if absent:
            yield warning("class-absent", split, f"no box of {', '.join(absent)} in {split}")
