"""The annotation formats: each module has `find` (what in a folder is of the format) and `read`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sightline.datasets.formats import named_file, unsupported
from sightline.datasets.formats.coco import annotation_files
from sightline.datasets.formats.coco import reader as coco
from sightline.datasets.formats.voc import reader as voc
from sightline.datasets.formats.yolo import reader as yolo
from sightline.datasets.types import Folder, Reading, hidden, shown
from sightline.errors import DataError


class Reader(NamedTuple):
    """One format: what to look for, in words, and how to find and read it."""

    looked_for: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Folder, list[Path]], Reading]


READERS = {
    "yolo": Reader(
        "data.yaml with train and names, obj.data, or classes.txt with YOLO labels",
        yolo.find,
        yolo.read,
    ),
    "coco": Reader("a .json file with images, annotations and categories", annotation_files.find, coco.read),
    "voc": Reader(".xml files with an <annotation> root", voc.find, voc.read),
}


def read(folder: Folder, format: str = "auto", voc_origin: int = 0) -> Reading:
    """Read the labels of a source in the named format, or in the one that its files show.

    `voc_origin` is what VOC files count pixels from. Raises DataError: the format is not there, not recognised, or more
    than one is; or the files cannot be read.
    """
    if folder.file:
        reading = named_file.read(folder, folder.file, format, voc_origin)
        reading.folder = folder
        return reading
    considered = list(READERS) if format == "auto" else [format]
    found = {name: [p for p in READERS[name].find(folder.root) if folder.allows(p)] for name in considered}
    present = [name for name in considered if found[name]]
    if not present:
        if "coco" in considered:
            annotation_files.explain_broken(folder)
        if "yolo" in considered:
            unsupported.nameless(folder)
        unsupported.explain(folder)
        looked_for = "; or ".join(f"{READERS[name].looked_for} ({name})" for name in considered)
        raise DataError(
            f"{folder.name}: no {'known' if format == 'auto' else format} annotation format recognised. Looked at most "
            f"three folders deep for {looked_for}. Found {_listing(folder.root)}. "
            "From a labelling tool, export YOLO, COCO or Pascal VOC, with the images."
        )
    if len(present) > 1:
        evidence = "; ".join(f"{name}: {folder.relative(found[name][0])}" for name in present)
        raise DataError(
            f"{folder.name} holds annotations in {len(present)} formats ({evidence}). "
            "Choose one with --format, or point to the folder that holds only one."
        )
    [name] = present
    reader = partial(voc.read, origin=voc_origin) if name == "voc" else READERS[name].read
    reading = reader(folder, found[name])
    reading.folder = folder
    return reading


def _listing(root: Path, most: int = 8) -> str:
    names = sorted(f"{p.name}/" if p.is_dir() else p.name for p in root.iterdir() if not hidden(p))
    return shown(", ".join(names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
