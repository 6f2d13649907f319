"""Finds image folders of a source that were not read.

Without a word, a split whose annotations are not recognised would just be gone, and another one be made in its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sightline.validate.dataset import IMAGE_SUFFIXES, Folder, Found, folders, split_of
from sightline.validate.formats.darknet import is_label
from sightline.validate.formats.files import PICTURES, names, some
from sightline.validate.formats.images import CONTAINERS
from sightline.validate.formats.voc import is_annotation
from sightline.validate.index import Index

DEPTH = 3  # folders below the source, as deep as annotations are looked for
PROBED = 5  # text files of a folder that are looked into
HOMES = tuple(name.lower() for name in CONTAINERS)
OTHERS = {  # words in the names of folders that hold pictures, and none to learn from
    *("mask", "masks", "segmentation", "segmentationclass", "segmentationobject", "panoptic", "stuffthingmaps"),
    *("semantic", "annotations", "depth", "runs", "predictions", "preview", "previews", "vis", "visualization"),
    *("visualizations", "thumbs", "thumbnails", "docs"),
}


def unused(folder: Folder, index: Index, read: set[str], *, listed: bool) -> Iterator[Found]:
    """Yield folders that look as if they were meant, and hold images that are not in the index.

    `read` are the folders of the images that are in it. With `listed`, of folders that were read in part, too.
    """
    known: dict[str, list[str]] = {}
    for place in read:
        known.setdefault(os.path.realpath(place), []).append(place)
    seen = set[str]()
    for home in filter(None, (folder.root, folder.images)):
        inside = home.resolve()
        for path in folders(home, DEPTH):
            place, real = os.fspath(path), os.path.realpath(path)
            if real in seen or not folder.allows(path) or not Path(real).is_relative_to(inside):
                continue
            seen.add(real)
            ways = known.get(real, [])
            if not (listed if ways else _meant(path, home)):
                continue
            left = len(names(place, IMAGE_SUFFIXES if ways else PICTURES)) - sum(map(index.images_in, ways))
            if left <= 0:
                continue
            many = f"{left} image{'s' * (left > 1)}"
            if ways:
                yield Found("no-split", folder.relative(place), f"{many} that no list names; left out")
            else:
                message = f"{many} without a list or annotations that could be read; left out"
                yield Found("unused-file", folder.relative(place), message)


def _meant(path: Path, home: Path) -> bool:
    """Tell whether a folder is named like a split, is or lies in a home of images, or holds labels."""
    parts = path.relative_to(home).parts
    if any(OTHERS & set(re.split(r"[^a-z]+", part.lower())) for part in parts):
        return False
    if any(part.lower() in HOMES for part in parts[-2:]) or (parts and split_of(parts[-1])):
        return True
    return bool(parts) and (
        any(map(is_label, some(path, (".txt",), PROBED))) or any(map(is_annotation, some(path, (".xml",), PROBED)))
    )
