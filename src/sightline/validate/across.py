"""The rules that compare images with each other: leakage between splits, copies within one, missing splits.

A copy that lies in two splits is a finding of the split that is held out: test before val before train.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from sightline.policy import Policy
from sightline.validate import near
from sightline.validate.dataset import Found
from sightline.validate.index import Index
from sightline.validate.pictures import look_closer
from sightline.validate.scan import add

CLOSER = 64  # side of the thumbnails that confirm a leaked copy
CLOSER_LEVELS = 3.0  # times near_levels: a smaller place averages less of the encoding noise away
SHAPE = 0.02  # relative difference of the aspect ratio up to which two pictures have the same shape
HELD_OUT = "CASE split WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END"

GREY = (
    "INSERT INTO problem "
    "SELECT id, 'greyscale-image', source, 'has one channel; others have colours', NULL, 0, NULL, 0 "
    "FROM item WHERE grey AND EXISTS (SELECT 1 FROM item WHERE grey = 0)"
)


def compare(index: Index, policy: Policy) -> None:
    """Write what is found across images into the index, and leave out copies within a split."""
    with index.together():
        _copies_within(index)
        index.rows(GREY)
        add_all(index, _leaked(index, "leaked-image", "sha256", "is byte for byte the same as"))
        add_all(index, _leaked(index, "leaked-augmentation", "origin", "is an augmented copy of the same source as"))
    wanted = any(policy.of(rule).severity != "off" for rule in ("leaked-copy", "near-duplicate"))
    if wanted and policy.thresholds.decode:
        with index.together():
            add_all(index, _near(index, policy.thresholds.near_levels))


def add_all(index: Index, found: Iterable[tuple[int, Found]]) -> None:
    """Write findings about items."""
    for item, one in found:
        add(index, item, [one])


def _copies_within(index: Index) -> None:
    """Keep the first of equal images in a split."""
    rows = index.rows(
        "SELECT id, split, sha256, source, labels FROM item WHERE (split, sha256) IN "
        "(SELECT split, sha256 FROM item WHERE sha256 IS NOT NULL GROUP BY 1, 2 HAVING COUNT(*) > 1) "
        "ORDER BY split, sha256, source"
    )
    first: tuple[int, str, str, str, bytes] | None = None
    for row in rows:
        if first is None or row[1:3] != first[1:3]:
            first = row
            continue
        if row[4] == first[4]:
            found = Found("duplicate-image", row[3], f"is the same image as {first[3]}, with the same labels")
        else:
            found = Found("conflicting-labels", row[3], f"is the same image as {first[3]}, with other labels")
        add(index, row[0], [found])
        index.rows("UPDATE item SET dropped = ? WHERE id = ?", (found.rule, row[0]))


def _leaked(index: Index, rule: str, column: str, words: str) -> Iterator[tuple[int, Found]]:
    """Yield the held-out copies of what lies in several splits, naming one copy that stays."""
    rows = index.rows(
        f"SELECT id, split, {column}, source FROM item WHERE dropped IS NULL AND {column} IN "
        f"(SELECT {column} FROM item WHERE {column} IS NOT NULL AND split != '' AND dropped IS NULL GROUP BY 1 "
        f"HAVING COUNT(DISTINCT split) > 1) ORDER BY {column}, {HELD_OUT}, source"
    )
    first: tuple[int, str, str, str] | None = None
    for row in rows:
        if first is None or row[2] != first[2]:
            first = row
        elif row[1] != first[1]:
            index.rows("UPDATE item SET kin = ? WHERE id = ?", (first[0], row[0]))
            yield row[0], Found(rule, row[3], f"of {row[1]} {words} {first[3]} of {first[1]}", badness=len(row[1]))


def _near(index: Index, levels: float) -> Iterator[tuple[int, Found]]:
    """Yield one finding for each image that looks the same as another one, which becomes its kin."""
    told: set[int] = set()
    columns = f"id, split, source, image, sha256, width, height, thumb, origin, {HELD_OUT}"
    for pair in near.candidates(index):
        if told.issuperset(pair):
            continue
        a, b = index.rows(f"SELECT {columns} FROM item WHERE id IN (?, ?) ORDER BY {HELD_OUT}, source", pair)
        same_source = a[8] is not None and a[8] == b[8]  # told by a rule of its own
        if b[0] in told or a[4] == b[4] or same_source or not _same_shape(a[5:7], b[5:7]):
            continue
        if not near.alike(a[7], b[7], levels):
            continue
        if a[1] == b[1]:
            told.add(b[0])
            index.rows("UPDATE item SET kin = ? WHERE id = ?", (a[0], b[0]))
            yield b[0], Found("near-duplicate", b[2], f"looks the same as {a[2]}")
        elif _confirmed(a[3], b[3], levels):
            told.add(b[0])
            index.rows("UPDATE item SET kin = ? WHERE id = ?", (a[0], b[0]))
            yield b[0], Found("leaked-copy", b[2], f"of {b[1]} looks the same as {a[2]} of {a[1]}", badness=1)


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) <= SHAPE


def _confirmed(a: bytes, b: bytes, levels: float) -> bool:
    """Compare two images again at a size at which a small object makes a difference."""
    looks = [look_closer(os.fsdecode(path), CLOSER) for path in (a, b)]
    if looks[0] is None or looks[1] is None:
        return False
    first, second = (np.frombuffer(look, np.uint8).astype(np.int16) for look in looks if look)
    return bool(np.abs(first - second).max() <= CLOSER_LEVELS * levels)
