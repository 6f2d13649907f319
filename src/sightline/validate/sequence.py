"""Runs the checks of a whole set in order; each builds on what was done about the issues before it.

The gate and `--fix` run the same checks and differ in what they do about issues: see `Treatment`.
"""

from __future__ import annotations

from typing import Protocol

from sightline.datasets.types import Reading
from sightline.validate import canonical_layout
from sightline.validate.checks import class_names, conventions, pairing
from sightline.validate.index import Index, IndexedDataset

Numbers = dict[int, int]  # from the class numbers of labels in the index to positions among the class names


class Treatment(Protocol):
    """What is done about issues: images are left out or repaired.

    `omitted` has the positions of left-out labels by image id.
    """

    omitted: dict[int, set[int]]

    def images(self) -> None:
        """Treat issues about single images and about the set as scanned."""

    def copies(self) -> None:
        """Compare images with each other, and treat the issues."""

    def classes(self, names: list[str], numbers: Numbers) -> tuple[list[str], Numbers]:
        """Return the names and numbers of the classes that are kept."""

    def splits(self) -> None:
        """Give each image its split."""


def run(index: Index, reading: Reading, voc_origin: int, name: str, treatment: Treatment) -> IndexedDataset:
    """Check a set that is in the index after a scan, and return the images that `treatment` keeps.

    `name` is the name of the set in messages. Raises what `treatment` raises.
    """
    title = reading.folder.title if reading.folder else name
    index.issues.link_to_images()
    pairing.find(index)
    with index.transaction():
        index.issues.add(None, conventions.find(index, reading.format, title))
    treatment.images()
    treatment.copies()
    classes, numbers = canonical_layout.number_classes(index, reading, voc_origin, title)
    with index.transaction():
        index.issues.add(None, class_names.find(classes))
    classes, numbers = treatment.classes(classes, numbers)
    treatment.splits()
    index.images.name_all()
    return IndexedDataset(index, classes, numbers, treatment.omitted)
