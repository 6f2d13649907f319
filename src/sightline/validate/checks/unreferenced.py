"""Finds image folders and listed images of a source that were not read.

Without this check, a split whose annotations are not recognised would silently be missing, and be made from the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, names, some
from sightline.datasets.formats.image_lookup import CONTAINERS
from sightline.datasets.formats.voc.reader import is_annotation
from sightline.datasets.formats.yolo.darknet import is_label
from sightline.datasets.types import Folder, Reading, folders, split_of
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue
from sightline.validate.index import Index

DEPTH = 3  # levels of folders below the source; annotations are searched to the same depth
PROBED = 5  # text files of a folder that are read to see whether they are labels
HOMES = tuple(name.lower() for name in CONTAINERS)
OTHERS = {  # words in names of folders whose images are not meant for training
    *("mask", "masks", "segmentation", "segmentationclass", "segmentationobject", "panoptic", "stuffthingmaps"),
    *("semantic", "annotations", "depth", "runs", "predictions", "preview", "previews", "vis", "visualization"),
    *("visualizations", "thumbs", "thumbnails", "docs"),
}


def find(folder: Folder, index: Index, read: set[str], reading: Reading) -> Iterator[Issue]:
    """Yield issues about folders that seem to belong to the set, and whose images are not in the index.

    `read` has the folders of the images in the index. Where lists name images, unlisted ones are issues too.
    """
    known: dict[str, list[str]] = {}
    for place in read:
        known.setdefault(os.path.realpath(place), []).append(place)
    seen = set[str]()
    for home in filter(None, (reading.home or folder.root, folder.images)):
        inside = home.resolve()
        for path in folders(home, DEPTH):
            place, real = os.fspath(path), os.path.realpath(path)
            if real in seen or not folder.allows(path) or not Path(real).is_relative_to(inside):
                continue
            seen.add(real)
            if ways := known.get(real):
                yield from _unlisted(folder, index, place, ways) if reading.listed else ()
            elif _belongs(path, home) and (count := len(names(place, ALL_IMAGE_SUFFIXES))):
                message = f"{count} image{'s' * (count > 1)} {_why(path, reading.format)}; left out"
                yield Issue("unused-file", folder.relative(place), message)


def _unlisted(folder: Folder, index: Index, place: str, ways: list[str]) -> Iterator[Issue]:
    """Yield issues about unread images in a folder where others were read; `ways` are paths that lead to it."""
    for name in names(place, IMAGE_SUFFIXES):
        if not any(index.images.has(f"{way}/{name}") for way in ways):
            yield Issue("no-split", folder.relative(f"{place}/{name}"), "is an image that no list names; left out")


def _why(path: Path, format: str) -> str:
    """Return why the images of a folder are not used, in terms of the format."""
    if format == "coco":
        return "that no annotation file lists"
    if format == "voc":
        return "in a folder for which there are no annotations, or none in a list"
    start, images, end = os.fspath(path).rpartition("/images")
    beside = [path, Path(f"{start}/labels{end}")] if images else [path]
    labelled = any(is_label(name) for place in beside if place.is_dir() for name in some(place, (".txt",), PROBED))
    return f"{'with' if labelled else 'without'} labels, in a folder that no split names"


def _belongs(path: Path, home: Path) -> bool:
    """Tell whether a folder seems to belong to the set: named like a split or an image folder, or with labels."""
    parts = path.relative_to(home).parts
    if any(OTHERS & set(re.split(r"[^a-z]+", part.lower())) for part in parts):
        return False
    if any(part.lower() in HOMES for part in parts[-2:]) or (parts and split_of(parts[-1])):
        return True
    return bool(parts) and (
        any(map(is_label, some(path, (".txt",), PROBED))) or any(map(is_annotation, some(path, (".xml",), PROBED)))
    )
