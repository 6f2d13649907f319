"""Finds image folders of a source that were not read.

Without a word, a split whose annotations are not recognised would just be gone, and another one be made in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sightline.validate.dataset import Folder, Found, folders, split_of
from sightline.validate.formats.files import PICTURES, names, some
from sightline.validate.formats.images import CONTAINERS
from sightline.validate.index import Index

DEPTH = 3  # folders below the source, as deep as annotations are looked for
LABELS = (".txt", ".xml")
HOMES = tuple(name.lower() for name in CONTAINERS)
NO_IMAGES = ("segmentationclass", "segmentationobject", "masks")  # pictures in which pixels are labels


def unused(folder: Folder, index: Index, read: set[str], *, listed: bool) -> Iterator[Found]:
    """Yield folders that look as if they were meant, and hold images that are not in the index.

    `read` are the folders of the images that are in it. With `listed`, of folders that were read in part, too.
    """
    known: dict[str, list[str]] = {}
    for place in read:
        known.setdefault(os.path.realpath(place), []).append(place)
    for home in filter(None, (folder.root, folder.images)):
        for place in map(os.fspath, folders(home, DEPTH)):
            if not folder.allows(place) or next(some(place, PICTURES, 1), None) is None:
                continue
            ways = known.get(os.path.realpath(place), [])
            if not (listed if ways else _meant(place, os.fspath(home))):
                continue
            left = len(names(place, PICTURES)) - sum(index.images_in(way) for way in ways)
            if left <= 0:
                continue
            many = f"{left} image{'s' * (left > 1)}"
            if ways:
                yield Found("no-split", folder.relative(place), f"{many} that no list names; left out")
            else:
                message = f"{many} that no annotation, list or description speaks of; left out"
                yield Found("unused-file", folder.relative(place), message)


def _meant(place: str, home: str) -> bool:
    """Tell whether a folder is named like a split or like a home of images, or holds labels; previews do not."""
    parts = place.removeprefix(home).lower().split("/")
    if any(part in NO_IMAGES for part in parts):
        return False
    named = any(part in HOMES or split_of(part) for part in parts)
    return named or (place != home and next(some(place, LABELS, 1), None) is not None)
