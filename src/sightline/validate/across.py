"""The rules that compare images with each other: leakage between splits, and copies within one.

A copy that lies in two splits is a finding of the split that is held out: test before val before train. Whatever the
policy says, images that belong together become kin, which the splits that are made here keep together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sightline.policy import Policy
from sightline.validate import near
from sightline.validate.dataset import Found
from sightline.validate.index import COPY, DISTINCT, Index
from sightline.validate.kin import Kin
from sightline.validate.pictures import look_closer

CLOSER = 64  # side of the thumbnails that confirm a copy
# Times near_levels, which makes 24. At 64 x 64 copies of 250 real pictures (PNG, half and third size, JPEG of quality
# 40 and 70, turned by EXIF) differed by at most 14 levels, different ones by at least 38.
CLOSER_LEVELS = 2.0
LOOKS = 16  # pairs of an image that are decoded again for a rule; a film has thousands that may be a copy
SHAPE = 0.02  # relative difference of the aspect ratio up to which two pictures have the same shape
HELD_OUT = "CASE split WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END"
COLUMNS = "source, split, image, sha256, width, height, thumb, origin"
RULES = (*COPY, "greyscale-image", "leaked-image", "leaked-augmentation", "leaked-copy", "near-duplicate")

GREY = "INSERT INTO problem SELECT id, 'greyscale-image', source, ?, NULL, 0, NULL, 0 FROM item WHERE grey = ?"


def compare(index: Index, policy: Policy) -> None:
    """Write what is found across images into the index, leave out copies within a split, and say who is kin to whom."""
    _copies_within(index)
    _grey(index)
    add_all(index, _leaked(index, "leaked-image", "sha256", "is byte for byte the same as"))
    add_all(index, _leaked(index, "leaked-augmentation", "origin", "is an augmented copy of the same source as"))
    kin = Kin(index)
    kin.by("sha256")
    kin.by("origin")
    if policy.thresholds.decode:
        add_all(index, _near(index, policy.thresholds.near_levels, kin))
    kin.write()


def add_all(index: Index, found: Iterable[tuple[int, Found]]) -> None:
    """Write findings about items."""
    for item, one in found:
        index.add(item, [one])


def _grey(index: Index) -> None:
    """Name the images of the rarer kind where some have one channel and some have colours."""
    grey, coloured = (int(index.value("SELECT COUNT(*) FROM item WHERE grey = ?", (kind,))) for kind in (1, 0))
    if grey and coloured:
        odd = int(grey <= coloured)
        words = "has one channel; {} images have colours" if odd else "has colours; {} images have one channel"
        index.rows(GREY, (words.format(max(grey, coloured)), odd))


def _copies_within(index: Index) -> None:
    """Keep the first of equal images in a split: one that can be used, if any can."""
    rows = index.rows(
        "SELECT id, split, sha256, source, labels FROM item WHERE (split, sha256) IN "
        "(SELECT split, sha256 FROM item WHERE sha256 IS NOT NULL GROUP BY 1, 2 HAVING COUNT(*) > 1) "
        "ORDER BY split, sha256, dropped IS NOT NULL, source"
    )
    first: tuple[int, str, str, str, bytes] | None = None
    for row in rows.fetchall():
        if first is None or row[1:3] != first[1:3]:
            first = row
            continue
        if row[4] == first[4]:
            found = Found("duplicate-image", row[3], f"is the same image as {first[3]}, with the same labels")
        else:
            found = Found("conflicting-labels", row[3], f"is the same image as {first[3]}, with other labels")
        index.add(row[0], [found])
        index.rows("UPDATE item SET dropped = ? WHERE id = ? AND dropped IS NULL", (found.rule, row[0]))


def _leaked(index: Index, rule: str, column: str, words: str) -> Iterator[tuple[int, Found]]:
    """Yield the held-out copies of what lies in several splits, naming one copy that stays."""
    told = f"{DISTINCT} AND id NOT IN (SELECT item FROM problem WHERE rule = 'leaked-image')"
    rows = index.rows(
        f"SELECT id, split, {column}, source, labels, sha256 FROM item WHERE {told} AND {column} IN "
        f"(SELECT {column} FROM item WHERE {column} IS NOT NULL AND split != '' AND {told} GROUP BY 1 "
        f"HAVING COUNT(DISTINCT split) > 1) ORDER BY {column}, {HELD_OUT}, source"
    ).fetchall()
    first: tuple[Any, ...] | None = None
    for row in rows:
        if first is None or row[2] != first[2]:
            first = row
        elif row[1] != first[1]:
            yield row[0], Found(rule, row[3], f"of {row[1]} {words} {first[3]} of {first[1]}", badness=len(row[1]))
            if row[5] == first[5] and row[4] != first[4]:
                message = f"is the same image as {first[3]} of {first[1]}, with other labels"
                yield row[0], Found("conflicting-labels", row[3], message)


def _near(index: Index, levels: float, kin: Kin) -> Iterator[tuple[int, Found]]:
    """Yield one finding of each rule for an image that looks the same as another one, and make the two kin."""
    rank = kin.bytes()
    looks = {"near-duplicate": kin.bytes(), "leaked-copy": kin.bytes()}
    for id, held_out in index.rows(f"SELECT id, {HELD_OUT} FROM item"):
        rank[id] = held_out
    for pair in near.candidates(index):
        first, second = pair if rank[pair[0]] <= rank[pair[1]] else pair[::-1]
        rule = "near-duplicate" if rank[first] == rank[second] else "leaked-copy"
        decided = looks[rule][second] >= LOOKS
        if decided and (rule == "leaked-copy" or kin.same(first, second)):
            continue
        a, b = (index.rows(f"SELECT {COLUMNS} FROM item WHERE id = ?", (id,)).fetchone() for id in (first, second))
        if not _comparable(a, b) or not near.alike(a[6], b[6], levels):
            continue
        if rule == "near-duplicate":
            kin.join(first, second)  # splits that are made had better keep together what is nearly the same
        if decided:
            continue
        looks[rule][second] += 1
        if _confirmed(a[2], b[2], levels):
            looks[rule][second] = LOOKS
            kin.join(first, second)
            which = (f"of {b[1]} ", f" of {a[1]}") if rule == "leaked-copy" else ("", "")
            yield second, Found(rule, b[0], f"{which[0]}looks the same as {a[0]}{which[1]}")


def _comparable(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Tell two of a like shape of which no other rule tells: not of equal bytes, not of one source."""
    same_source = a[7] is not None and a[7] == b[7]
    return a[3] != b[3] and not same_source and abs(a[4] * b[5] / (a[5] * b[4]) - 1) <= SHAPE


def _confirmed(a: bytes, b: bytes, levels: float) -> bool:
    """Compare two images again at a size at which a small object makes a difference."""
    looks = [look_closer(os.fsdecode(path), CLOSER) for path in (a, b)]
    if looks[0] is None or looks[1] is None:
        return False
    first, second = (np.frombuffer(look, np.uint8).astype(np.int16) for look in looks if look)
    return bool(np.abs(first - second).max() <= CLOSER_LEVELS * levels)
