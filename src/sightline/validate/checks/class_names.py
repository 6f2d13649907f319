"""Finds classes whose names differ only in spelling details, and merges them for a repaired copy."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from sightline.datasets.class_keys import name_key
from sightline.datasets.types import Edges
from sightline.policy import Thresholds
from sightline.rules import Issue
from sightline.validate.checks.labels import overlapping
from sightline.validate.index import Index
from sightline.validate.index.rows import as_array, unpack


def similar(classes: Sequence[str]) -> list[list[int]]:
    """Return groups of positions of classes whose names are equal but for case, separators and Unicode form."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        groups.setdefault(name_key(name), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def find(classes: Sequence[str]) -> Iterator[Issue]:
    """Yield an issue for each group of similar names."""
    for group in similar(classes):
        names = ", ".join(f"'{name}'" for name in _distinct([classes[index] for index in group]))
        message = f"{names} differ only in case, white space, separators or Unicode form"
        yield Issue("similar-names", f"class {classes[group[0]]}", message, badness=len(group))


def _distinct(names: list[str]) -> list[str]:
    """Return names that a reader can tell apart: invisible characters escaped, or if need be all but ASCII."""
    shown = ["".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name) for name in names]
    if len({unicodedata.normalize("NFC", name) for name in shown}) < len(names):
        return [name.encode("unicode_escape").decode() for name in names]
    return shown


def merge(
    index: Index, classes: list[str], renumber: dict[int, int], thresholds: Thresholds
) -> tuple[list[str], dict[int, int], dict[int, set[int]]]:
    """Merge classes with similar names.

    `renumber` maps class numbers of labels in the index to positions in `classes`. Returns the merged classes and
    numbers, and by image id the positions of boxes that now repeat another one. Of a group, the name of most boxes is
    kept, without surrounding white space.
    """
    groups = similar(classes)
    if not groups:
        return classes, renumber, {}
    boxes = _boxes(index, renumber, len(classes))
    place: dict[int, int] = {}  # of each class in a group, the position of the class that it becomes
    kept = list(classes)
    for group in groups:
        best = max(group, key=lambda one: (boxes[one], -one))
        kept[group[0]] = classes[best].strip()
        place |= dict.fromkeys(group, group[0])
    stay = [one for one in range(len(classes)) if place.get(one, one) == one]
    new = {one: stay.index(place.get(one, one)) for one in range(len(classes))}
    merged = {number: new[one] for number, one in renumber.items()}
    return [kept[one] for one in stay], merged, _repeated(index, merged, renumber, thresholds)


def _boxes(index: Index, renumber: dict[int, int], classes: int) -> list[int]:
    counts = [0] * classes
    for image in index.images.labelled():
        for number in as_array(image.labels)[:, 0].tolist():
            counts[renumber[number]] += 1
    return counts


def _repeated(
    index: Index, merged: dict[int, int], before: dict[int, int], thresholds: Thresholds
) -> dict[int, set[int]]:
    """Return, by image id, the positions of boxes that repeat another one: objects labelled under two spellings."""
    omitted = {}
    for image in index.images.labelled():
        labels = list(unpack(image.labels))
        if len({before[label[0]] for label in labels}) == len({merged[label[0]] for label in labels}):
            continue
        edges: list[Edges] = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for _, x, y, w, h in labels]
        doubled, _ = overlapping([merged[label[0]] for label in labels], edges, thresholds)
        if doubled:
            omitted[image.id] = set(doubled)
    return omitted
