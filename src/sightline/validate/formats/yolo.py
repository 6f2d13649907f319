"""YOLO: a data.yaml that names splits and classes, and one text file of boxes for each image.

A label line is `class cx cy w h`, fractions of the image. An image without a label file, or with an empty one, is a
background.
"""

from __future__ import annotations

import math
from pathlib import Path

from sightline.artifacts import Problem
from sightline.errors import DataError
from sightline.validate.dataset import Box, Folder, Item, Reading, error, files, folders, is_image, warning
from sightline.validate.formats.data_yaml import Description

PREFERRED = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
VALUE_TOLERANCE = 1e-6  # what rounding to six decimals can add
EDGE_TOLERANCE = 1e-3  # overshoot of an edge that is clipped without a word; half a pixel at 500


def find(root: Path) -> list[Path]:
    """Return the data.yaml files in the folder, else those one level below it."""
    levels = list(folders(root, 1))
    for level in ([root], levels[1:]):
        found = [path for path in (_description(folder) for folder in level) if path]
        if found:
            return found
    return []


def _description(folder: Path) -> Path | None:
    """Return data.yaml, or the one other YAML file that names classes and a train split."""
    for name in PREFERRED:
        if (folder / name).is_file():
            return folder / name
    others = [path for path in files(folder, (".yaml", ".yml")) if _mentions(path, ("names:", "train:"))]
    return others[0] if len(others) == 1 else None


def _mentions(path: Path, words: tuple[str, ...]) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return all(word in text for word in words)


def read(folder: Folder, found: list[Path]) -> Reading:
    """Read the splits that data.yaml names. Raises DataError with everything that is wrong with it."""
    if len(found) > 1:
        listed = ", ".join(folder.relative(path) for path in found)
        raise DataError(f"{folder.name} holds several data sets ({listed}). Point to the folder of one of them.")
    description = Description(folder, found[0])
    reading = Reading("yolo", description.names, relative=True)
    labels: set[Path] = set()
    for split, places in description.splits().items():
        reading.declared.add(split)
        for image in description.images(places, reading.problems):
            path = description.label_path(image)
            labels.add(path)
            boxes = read_labels(path, folder.relative(path), reading.classes, reading.problems)
            reading.items.append(Item(image, folder.relative(image), split, boxes))
    reading.problems += _orphans(folder, labels)
    return reading


def read_labels(path: Path, where: str, names: list[str], problems: list[Problem]) -> tuple[Box, ...]:
    """Read one label file; bad lines become problems."""
    if not path.is_file():
        return ()
    boxes = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if line.strip():
            parsed = parse_line(line, f"{where}:{number}", names)
            if isinstance(parsed, Box):
                boxes.append(parsed)
            else:
                problems.append(parsed)
    return tuple(boxes)


def parse_line(line: str, where: str, names: list[str]) -> Box | Problem:
    """Read `class cx cy w h`; edges that overshoot by rounding are left to be clipped."""
    words = line.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return error("label-syntax", where, f"got '{_short(line)}', expected five numbers: class cx cy w h")
    if len(words) > 5 and len(words) % 2:
        return error(
            "segmentation-label",
            where,
            f"got {len(words)} numbers, which is a segmentation label (class and polygon); expected class cx cy w h",
        )
    if len(words) != 5:
        return error("label-syntax", where, f"got {len(words)} numbers, expected five: class cx cy w h")
    index, cx, cy, w, h = numbers
    if not math.isfinite(index) or index != int(index) or not 0 <= index < len(names):
        allowed = f"0 to {len(names) - 1}" if len(names) > 1 else "0"
        return error(
            "class-range", where, f"got class {words[0]}, expected {allowed} (data.yaml has {len(names)} names)"
        )
    edges = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    inside = all(-VALUE_TOLERANCE <= value <= 1 + VALUE_TOLERANCE for value in (cx, cy, w, h))
    if not inside or min(edges) <= -EDGE_TOLERANCE or max(edges) >= 1 + EDGE_TOLERANCE:
        return error(
            "outside-image",
            where,
            f"got '{_short(line)}', a box outside the image; expected fractions of its size, 0 to 1",
        )
    return Box(names[int(index)], edges, where)


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= 60 else f"{line[:57]}…"


def _orphans(folder: Folder, labels: set[Path]) -> list[Problem]:
    """Warn of label files that belong to no image."""
    return [
        warning("orphan-label", folder.relative(path), "label file without an image; left out")
        for place in sorted({path.parent for path in labels})
        if place.is_dir() and place.name != "images" and not _holds_images(place)
        for path in files(place, (".txt",))
        if path not in labels and path.name != "classes.txt"
    ]


def _holds_images(place: Path) -> bool:
    return any(is_image(path) for path in place.iterdir())
