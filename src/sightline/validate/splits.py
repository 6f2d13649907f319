"""Makes the splits that a source lacks, by the content of its images.

Each image has a place in [0, 1): the first eight bytes of its sha256. Below 0.70 is train, below 0.85 val, the rest
test. A place never changes, so a set that grows moves no image from test to train. Images that belong together, copies
of one source and pictures that look the same, share the place of their first by name: a film that goes on stays where
it is. Only an image that comes before all others of its family, or that makes two families one, takes others along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

from sightline.datasets.types import missing
from sightline.documents import Split
from sightline.errors import DataError
from sightline.validate.index import LIVE, Index

VAL_FROM, TEST_FROM = 0.70, 0.85
PAGE = 10_000  # rows that are in memory at a time


def place(sha256: str) -> float:
    """Return the image's place in [0, 1)."""
    return int(sha256[:16], 16) / 2**64


def assign(index: Index, name: str, declared: Collection[Split], *, make: bool = True) -> str | None:
    """Give each image of the index its split; returns a sentence on what was made, None where nothing was.

    Without `make` each keeps the split that it has in the source, and what has none is train.

    Raises DataError: a declared split without images, no train images although other splits exist, or too few images
    to make splits from.
    """
    with index.together():
        if not make:
            own = "CASE split WHEN '' THEN 'train' ELSE split END"
            index.rows(f"UPDATE item SET final = {own} WHERE {LIVE} AND final IS NOT {own}")
            return None
        index.rows(f"UPDATE item SET final = split WHERE {LIVE} AND split != '' AND final IS NOT split")
        _check_declared(index, name, declared)
        absent: list[Split] = [split for split in missing(declared) if split != "train"]
        if not absent:
            nowhere = f"{LIVE} AND split = ''"
            columns = "id, 'no-split', source, 'is in no split; left out', NULL, 0, NULL, 0"
            index.rows(f"INSERT INTO problem SELECT {columns} FROM item WHERE {nowhere}")
            index.rows(f"UPDATE item SET final = NULL WHERE {nowhere} AND final IS NOT NULL")
            return None
        pool = f"{LIVE} AND split IN ('', 'train')"
        for rows in _pages(index, pool):
            index.many(
                "UPDATE item SET final = ? WHERE id = ?", [(_by_place(place(key), absent), id) for id, key in rows]
            )
        _fill(index, name, absent, pool)
        counts = dict(index.rows(f"SELECT final, COUNT(*) FROM item WHERE {pool} GROUP BY 1").fetchall())
        return _sentence(declared, absent, counts)


def _check_declared(index: Index, name: str, declared: Collection[Split]) -> None:
    for split in sorted(declared):
        if not index.value("SELECT EXISTS (SELECT 1 FROM item WHERE split = ?)", (split,)):
            raise DataError(
                f"{name}: the {split} split is named but holds no images. Put labelled images into it, or remove its "
                "mention, and it is made from train by content hash."
            )
    if declared and "train" not in declared:
        raise DataError(
            f"{name}: got only {' and '.join(sorted(declared))}, expected a train split as well. "
            "Add it, or remove the split names, and all three are made by content hash."
        )


def _pages(index: Index, pool: str) -> Iterator[list[tuple[int, str]]]:
    """Yield images as (id, hash that decides): their own, or that of the head of their family."""
    last = -1
    while rows := index.rows(
        "SELECT item.id, COALESCE(head.sha256, item.sha256), COALESCE(head.origin, item.origin) "
        f"FROM (SELECT * FROM item WHERE {pool} AND id > ? ORDER BY id LIMIT ?) AS item "
        "LEFT JOIN item AS head ON head.id = item.kin ORDER BY item.id",
        (last, PAGE),
    ).fetchall():
        last = rows[-1][0]
        yield [(id, hashlib.sha256(origin.encode()).hexdigest() if origin else key) for id, key, origin in rows]


def _fill(index: Index, name: str, absent: list[Split], pool: str) -> None:
    """Give a split that stayed empty the smallest hashes of the largest one. Raises DataError for too few images."""
    different = int(index.value(f"SELECT COUNT(DISTINCT COALESCE(kin, id)) FROM item WHERE {pool}"))
    if different <= len(absent):
        raise DataError(
            f"{name}: got {different} different image{'s' * (different != 1)} to make "
            f"{', '.join(('train', *absent))} from, expected at least {len(absent) + 1}. Add labelled images."
        )
    for split in ("train", *absent):
        if index.value(f"SELECT EXISTS (SELECT 1 FROM item WHERE {pool} AND final = ?)", (split,)):
            continue
        largest = index.value(
            f"SELECT final FROM item WHERE {pool} GROUP BY 1 ORDER BY COUNT(DISTINCT COALESCE(kin, id)) DESC"
        )
        group = index.value(
            f"SELECT COALESCE(kin, id) FROM item WHERE {pool} AND final = ? ORDER BY sha256", (largest,)
        )
        index.rows(f"UPDATE item SET final = ? WHERE {pool} AND COALESCE(kin, id) = ?", (split, group))


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
