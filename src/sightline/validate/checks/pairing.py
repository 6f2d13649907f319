"""Finds images and labels that belong together though their names, or what a label says, point elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, composed, names, stem, suffix
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue
from sightline.validate.index import Index
from sightline.validate.index.rows import NamedCounts

NEARLY_ALL, FEWEST = 0.9, 5  # annotations that name another image, each another one
WHOLE = "."  # the place of what is true of the set as a whole
PAIRED_SHARE = 0.5  # of the fewer of both: names such as 0001 meet by chance, too


def image_named(named: str | None, image: str) -> str | None:
    """Return the stem of the image that a label file names, if it is not just that of the label file's own image."""
    if not named:
        return None
    other = composed(_plain(named.replace("\\", "/").rpartition("/")[2]))
    return other if other and other != composed(stem(os.path.basename(image))) else None


def _plain(name: str) -> str:
    """Return a name without an image's suffix; many files name their image without one."""
    return stem(name) if suffix(name) in ALL_IMAGE_SUFFIXES else name


def find(index: Index) -> None:
    """Write into the index what is found."""
    with index.together():
        index.issues.add(None, [*_apart(index)])
        for image, issue in [*_other_images(index)]:
            index.issues.add(image, [issue])
        index.issues.add(None, [*_misaligned(index)])


def _apart(index: Index) -> Iterator[Issue]:
    """Yield images without a label for which there is one without an image, in the folder of another split."""
    counts = index.issues.counts()
    fewer = min(counts.get("missing-label", 0), counts.get("orphan-label", 0))
    if not fewer:
        return
    pairs = index.pairings.unpaired("missing-label", "orphan-label")
    if len(pairs) >= PAIRED_SHARE * fewer:
        for image, label in pairs:
            yield Issue("unpaired-label", image, f"has no label file, and '{label}', which has its name, has no image")


def _other_images(index: Index) -> Iterator[tuple[int, Issue]]:
    """Yield images whose label file names another one that exists."""
    for image in index.pairings.naming_others():
        path, named, other = os.fsdecode(image.path), image.named_image, image.other
        if other is None:
            unused = _stems(os.path.dirname(path)).get(named.casefold())  # of an image that is not annotated
            other = unused and f"{os.path.dirname(image.source)}/{unused}".removeprefix("/")
        if other and other != image.source:  # else it is its own name in another case
            message = f"has an annotation whose <filename> is '{named}', and {other} is a different image"
            yield image.id, Issue("other-image", image.source, message)


@lru_cache(4)
def _stems(folder: str) -> dict[str, str]:
    """Return the stems of a folder's images by what they are in lower case."""
    return {composed(stem(name)).casefold(): composed(stem(name)) for name in names(folder, IMAGE_SUFFIXES)}


def _misaligned(index: Index) -> Iterator[Issue]:
    """Yield the set, or else a split, in which nearly all annotations name another image, each of them another.

    Then it is no slip of a few names: files, annotations or names were put in another order. One name in all of them
    is what a template leaves behind.
    """
    splits = index.pairings.naming_counts("other-image", bare="missing-label")
    images, naming, names = (sum(counts) for counts in list(zip(*splits, strict=True))[1:]) if splits else (0, 0, 0)
    whole = NamedCounts(WHOLE, images, naming, names)
    wrong = [part for part in (whole, *splits) if _nearly_all(part)]
    for part in wrong[:1] if whole in wrong else wrong:
        source, named = index.pairings.naming_example("other-image", None if part is whole else part.declared_split)
        message = (
            f"{part.naming} of {part.images} annotations have the <filename> of another image, such as that of "
            f"{source}, '{named}': files, annotations or names were put in another order"
        )
        yield Issue("misaligned-labels", part.declared_split or WHOLE, message)


def _nearly_all(of: NamedCounts) -> bool:
    return of.naming >= max(FEWEST, NEARLY_ALL * of.images) and of.names >= NEARLY_ALL * of.naming
