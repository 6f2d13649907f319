"""What the description of a YOLO data set says, whichever dialect it is written in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sightline.datasets.formats.files import holds_pictures
from sightline.datasets.types import SYNONYMS, Folder
from sightline.documents import Split
from sightline.errors import DataError
from sightline.rules import Issue


@dataclass
class Names:
    """Class names in the order of their indices, and what the numbers in label files mean.

    `ids` maps a number to an index; None where each is its own.
    """

    classes: list[str]
    ids: dict[float, int] | None = None
    issues: list[Issue] = field(default_factory=list)


@dataclass
class Description:
    """Folders and list files of each split, and where their paths start.

    `foreign` are paths that were written for another place (Darknet): leading folders may have to go, and text files
    beside images are labels.
    """

    names: Names
    places: dict[Split | None, list[Path]]
    bases: list[Path]
    issues: list[Issue] = field(default_factory=list)
    foreign: bool = False


def numbered(where: str, names: Mapping[int, str]) -> Names:
    """Number classes from 0, without gaps, each name once."""
    issues = []
    numbers = sorted(names)
    if numbers != list(range(len(numbers))):
        shown = f"{', '.join(map(str, numbers[:20]))}{', …' * (len(numbers) > 20)}"
        message = f"names has the numbers {shown}; expected 0 to {len(numbers) - 1}; renumbered"
        issues.append(Issue("class-gap", where, message))
    first: dict[str, int] = {}
    index: dict[str, int] = {}
    ids: dict[float, int] = {}
    for number in numbers:
        name = names[number]
        if name in first:
            message = f"'{name}' is the name of {first[name]} and of {number}; expected different names; merged"
            issues.append(Issue("duplicate-name", where, message))
        first.setdefault(name, number)
        ids[float(number)] = index.setdefault(name, len(index))
    return Names(list(index), ids if issues else None, issues)


def texts(where: str, names: object) -> list[str]:
    """Return class names that are text one can store. Raises DataError if they are missing."""
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{where} has no class names; expected `names: [first, second]` or `names: {{0: first}}`.")
    return [name.encode("utf-8", "replace").decode() for name in names]


def sibling(bases: list[Path], split: Split) -> list[Path]:
    """Return the folder that holds a split by its name, where the description is silent about it."""
    return siblings(bases, split)[:1]


def siblings(bases: list[Path], split: Split) -> list[Path]:
    """Return the folders of images that are named after a split, the likeliest first: of nested ones the innermost."""
    found: list[Path] = []
    for base in bases:
        for name in (spelled for word in SYNONYMS[split] for spelled in (word, word.capitalize())):
            for path in (base / name / "images", base / "images" / name, base / name):
                known = any(inner.is_relative_to(path) for inner in found)
                if not known and path.is_dir() and holds_pictures(path):
                    found.append(path)
    return found


class Labels:
    """Tells where the labels of an image folder lie."""

    def __init__(self, folder: Folder, bases: list[Path]) -> None:
        """Take `bases` for homes of the data set besides the source itself."""
        self._folder = folder
        self._homes = [os.fspath(home) for home in (folder.root, *bases)]

    def of(self, images: str) -> str:
        """Swap the last `images` folder below the data set for `labels`; without one, labels lie beside images.

        Where the user named the images' folder, labels lie below the source as the images lie below that folder.
        """
        home = next((home for home in self._homes if images == home or images.startswith(f"{home}/")), None)
        if home is None and self._folder.images:
            below = os.path.relpath(images, self._folder.images)
            places = [os.path.normpath(f"{self._homes[0]}/{name}/{below}") for name in ("labels", ".")]
            return next((place for place in places if os.path.isdir(place)), places[0])
        parts = images.removeprefix(home or "").split("/")
        for index in range(len(parts) - 1, -1, -1):
            if parts[index] == "images":
                swapped = (home or "") + "/".join([*parts[:index], "labels", *parts[index + 1 :]])
                return swapped if os.path.isdir(swapped) or not _labelled(images) else images
        return images


def _labelled(images: str) -> bool:
    """Tell whether text files lie beside images."""
    with os.scandir(images) as entries:
        return any(entry.name.lower().endswith(".txt") for entry in entries)
