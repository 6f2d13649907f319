"""Finds the folder or list file that a description names for a split, also where it is written a little wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sightline.datasets.formats.files import holds_pictures, short, tidy
from sightline.datasets.formats.foreign_paths import ends, foreign, slashed, split_in
from sightline.datasets.formats.yolo.yolo_description import siblings
from sightline.datasets.types import SYNONYMS, Folder, folders
from sightline.documents import Split

URL = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")


class Place(NamedTuple):
    """A folder or list file; `how` says what is wrong with the path that led there, "" for nothing."""

    path: Path
    how: str


class Resolver:
    """Resolves paths below `bases`, the likeliest first: what is written, else the one place that it can mean."""

    def __init__(self, folder: Folder, bases: list[Path]) -> None:
        """Take `bases`, where paths of the description start."""
        self._folder, self._bases = folder, bases

    def place(self, text: str, split: Split) -> Place | str:
        """Return the place of a split, or what is wrong with the path."""
        if "\0" in text:
            return "is no path"
        if URL.match(text):
            return "is a URL, and nothing is downloaded; get what it leads to, and write the folder of its images here"
        [written, *others] = self._bases
        here = self._existing(written, text)
        if here:
            if here.is_dir() and not holds_pictures(here):
                return "is a folder without images"
            out = text.startswith("../") and not here.is_relative_to(self._folder.root)
            return Place(here, "leads out of the source" if out else "")
        for base in others:
            if (here := self._existing(base, text)) and self._holds(here):
                return Place(here, f"is not below the folder that `path` names, {self._folder.relative(written)}")
        for candidates in self._guesses(text, split):
            found = self._distinct(candidates)
            if len(found) > 1:
                listed = " or ".join(self._folder.relative(path) for path in found)
                return f"leads nowhere as it is written, and may be {listed}; write which of them"
            if found:
                return Place(found[0], "leads nowhere as it is written")
        tried = short(", ".join(self._ends(text)), 500)
        return "is no folder and no list file" + (f" (tried {tried})" if tried else "")

    def _guesses(self, text: str, split: Split) -> Iterator[list[Path]]:
        """Yield the paths that are as likely as each other, the likeliest first."""
        root = self._folder.root
        # Beside a file that was named may lie anything; in a folder that was named, what belongs to the set.
        lower = list(folders(root, 1))[1:] if root in self._bases and self._folder.file is None else []
        for end in self._ends(text):
            yield [base / end for base in self._bases]
            yield [base / other for base in self._bases for other in _synonyms(end, split)]
            yield [base / end for base in lower]
        if split_in(text) == split:
            yield siblings(self._bases, split)

    @staticmethod
    def _ends(text: str) -> list[str]:
        """Return the ends of a path that still name its split."""
        named = split_in(text)
        kept = [end for end in (slashed(text), *ends(text)) if named is None or split_in(end) == named]
        return [end for end in dict.fromkeys(kept) if not foreign(end)]

    def _distinct(self, candidates: Iterable[Path]) -> list[Path]:
        """Return those that are there, inside of the source, and hold something; one path for each place."""
        found: dict[str, Path] = {}
        for path in candidates:
            here = self._existing(path)
            if here and self._holds(here):
                found.setdefault(os.path.realpath(here), here)
        return list(found.values())

    def _existing(self, base: Path, text: str = "") -> Path | None:
        path = base / text
        try:
            there = path.is_dir() or (path.suffix.lower() == ".txt" and path.is_file())
        except OSError:  # a name too long for the file system
            return None
        return Path(tidy(str(path))) if there and self._folder.allows(path) else None

    @staticmethod
    def _holds(path: Path) -> bool:
        return path.is_file() or holds_pictures(path)


def _synonyms(text: str, split: Split) -> list[str]:
    """Return the path with each other synonym of the split in place of the one it has, whatever its case."""
    names = text.split("/")
    result = []
    for index, name in enumerate(names):
        stem, dot, suffix = name.partition(".")
        if stem.lower() in SYNONYMS[split]:
            others = (f"{spelled}{dot}{suffix}" for word in SYNONYMS[split] for spelled in (word, word.capitalize()))
            result += ["/".join([*names[:index], other, *names[index + 1 :]]) for other in others if other != name]
    return result
