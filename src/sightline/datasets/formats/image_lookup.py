"""Finds the image that an annotation file names, and looks at what lies around the images that were found."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from sightline.datasets.formats.files import (
    FOREIGN_SUFFIXES,
    existing,
    fence,
    folded,
    joined,
    names,
    short,
    stem,
    suffix,
    tidy,
    walk,
)
from sightline.datasets.formats.foreign_paths import ends, slashed
from sightline.datasets.types import SYNONYMS, Folder, is_folder, split_of
from sightline.documents import Split
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue

CONTAINERS = ("images", "JPEGImages")
HOMES = (
    *map(str.lower, CONTAINERS),
    "image",
    "imgs",
    "img",
    "data",
)  # in any case: FiftyOne writes data, Supervisely img
SHOWN = 4  # places that a message names
URL_END = re.compile(r"[?#].*\Z", re.DOTALL)
LEVELS = 3  # how far up from an annotation file an image folder is looked for
USUAL = (*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES))


class ImageFinder:
    """Looks a file up in several folders, the likeliest first, and remembers names that lead elsewhere."""

    def __init__(self, source: Folder, start: Path, split: Split | None, extra: Sequence[str] = ()) -> None:
        """Prepare the folders for annotations in `start`; `extra` are names an image folder may have besides."""
        self._source = source
        self._allows = fence(source)
        wanted = [*(SYNONYMS[split] if split else ()), *extra]
        self.folders = [str(path) for path in dict.fromkeys(_candidates(source, start, wanted)) if path.is_dir()]
        self._start, self._split = str(start), split
        self._odd: dict[str, dict[str, str]] = {}
        self._near: dict[str, dict[str, str | None]] = {}
        self._moved: tuple[str, str, str] | None = None  # of the first that lies elsewhere: place, name, image
        self._count = 0

    def by_name(self, name: str, where: str) -> str | None:
        """Return the image of this file name, which stands at `where`.

        The likeliest folder counts that has all of the name; else the longest end of it, if there is only one such
        file in and below the image folders.
        """
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            above = (str(self._source.root), os.path.dirname(self._start)) if "/" in written else ()
            for folder in (*self.folders, *above):
                if path := self._existing(folder, written):
                    return path
        meant = self._meant(name)
        if len(meant) != 1:
            return None
        if not self._moved:
            self._moved = (where, name, meant[0])
        self._count += 1
        return meant[0]

    def issues(self) -> list[Issue]:
        """Say that images lie elsewhere than their names say, once for all."""
        if self._moved is None:
            return []
        where, name, image = self._moved
        more = f", and so do {self._count - 1} more names" if self._count > 1 else ""
        message = f"'{short(name)}' leads nowhere as it is written{more}; took {self._source.relative(image)}"
        return [Issue("data-path", where, message)]

    def why(self, name: str) -> str:
        """Say what a name that leads to no image may mean, or where it was looked for."""
        if meant := self._meant(name):
            listed = " or ".join(self._source.relative(path) for path in meant[:SHOWN])
            return f" as it is written, and may be {listed}; write which of them"
        if near := self._nearly(name):
            return f"; {self._source.relative(near)} has nearly its name: write names as the files have them"
        return f" (looked in {self.looked_in()})"

    def _meant(self, name: str) -> list[str]:
        """Return the images that the longest end of a name with at least one of them can mean."""
        for end in ends(name):
            if end == name:
                continue
            there = filter(None, (self._existing(folder, end) for folder in self._trees))
            if found := {os.path.realpath(image): image for image in there}:
                return list(found.values())
        return []

    @cached_property
    def _trees(self) -> list[str]:
        """Return the image folders and all below them, but for those of other splits.

        The folder of the annotation file, where it is none of images, is only looked into itself.
        """
        result: dict[str, None] = {}
        for folder in self.folders:
            name = os.path.basename(folder)
            home = folder != self._start or name.lower() in HOMES or split_of(name) is not None
            for below in walk(folder) if home else [folder]:
                named = [split for part in below[len(folder) :].split("/") if (split := split_of(part))]
                if not self._split or set(named) <= {self._split}:
                    result[below] = None
        return list(result)

    def _nearly(self, name: str) -> str | None:
        """Return the one image whose name differs in case, white space, suffix, escapes or what a URL has behind it."""
        plain = stem(URL_END.sub("", unquote(slashed(name))).rpartition("/")[2])
        for folder in self.folders:
            if folder not in self._near:
                near: dict[str, str | None] = {}
                for own in names(folder, IMAGE_SUFFIXES):
                    near[folded(stem(own))] = None if folded(stem(own)) in near else own
                self._near[folder] = near
            if there := self._near[folder].get(folded(plain)):
                return f"{folder}/{there}"
        return None

    def _existing(self, folder: str, name: str) -> str | None:
        path = existing(joined(folder, name))
        return tidy(path) if path and self._allows(path) else None

    def by_stem(self, stem: str) -> str | None:
        """Return the image whose file name without suffix is `stem`."""
        for folder in self.folders:
            for ending in USUAL:
                path = existing(f"{folder}/{stem}{ending}")
                if path and self._allows(path):
                    return tidy(path)
            name = self._oddly_spelled(folder).get(stem)
            if name and self._allows(f"{folder}/{name}"):
                return f"{folder}/{name}"
        return None

    def _oddly_spelled(self, folder: str) -> dict[str, str]:
        """Return the images whose suffix is spelled like `.Jpg`, by their stems."""
        if folder not in self._odd:
            listed = names(folder, IMAGE_SUFFIXES)
            self._odd[folder] = {stem(name): name for name in listed if not name.endswith(USUAL)}
        return self._odd[folder]

    def looked_in(self) -> str:
        """Say where images were looked for."""
        shown = [self._source.relative(path) for path in self.folders[:4]]
        more = f" and {len(self.folders) - 4} more folders" if len(self.folders) > 4 else ""
        return ", ".join(shown) + more + ("" if self._source.images else "; --images names another folder")


def _candidates(source: Folder, start: Path, names: Sequence[str]) -> Iterator[Path]:
    if source.images:
        yield from _below(source.images, names)
        yield source.images
    yield start
    for level in (start, *start.parents[:LEVELS]):
        if source.allows(level):
            yield from _below(level, names)
            yield from _spelled(level, HOMES)


def _below(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield `images/train`, `train/images` and `train`, in whatever case they are there."""
    homes, wanted = list(_spelled(folder, HOMES)), [name.lower() for name in names]
    for home in homes:
        yield from _spelled(home, wanted)
    for place in _spelled(folder, wanted):
        yield from _spelled(place, HOMES)
        yield place


def _spelled(folder: Path, wanted: Sequence[str]) -> Iterator[Path]:
    """Yield the folders in a folder that have one of the names, whatever their case, in the order of the names."""
    if not wanted or not folder.is_dir():
        return
    with os.scandir(folder) as entries:  # which may be a million
        there = sorted(entry.name for entry in entries if entry.name.lower() in wanted and is_folder(entry))
    for name in wanted:
        yield from (folder / own for own in there if own.lower() == name)


def odd_files(
    source: Folder, folder: str, image_names: list[str], label_of: Callable[[str], str] | None = None
) -> Iterator[Issue]:
    """Yield what is wrong with a folder's images as files; `image_names` are the names of all, of any suffix.

    `label_of` makes the shown name of a label file out of a stem, where labels go by it.
    """

    def place(name: str) -> str:
        return source.relative(f"{folder}/{name}")

    for name in image_names:
        ending = suffix(name)
        if ending in FOREIGN_SUFFIXES:
            message = f"is an image of the kind '{ending}'; expected one of {', '.join(IMAGE_SUFFIXES)}"
            yield Issue("unsupported-suffix", place(name), message)
        elif not name.isascii() and not _is_utf8(name):
            yield Issue("file-name", place(name), "has a name that is not UTF-8; expected one that is")
    images = [name for name in image_names if suffix(name) in IMAGE_SUFFIXES]
    for first, second in _alike(images, str.casefold):
        message = f"differs from '{place(first)}' only in case; expected names that differ otherwise too"
        yield Issue("name-collision", place(second), message)
    if label_of is None:
        return
    for first, second in _alike(images, stem):
        message = f"has the same label file, {label_of(stem(second))}, as '{place(first)}'; expected one image for each"
        yield Issue("shared-label", place(second), message)


def _alike(names: list[str], key: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield each name that is the same as an earlier one by `key`, with that one."""
    if len(set(map(key, names))) == len(names):
        return
    first: dict[str, str] = {}
    for name in names:
        before = first.setdefault(key(name), name)
        if before is not name:
            yield before, name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
