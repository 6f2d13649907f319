"""Finds the image that an annotation file speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sightline.artifacts import Split
from sightline.validate.dataset import SYNONYMS, Folder, is_image

CONTAINERS = ("images", "JPEGImages")
LEVELS = 3  # how far up from an annotation file an image folder is looked for


class ImageFinder:
    """Looks a file up in several folders, the likeliest first."""

    def __init__(self, source: Folder, start: Path, split: Split | None, extra: Sequence[str] = ()) -> None:
        """Prepare the folders for annotations in `start`; `extra` are names an image folder may have besides."""
        self._source = source
        names = [*(SYNONYMS[split] if split else ()), *extra]
        self.folders = [path for path in dict.fromkeys(_candidates(source, start, names)) if path.is_dir()]
        self._stems: dict[Path, dict[str, Path]] = {}

    def by_name(self, name: str) -> Path | None:
        """Return the image of this file name; folders in the name count first, then only its last part."""
        for part in dict.fromkeys((name, name.replace("\\", "/").rsplit("/", 1)[-1])):
            for folder in self.folders:
                path = folder / part
                if path.is_file() and self._source.allows(path):
                    return path
        return None

    def by_stem(self, stem: str) -> Path | None:
        """Return the image whose file name without suffix is `stem`."""
        for folder in self.folders:
            if folder not in self._stems:
                self._stems[folder] = {p.stem: p for p in sorted(folder.iterdir(), reverse=True) if is_image(p)}
            path = self._stems[folder].get(stem)
            if path and self._source.allows(path):
                return path
        return None

    def looked_in(self) -> str:
        """Say where images were looked for."""
        shown = [self._source.relative(path) for path in self.folders[:4]]
        return ", ".join(shown) + (f" and {len(self.folders) - 4} more folders" if len(self.folders) > 4 else "")


def _candidates(source: Folder, start: Path, names: Sequence[str]) -> Iterator[Path]:
    if source.images:
        yield from _below(source.images, names)
        yield source.images
    yield start
    for level in (start, *start.parents[:LEVELS]):
        if source.allows(level):
            yield from _below(level, names)
            yield from (level / name for name in CONTAINERS)


def _below(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        yield from (folder / container / name for container in CONTAINERS)
        yield from (folder / name / container for container in CONTAINERS)
        yield folder / name
