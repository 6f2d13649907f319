"""Finds classes whose names differ only in how they are typed, and makes them one for a repaired copy."""

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


def alike(classes: Sequence[str]) -> list[list[int]]:
    """Return the classes that have nearly the name of another one, by index, those of one name together."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        groups.setdefault(name_key(name), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def find(classes: Sequence[str]) -> Iterator[Issue]:
    """Yield each group of such names."""
    for group in alike(classes):
        names = ", ".join(f"'{name}'" for name in _distinct([classes[index] for index in group]))
        message = f"{names} differ only in case, white space, separators or Unicode form"
        yield Issue("similar-names", f"class {classes[group[0]]}", message, badness=len(group))


def _distinct(names: list[str]) -> list[str]:
    """Return names as a reader can tell them apart: what is not seen is escaped, else all that is not ASCII."""
    shown = ["".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name) for name in names]
    if len({unicodedata.normalize("NFC", name) for name in shown}) < len(names):
        return [name.encode("unicode_escape").decode() for name in names]
    return shown


def merge(
    index: Index, classes: list[str], renumber: dict[int, int], thresholds: Thresholds
) -> tuple[list[str], dict[int, int], dict[int, set[int]]]:
    """Make classes of nearly the same name one; returns classes, numbers, and boxes that then repeat others, by image.

    A name is kept that most boxes have, without space around it.
    """
    groups = alike(classes)
    if not groups:
        return classes, renumber, {}
    boxes = _boxes(index, renumber, len(classes))
    place: dict[int, int] = {}  # of each class the index among all that stands for it
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
    """Return boxes that now repeat another one of their image: an object that was labelled under two spellings."""
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
