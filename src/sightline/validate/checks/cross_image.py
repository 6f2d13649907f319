"""The rules that compare images with each other: leakage between splits, and copies within one.

A copy that lies in two splits is a finding of the split that is held out: test before val before train. Whatever the
policy says, images that belong together become one family, which the splits that are made here keep together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sightline.policy import Policy
from sightline.rules import Issue, ids
from sightline.validate.checks.copies import Copies
from sightline.validate.checks.image_groups import Kin
from sightline.validate.index import DISTINCT, LIVE, Index

HELD_OUT = "CASE split WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END"
MADE = "CASE final WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END"
CROSSINGS = ((1, 0), (2, 0), (2, 1))  # a held-out split, and one that comes before it
SPLITS = 3  # train, val and test
RULES = ids(lambda rule: rule.compares)

GREY = "INSERT INTO problem SELECT id, 'greyscale-image', source, ?, NULL, 0, NULL, 0 FROM item WHERE grey = ?"


def compare(index: Index, policy: Policy, *, films: bool = True) -> None:
    """Write what is found across images into the index, leave out copies within a split, and note which are a family.

    With `films`, images of the same ground that are alike from afar are a family as well: what splits that are made
    keep together. Where that would leave fewer families than splits, as of one fixed camera, only copies are.
    """
    _copies_within(index)
    _grey(index)
    add_all(index, _leaked(index, "leaked-image", "sha256", "is byte for byte the same as"))
    add_all(index, _leaked(index, "leaked-augmentation", "origin", "is an augmented copy of the same source as"))
    kin = Kin(index)
    kin.by("sha256")
    kin.by("origin")
    if policy.thresholds.decode:
        add_all(index, _near(index, policy.thresholds.near_levels, kin, films))
    else:
        kin.write()


def add_all(index: Index, found: Iterable[tuple[int, Issue]]) -> None:
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
            found = Issue("duplicate-image", row[3], f"is the same image as {first[3]}, with the same labels")
        else:
            found = Issue("conflicting-labels", row[3], f"is the same image as {first[3]}, with other labels")
        index.add(row[0], [found])
        index.rows("UPDATE item SET dropped = ? WHERE id = ? AND dropped IS NULL", (found.rule, row[0]))


def _leaked(index: Index, rule: str, column: str, words: str) -> Iterator[tuple[int, Issue]]:
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
            yield row[0], Issue(rule, row[3], f"of {row[1]} {words} {first[3]} of {first[1]}", badness=len(row[1]))
            if row[5] == first[5] and row[4] != first[4]:
                message = f"is the same image as {first[3]} of {first[1]}, with other labels"
                yield row[0], Issue("conflicting-labels", row[3], message)


def _near(index: Index, levels: float, kin: Kin, films: bool) -> Iterator[tuple[int, Issue]]:
    """Yield a finding for each image that looks the same as one of an earlier split, or as an earlier one of its own.

    What looks the same becomes one family.
    """
    copies, rank = Copies(index, levels, grounds=films), _ranks(index, HELD_OUT)
    groups = [
        copies.codes.of(np.array([rank[id] == held_out for id in copies.codes.ids], bool)) for held_out in range(3)
    ]
    leaked = kin.bytes()
    for held_out, earlier in CROSSINGS:
        for pair in copies.pairs(groups[held_out], groups[earlier], lambda image, _: not leaked[image]):
            if pair.copy:
                leaked[pair.image] = True
                kin.join(pair.image, pair.other)
                a, b = copies.item(pair.other), copies.item(pair.image)
                message = f"of {b.split} looks the same as {a.source} of {a.split}"
                yield b.id, Issue("leaked-copy", b.source, message)
    within, partner = Kin(index), array("l", bytes(kin.above.itemsize * kin.size))
    scenes = kin.copy()
    for group in groups:
        for pair in copies.pairs(group, group, lambda image, other: not (partner[image] and scenes.same(image, other))):
            if pair.ground:
                scenes.join(pair.image, pair.other)
            if pair.copy:
                partner[pair.image] = partner[pair.image] or pair.other
                partner[pair.other] = partner[pair.other] or pair.image
                within.join(pair.image, pair.other)
                kin.join(pair.image, pair.other)
    (scenes if films and not scenes.few(SPLITS) else kin).write()
    met = kin.bytes()
    for id, source in index.rows("SELECT id, source FROM item ORDER BY source, id"):
        if partner[id] and met[within.head(id)]:
            yield id, Issue("near-duplicate", source, f"looks the same as {copies.item(partner[id]).source}")
        met[within.head(id)] = True


def torn(index: Index, policy: Policy) -> bool:
    """Join what looks the same and lies in different splits that were made; tells whether there was any."""
    if not policy.thresholds.decode:
        return False
    kin, copies, rank = Kin(index), Copies(index, policy.thresholds.near_levels), _ranks(index, MADE)
    kin.by("kin")
    live = kin.bytes()
    for (id,) in index.rows(f"SELECT id FROM item WHERE {LIVE} AND final IS NOT NULL"):
        live[id] = True
    ids = copies.codes.ids
    groups = [copies.codes.of(np.array([live[id] and rank[id] == split for id in ids], bool)) for split in range(3)]
    found = False
    for held_out, earlier in CROSSINGS:
        for pair in copies.pairs(groups[held_out], groups[earlier], lambda image, other: not kin.same(image, other)):
            if pair.copy:
                kin.join(pair.image, pair.other)
                found = True
    if found:
        kin.write()
    return found


def _ranks(index: Index, order: str) -> bytearray:
    """Return for each id how late its split comes among train, val and test."""
    rank = Kin(index).bytes()
    for id, held_out in index.rows(f"SELECT id, {order} FROM item"):
        rank[id] = held_out
    return rank
