"""Finds the images below a folder, whatever else lies there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sightline.image_files.images import IMAGE_SUFFIXES


def images_below(folder: Path, results: Path | None = None) -> tuple[list[Path], Counter[str]]:
    """Return the images below a folder, and how many other files of which kind lie there; hidden files do not count.

    Where the folder of `results` lies in it, what is in it are results of before, and no images to look at.
    """
    images: list[Path] = []
    others = Counter[str]()
    before = results.resolve() if results and results.resolve().is_relative_to(folder.resolve()) else None
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if before and path.resolve().is_relative_to(before):
            others[f"in {results}, where results go"] += 1
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others[path.suffix.lower() or "without a suffix"] += 1
    return images, others
