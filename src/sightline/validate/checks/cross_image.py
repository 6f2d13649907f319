"""The rules that compare images with each other: leakage between splits, and copies within one.

A copy that lies in two splits is a finding of the split that is held out: test before val before train. Whatever the
policy says, images that belong together become one group, which the splits that are made here keep together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from sightline.policy import Policy
from sightline.rules import Issue, rule_ids
from sightline.validate.checks.copies import Copies
from sightline.validate.checks.image_groups import ImageGroups
from sightline.validate.index import Index
from sightline.validate.index.comparisons import SameColumn, SplitColumn
from sightline.validate.index.rows import ImageCopy

CROSSINGS = ((1, 0), (2, 0), (2, 1))  # a held-out split, and one that comes before it
SPLITS = 3  # train, val and test
RULES = rule_ids(lambda rule: rule.compares)


def compare(index: Index, policy: Policy, *, films: bool = True) -> None:
    """Write what is found across images into the index, leave out copies within a split, and note which are a group.

    With `films`, images of the same ground that are alike from afar are a group as well: what splits that are made
    keep together. Where that would leave fewer groups than splits, as of one fixed camera, only copies are.
    """
    _copies_within(index)
    _grey(index)
    add_all(index, _leaked(index, "leaked-image", "sha256", "is byte for byte the same as"))
    words = "is an augmented copy of the same source as"
    add_all(index, _leaked(index, "leaked-augmentation", "augmented_from", words))
    groups = ImageGroups(index)
    groups.by("sha256")
    groups.by("augmented_from")
    if policy.thresholds.decode:
        add_all(index, _near(index, policy.thresholds.near_levels, groups, films))
    else:
        groups.write()


def add_all(index: Index, found: Iterable[tuple[int, Issue]]) -> None:
    """Write issues of images."""
    for image, issue in found:
        index.issues.add(image, [issue])


def _grey(index: Index) -> None:
    """Name the images of the rarer kind where some have one channel and some have colours."""
    grey, coloured = index.comparisons.count_grey()
    if grey and coloured:
        odd = grey <= coloured
        words = "has one channel; {} images have colours" if odd else "has colours; {} images have one channel"
        index.comparisons.add_of_grey("greyscale-image", words.format(max(grey, coloured)), odd)


def _copies_within(index: Index) -> None:
    """Keep the first of equal images in a split: one that can be used, if any can."""
    first: ImageCopy | None = None
    for image in index.comparisons.copies_within_splits():
        if first is None or (image.declared_split, image.sha256) != (first.declared_split, first.sha256):
            first = image
            continue
        if image.labels == first.labels:
            rule, words = "duplicate-image", "the same labels"
        else:
            rule, words = "conflicting-labels", "other labels"
        index.issues.add(image.id, [Issue(rule, image.source, f"is the same image as {first.source}, with {words}")])
        index.comparisons.drop(image.id, rule)


def _leaked(index: Index, rule: str, same: SameColumn, words: str) -> Iterator[tuple[int, Issue]]:
    """Yield the held-out copies of what lies in several splits, naming one copy that stays."""
    first: ImageCopy | None = None
    for image in index.comparisons.held_out_copies(same, but="leaked-image"):
        split, source = image.declared_split, image.source
        if first is None or image.key != first.key:
            first = image
        elif split != first.declared_split:
            stays = f"{first.source} of {first.declared_split}"
            yield image.id, Issue(rule, source, f"of {split} {words} {stays}", badness=len(split))
            if image.sha256 == first.sha256 and image.labels != first.labels:
                message = f"is the same image as {stays}, with other labels"
                yield image.id, Issue("conflicting-labels", source, message)


def _near(index: Index, levels: float, groups: ImageGroups, films: bool) -> Iterator[tuple[int, Issue]]:
    """Yield a finding for each image that looks the same as one of an earlier split, or as an earlier one of its own.

    What looks the same becomes one group.
    """
    copies, rank = Copies(index, levels, grounds=films), _ranks(index, "declared_split")
    splits = [
        copies.codes.of(np.array([rank[id] == held_out for id in copies.codes.ids], bool)) for held_out in range(3)
    ]
    leaked = groups.bytes()
    for held_out, earlier in CROSSINGS:
        for pair in copies.pairs(splits[held_out], splits[earlier], lambda image, _: not leaked[image]):
            if pair.copy:
                leaked[pair.image] = True
                groups.join(pair.image, pair.other)
                a, b = copies.image(pair.other), copies.image(pair.image)
                message = f"of {b.declared_split} looks the same as {a.source} of {a.declared_split}"
                yield b.id, Issue("leaked-copy", b.source, message)
    within, partner = ImageGroups(index), array("l", bytes(groups.above.itemsize * groups.size))
    scenes = groups.copy()
    for split in splits:
        for pair in copies.pairs(split, split, lambda image, other: not (partner[image] and scenes.same(image, other))):
            if pair.ground:
                scenes.join(pair.image, pair.other)
            if pair.copy:
                partner[pair.image] = partner[pair.image] or pair.other
                partner[pair.other] = partner[pair.other] or pair.image
                within.join(pair.image, pair.other)
                groups.join(pair.image, pair.other)
    (scenes if films and not scenes.few(SPLITS) else groups).write()
    met = groups.bytes()
    for id, source in index.comparisons.by_source():
        if partner[id] and met[within.head(id)]:
            yield id, Issue("near-duplicate", source, f"looks the same as {copies.image(partner[id]).source}")
        met[within.head(id)] = True


def torn(index: Index, policy: Policy) -> bool:
    """Join what looks the same and lies in different splits that were made; tells whether there was any."""
    if not policy.thresholds.decode:
        return False
    groups, copies = ImageGroups(index), Copies(index, policy.thresholds.near_levels)
    rank = _ranks(index, "assigned_split")
    groups.by("image_group")
    live = groups.bytes()
    for id in index.comparisons.in_splits():
        live[id] = True
    ids = copies.codes.ids
    splits = [copies.codes.of(np.array([live[id] and rank[id] == split for id in ids], bool)) for split in range(3)]
    found = False
    for held_out, earlier in CROSSINGS:
        for pair in copies.pairs(splits[held_out], splits[earlier], lambda image, other: not groups.same(image, other)):
            if pair.copy:
                groups.join(pair.image, pair.other)
                found = True
    if found:
        groups.write()
    return found


def _ranks(index: Index, split: SplitColumn) -> bytearray:
    """Return for each id how late its split comes among train, val and test."""
    rank = ImageGroups(index).bytes()
    for id, late in index.comparisons.ranks(split):
        rank[id] = late
    return rank
