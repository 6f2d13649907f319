"""The checks of a whole set, in the one order in which each builds on what was done about those before it.

The gate and a repair differ in what they do about what is found, not in what is looked for: see `Treatment`.
"""

from __future__ import annotations

from typing import Protocol

from sightline.datasets.types import Reading
from sightline.validate import canonical_layout
from sightline.validate.checks import class_names, conventions, pairing
from sightline.validate.index import Index, IndexedDataset

Numbers = dict[int, int]  # of the classes in the index's labels, each with its index among the class names


class Treatment(Protocol):
    """What is done about issues: images are left out, or repaired. `omitted` are label positions by image."""

    omitted: dict[int, set[int]]

    def images(self) -> None:
        """Treat what was found about single images, and about the set as it was scanned."""

    def copies(self) -> None:
        """Compare images with each other, and treat what is found."""

    def classes(self, names: list[str], numbers: Numbers) -> tuple[list[str], Numbers]:
        """Return the classes that are kept."""

    def splits(self) -> None:
        """Give each image its split."""


def run(index: Index, reading: Reading, voc_origin: int, name: str, treatment: Treatment) -> IndexedDataset:
    """Check the set of `name` that a scan left in the index; returns what `treatment` lets pass.

    Raises what `treatment` raises.
    """
    title = reading.folder.title if reading.folder else name
    index.issues.link_to_images()
    pairing.find(index)
    with index.together():
        index.issues.add(None, conventions.judge(index, reading.format, title))
    treatment.images()
    treatment.copies()
    classes, numbers = canonical_layout.number_classes(index, reading, voc_origin, title)
    with index.together():
        index.issues.add(None, class_names.find(classes))
    classes, numbers = treatment.classes(classes, numbers)
    treatment.splits()
    index.images.name_all()
    return IndexedDataset(index, classes, numbers, treatment.omitted)
