"""Makes the splits that a source lacks, by the content of its images.

Each image has a place in [0, 1): the first eight bytes of its sha256 as a fraction. Below 0.70 is train, below 0.85
val, the rest test. A place never changes, so a growing set moves no image from test to train. Related images (copies,
augmentations of one source, images that look the same) share the place of the first of them by name, so a video that
goes on stays in its split. Only an image that comes first in its group, or that joins two groups, moves others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from sightline.datasets.types import missing
from sightline.documents import Split
from sightline.errors import DataError
from sightline.validate.index import Index
from sightline.validate.index.rows import SplitKey

VAL_FROM, TEST_FROM = 0.70, 0.85


def place(sha256: str) -> float:
    """Return the place in [0, 1) of an image, by its sha256 in hexadecimal."""
    return int(sha256[:16], 16) / 2**64


def assign(index: Index, name: str, declared: Collection[Split], *, make: bool = True) -> str | None:
    """Assign a split to each image of the index; return a sentence about the splits made, None if none were.

    Without `make`, each image keeps its declared split, and images without one become train. Raises DataError for a
    declared split without images, for other splits without train, and for too few images to make splits from.
    """
    with index.transaction():
        if not make:
            index.splits.take_declared_or_train()
            return None
        index.splits.take_declared()
        _check_declared(index, name, declared)
        absent: list[Split] = [split for split in missing(declared) if split != "train"]
        if not absent:
            index.splits.leave_undeclared("no-split", "is in no split; left out")
            return None
        for images in index.splits.pool():
            index.splits.assign([(_by_place(place(_key(image)), absent), image.id) for image in images])
        _fill(index, name, absent)
        return _sentence(declared, absent, index.splits.pool_counts())


def _check_declared(index: Index, name: str, declared: Collection[Split]) -> None:
    for split in sorted(declared):
        if not index.splits.is_declared(split):
            raise DataError(
                f"{name}: the {split} split is declared but has no images. Put labelled images into it, or remove "
                "the declaration, and it is made from train by content hash."
            )
    if declared and "train" not in declared:
        raise DataError(
            f"{name}: got only {' and '.join(sorted(declared))}, expected a train split as well. "
            "Add it, or remove the split names, and all three are made by content hash."
        )


def _key(image: SplitKey) -> str:
    """Return the hash that decides the split: of the name of the augmented image, otherwise of the image."""
    return hashlib.sha256(image.augmented_from.encode()).hexdigest() if image.augmented_from else image.sha256


def _fill(index: Index, name: str, absent: list[Split]) -> None:
    """Move one group of the largest split to each empty one. Raises DataError for too few images."""
    different = index.splits.pool_groups()
    if different <= len(absent):
        raise DataError(
            f"{name}: got {different} different image{'s' * (different != 1)} to make "
            f"{', '.join(('train', *absent))} from, expected at least {len(absent) + 1}. Add labelled images."
        )
    for split in ("train", *absent):
        if not index.splits.pool_has(split):
            index.splits.move_first_group(split)


def _by_place(where: float, absent: list[Split]) -> Split:
    if where >= TEST_FROM and "test" in absent:
        return "test"
    return "val" if VAL_FROM <= where < TEST_FROM and "val" in absent else "train"


def _sentence(declared: Collection[Split], absent: list[Split], made: dict[str, int]) -> str:
    counts = [f"{made[split]} {split}" for split in ("train", *absent)]
    if not declared:
        return f"The source has no splits: made by content hash in the ratio 70:15:15, {', '.join(counts)} images."
    return (
        f"The source has no {' and no '.join(absent)} split: 15 % of the train images each by content hash, "
        f"now {', '.join(counts)} images."
    )
