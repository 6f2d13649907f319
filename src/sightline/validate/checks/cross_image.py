"""Compares images with each other: leakage between splits, copies within a split, and groups of related images.

An issue about leakage belongs to the held-out split: test rather than val, val rather than train. Whatever the policy
says, related images form a group, which stays together when Sightline makes splits.
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
from sightline.validate.index.schema import COPY_RULES

CROSSINGS = ((1, 0), (2, 0), (2, 1))  # a held-out split, and an earlier one
SPLITS = 3  # train, val and test
RULES = rule_ids(lambda rule: rule.compares)


def compare(index: Index, policy: Policy, *, join_scenes: bool = True) -> None:
    """Write issues across images and groups of images into the index, and leave out copies within a split.

    Copies are always one group. With `join_scenes`, similar images of the same scene are one group too, unless that
    leaves fewer groups than splits, as with one fixed camera.
    """
    _copies_within(index)
    _greyscale(index)
    add_issues(index, _leaked(index, "leaked-image", "sha256", "is byte for byte the same as"))
    words = "is an augmented copy of the same source as"
    add_issues(index, _leaked(index, "leaked-augmentation", "augmented_from", words))
    groups = ImageGroups(index)
    groups.join_equal("sha256")
    groups.join_equal("augmented_from")
    if policy.thresholds.decode:
        add_issues(index, _near_duplicates(index, policy.thresholds.near_levels, groups, join_scenes))
    else:
        groups.write()


def add_issues(index: Index, found: Iterable[tuple[int, Issue]]) -> None:
    """Write issues of images, given as image id and issue, into the index."""
    for image, issue in found:
        index.issues.add(image, [issue])


def _greyscale(index: Index) -> None:
    """Add an issue about each greyscale image, or each colour image, whichever are fewer, where there are both."""
    grey, coloured = index.comparisons.count_greyscale()
    if grey and coloured:
        odd = grey <= coloured
        words = "has one channel; {} images have colours" if odd else "has colours; {} images have one channel"
        index.comparisons.add_about_greyscale("greyscale-image", words.format(max(grey, coloured)), odd)


def _copies_within(index: Index) -> None:
    """Keep the first of equal images in a split, a usable one if there is any; add an issue about the others."""
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
        if rule in COPY_RULES:
            index.comparisons.drop(image.id, rule)


def _leaked(index: Index, rule: str, same: SameColumn, words: str) -> Iterator[tuple[int, Issue]]:
    """Yield an issue for each held-out copy of an image that lies in several splits."""
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


def _near_duplicates(
    index: Index, levels: float, groups: ImageGroups, join_scenes: bool
) -> Iterator[tuple[int, Issue]]:
    """Yield an issue for each image that looks the same as one of an earlier split, or as an earlier one of its own.

    Images that look the same become one group.
    """
    copies, rank = Copies(index, levels, scenes=join_scenes), _ranks(index, "declared_split")
    splits = [
        copies.codes.select(np.array([rank[id] == held_out for id in copies.codes.ids], bool)) for held_out in range(3)
    ]
    leaked = groups.flags()
    for held_out, earlier in CROSSINGS:
        for pair in copies.pairs(splits[held_out], splits[earlier], lambda image, _: not leaked[image]):
            if pair.copy:
                leaked[pair.image] = True
                groups.join(pair.image, pair.other)
                a, b = copies.image(pair.other), copies.image(pair.image)
                message = f"of {b.declared_split} looks the same as {a.source} of {a.declared_split}"
                yield b.id, Issue("leaked-copy", b.source, message)
    within, partner = ImageGroups(index), array("l", bytes(groups.parents.itemsize * groups.size))
    scenes = groups.copy()
    for split in splits:
        for pair in copies.pairs(split, split, lambda image, other: not (partner[image] and scenes.same(image, other))):
            if pair.scene:
                scenes.join(pair.image, pair.other)
            if pair.copy:
                partner[pair.image] = partner[pair.image] or pair.other
                partner[pair.other] = partner[pair.other] or pair.image
                within.join(pair.image, pair.other)
                groups.join(pair.image, pair.other)
    (scenes if join_scenes and not scenes.fewer_than(SPLITS) else groups).write()
    seen = groups.flags()
    for id, source in index.comparisons.by_source():
        if partner[id] and seen[within.root(id)]:
            yield id, Issue("near-duplicate", source, f"looks the same as {copies.image(partner[id]).source}")
        seen[within.root(id)] = True


def join_across_splits(index: Index, policy: Policy) -> bool:
    """Join the groups of images that look the same but lie in different splits; return whether there were any."""
    if not policy.thresholds.decode:
        return False
    groups, copies = ImageGroups(index), Copies(index, policy.thresholds.near_levels)
    rank = _ranks(index, "assigned_split")
    groups.join_equal("image_group")
    assigned = groups.flags()
    for id in index.comparisons.in_splits():
        assigned[id] = True
    ids = copies.codes.ids
    splits = [
        copies.codes.select(np.array([assigned[id] and rank[id] == split for id in ids], bool)) for split in range(3)
    ]
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
    """Return for each image id the rank of its split: 0 train or none, 1 val, 2 test."""
    rank = ImageGroups(index).flags()
    for id, late in index.comparisons.split_ranks(split):
        rank[id] = late
    return rank
