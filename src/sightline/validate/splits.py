"""Makes the splits that a source lacks, by the content of its images.

Each image has a place in [0, 1): the first eight bytes of its sha256. Below 0.70 is train, below 0.85 val, the rest
test. A place never changes, so a set that grows never moves an image from test to train.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sightline.artifacts import Split
from sightline.errors import DataError
from sightline.validate.dataset import missing

VAL_FROM, TEST_FROM = 0.70, 0.85


def place(sha256: str) -> float:
    """Return the image's place in [0, 1)."""
    return int(sha256[:16], 16) / 2**64


def assign(
    name: str, given: Sequence[Split | None], hashes: Sequence[str], declared: Collection[Split]
) -> tuple[list[Split], str | None]:
    """Return a split for each image, and a sentence on what was made, null where nothing was.

    `given` are the source's own splits, `declared` those it names. Raises DataError: a declared split without images,
    no train images although other splits exist, or too few images to make splits from.
    """
    _check_declared(name, given, declared)
    absent: list[Split] = [split for split in missing(declared) if split != "train"]
    if not absent:
        return [split for split in given if split], None
    pool = sorted({sha for sha, split in zip(hashes, given, strict=True) if split in (None, "train")})
    made = _divide(name, pool, absent)
    splits = [split if split in ("val", "test") else made[sha] for sha, split in zip(hashes, given, strict=True)]
    return splits, _sentence(declared, absent, made)


def _check_declared(name: str, given: Sequence[Split | None], declared: Collection[Split]) -> None:
    for split in sorted(declared):
        if split not in given:
            raise DataError(
                f"{name}: the {split} split is named and holds no images. Put labelled images into it, or remove its "
                "mention, and it is made from train by content hash."
            )
    if declared and "train" not in declared:
        raise DataError(
            f"{name}: got only {' and '.join(sorted(declared))}, expected a train split as well. "
            "Add it, or remove the split names, and all three are made by content hash."
        )


def _divide(name: str, pool: list[str], absent: list[Split]) -> dict[str, Split]:
    """Share the images out; a split that stays empty takes the smallest hashes of train."""
    if len(pool) <= len(absent):
        raise DataError(
            f"{name}: got {len(pool)} different image{'s' * (len(pool) != 1)} to make "
            f"{', '.join(('train', *absent))} from, expected at least {len(absent) + 1}. Add labelled images."
        )
    made: dict[str, Split] = {sha: _by_place(place(sha), absent) for sha in pool}
    for split in ("train", *absent):
        if split not in made.values():
            largest = max(("train", *absent), key=list(made.values()).count)
            made[next(sha for sha in pool if made[sha] == largest)] = split
    return made


def _by_place(where: float, absent: list[Split]) -> Split:
    if where >= TEST_FROM and "test" in absent:
        return "test"
    return "val" if VAL_FROM <= where < TEST_FROM and "val" in absent else "train"


def _sentence(declared: Collection[Split], absent: list[Split], made: dict[str, Split]) -> str:
    counts = [f"{list(made.values()).count(split)} {split}" for split in ("train", *absent)]
    if not declared:
        return f"The source has no splits: made by content hash in the ratio 70:15:15, {', '.join(counts)} images."
    return (
        f"The source has no {' and no '.join(absent)} split: 15 % of the train images each by content hash, "
        f"now {', '.join(counts)} images."
    )
