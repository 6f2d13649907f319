"""What a repaired copy changes, rule by rule, in the words of `changes.csv`."""

from __future__ import annotations

from typing import NamedTuple

WRITTEN = {  # what the copy has otherwise, just by being written from what was understood
    "clipped-box": "clipped the box to the image",
    "zero-area-box": "removed the box",
    "duplicate-box": "removed the repeated box",
    "missing-label": "wrote an empty label: the image counts as background",
    "label-name": "renamed the label after its image",
    "class-gap": "renumbered the classes",
    "duplicate-name": "merged the classes",
    "repeated-number": "renumbered the annotations",
    "crowd-region": "left out the crowd",
    "mask-ignored": "left out masks and keypoints",
    "grouping-class": "left out the class",
    "other-image": "corrected the name of the image",
    "class-numbers": "wrote the classes in the order of their numbers",
    "no-split": "left out what is in no split",
    "unused-file": "left out what no annotation leads to",
    "data-path": "corrected the paths",
    "orphan-label": "left out the label",
    "missing-image": "left out the annotation",
    "unsupported-suffix": "left out the image",
}
LEFT_OUT = {
    "unreadable-image": "left out the image",
    "truncated-image": "left out the image",
    "damaged-image": "left out the image: part of its picture is damaged",
    "huge-image": "left out the image",
    "turned-boxes": "left out the image: its boxes belong to the picture before it was turned",
    "size-mismatch": "left out the image: its boxes belong to a picture of another size",
    "label-syntax": "left out the image: an object in it cannot be read",
    "wrong-task": "left out the image: an object in it is not a box",
    "class-range": "left out the image: an object in it has no class",
    "box-outside": "left out the image: an object in it lies outside of it",
    "duplicate-id": "left out the image: it is unclear which boxes belong to it",
    "shared-label": "left out the image: its labels may belong to another image",
    "conflicting-labels": "left out the image: it is unclear which of its labels are right",
}
COPIES = {"duplicate-image": "removed the copy", "leaked-image": "removed the copy from the held-out split"}


class Change(NamedTuple):
    """One thing that was changed."""

    rule: str
    where: str
    change: str
