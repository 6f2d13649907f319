"""A list file of YOLO: the path of an image a line, below the list, below `path`, or as it was on another machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, existing, fence, joined, short, suffix, tidy
from sightline.datasets.formats.foreign_paths import ends, foreign, slashed, split_in
from sightline.datasets.types import Folder
from sightline.rules import Issue


class ImageList:
    """Finds the images that the lines of one list name, and remembers which of them it had to look for."""

    def __init__(self, folder: Folder, path: Path, bases: list[Path], *, darknet: bool) -> None:
        """Take `bases`, where paths start besides the list's own folder.

        `darknet` says that they usually start where the program was run: then a folder too many in front is no mistake.
        """
        self._folder, self._path, self._darknet = folder, path, darknet
        self._allows = fence(folder)
        self._homes = [os.fspath(home) for home in dict.fromkeys((path.parent, *bases))]
        self._moved: tuple[int, str, str] | None = None  # of the first line that leads elsewhere: number, text, image
        self._count = 0
        self._no_images: tuple[int, str] | None = None  # the first line that is no path of an image
        self._no_image_count = 0

    def image(self, number: int, line: str) -> str | None:
        """Return the image that a line means: where it says, else at the longest end of the path that exists."""
        for text in dict.fromkeys((line, line.replace("\\", "/"))):
            if path := self._existing(joined(home, text) for home in self._homes):
                return path
        if path := self.file(line) or self._named(line):
            if not self._darknet or foreign(line):
                self._moved = self._moved or (number, line, path)
                self._count += 1
            return path
        return None

    def file(self, line: str) -> str | None:
        """Return the one file that an end of a line can mean."""
        for end in self._ends(line):
            found = self._at(end)
            if found:
                return found.popitem()[1] if len(found) == 1 else None
        return None

    def why(self, line: str) -> str:
        """Say what a line that leads nowhere may mean, or what was tried."""
        found = next((found for end in self._ends(line) if (found := self._at(end))), {})
        listed = " or ".join(self._folder.relative(path) for path in found.values())
        if listed:
            return f" as it is written, and may be {listed}; write which of them"
        below = dict.fromkeys(self._folder.relative(home) for home in self._homes)
        homes = " and ".join("the source" if home == "." else home for home in below)
        return f"; tried {short(', '.join(self._ends(line)) or 'no other path', 300)} below {homes}"

    def no_image(self, number: int, line: str) -> bool:
        """Tell a line that is no path of an image at all, and count it: a stem, or the path of a label."""
        if suffix(line) in ALL_IMAGE_SUFFIXES:
            return False
        self._no_images = self._no_images or (number, line)
        self._no_image_count += 1
        return True

    def issues(self) -> list[Issue]:
        """Say that lines lead elsewhere or are no paths of images, each once for the list."""
        return [*self._no_paths(), *self._elsewhere()]

    def _no_paths(self) -> Iterator[Issue]:
        if self._no_images is None:
            return
        number, line = self._no_images
        what = "the path of a label" if suffix(line) == ".txt" else "no path of an image: it has no suffix of one"
        more = f", and {self._no_image_count - 1} more lines are like it" if self._no_image_count > 1 else ""
        message = f"'{short(line)}' is {what}{more}; expected the path of an image a line, such as images/a.jpg"
        yield Issue("missing-image", f"{self._folder.relative(self._path)}:{number}", message)

    def _elsewhere(self) -> list[Issue]:
        if self._moved is None:
            return []
        number, line, image = self._moved
        more = f", and so do {self._count - 1} more lines" if self._count > 1 else ""
        message = f"'{short(line)}' leads nowhere as it is written{more}; took {self._folder.relative(image)}"
        return [Issue("data-path", f"{self._folder.relative(self._path)}:{number}", message)]

    def _ends(self, line: str) -> list[str]:
        """Return the ends of a path that still name its split."""
        named = None if self._darknet else split_in(line)
        return [end for end in ends(line) if named is None or split_in(end) == named]

    def _at(self, end: str) -> dict[str, str]:
        paths = (joined(home, end) for home in self._homes)
        there = filter(None, map(self._file_at, paths))
        return {os.path.realpath(path): tidy(path) for path in there}

    def _named(self, line: str) -> str | None:
        """Look into the image folder that the user named, which comes last."""
        images = self._folder.images
        if images is None:
            return None
        return self._existing(joined(os.fspath(images), text) for text in (slashed(line), *ends(line)))

    def _existing(self, paths: Iterable[str]) -> str | None:
        return next((tidy(path) for path in map(self._file_at, paths) if path), None)

    def _file_at(self, path: str) -> str | None:
        there = existing(path)
        return there if there and self._allows(there) else None
