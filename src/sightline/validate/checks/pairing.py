"""Finds images and labels that belong together although their names, or the names inside labels, disagree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, composed, names, stem, suffix
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue
from sightline.validate.index import Index
from sightline.validate.index.rows import NamedCounts

NEARLY_ALL, FEWEST = 0.9, 5  # share and number of annotations that name other images, each a different one
WHOLE = "."  # the place of an issue about the whole set
PAIRED_SHARE = 0.5  # of the images or labels, whichever are fewer: names such as 0001 also match by chance


def image_named(named: str | None, image: str) -> str | None:
    """Return the stem of the image that a label file names; None if it is the label's own image, or for no name."""
    if not named:
        return None
    other = composed(_plain(named.replace("\\", "/").rpartition("/")[2]))
    return other if other and other != composed(stem(os.path.basename(image))) else None


def _plain(name: str) -> str:
    """Return a name without an image suffix; many label files name their image without one."""
    return stem(name) if suffix(name) in ALL_IMAGE_SUFFIXES else name


def find(index: Index) -> None:
    """Write the issues into the index."""
    with index.transaction():
        index.issues.add(None, [*_unpaired(index)])
        for image, issue in [*_other_images(index)]:
            index.issues.add(image, [issue])
        index.issues.add(None, [*_misaligned(index)])


def _unpaired(index: Index) -> Iterator[Issue]:
    """Yield issues about images without a label whose label lies elsewhere, such as in the folder of another split."""
    counts = index.issues.counts()
    fewer = min(counts.get("missing-label", 0), counts.get("orphan-label", 0))
    if not fewer:
        return
    pairs = index.pairings.unpaired("missing-label", "orphan-label")
    if len(pairs) >= PAIRED_SHARE * fewer:
        for image, label in pairs:
            yield Issue("unpaired-label", image, f"has no label file, and '{label}', which has its name, has no image")


def _other_images(index: Index) -> Iterator[tuple[int, Issue]]:
    """Yield issues about images whose label file names another existing image."""
    for image in index.pairings.naming_others():
        path, named, other = os.fsdecode(image.path), image.named_image, image.other
        if other is None:
            unlabelled = _stems(os.path.dirname(path)).get(named.casefold())  # an image without annotation
            other = unlabelled and f"{os.path.dirname(image.source)}/{unlabelled}".removeprefix("/")
        if other and other != image.source:  # otherwise the name differs only in case
            message = f"has an annotation whose <filename> is '{named}', and {other} is a different image"
            yield image.id, Issue("other-image", image.source, message)


@lru_cache(4)
def _stems(folder: str) -> dict[str, str]:
    """Return the stems of a folder's images, keyed by their lower-case form."""
    return {composed(stem(name)).casefold(): composed(stem(name)) for name in names(folder, IMAGE_SUFFIXES)}


def _misaligned(index: Index) -> Iterator[Issue]:
    """Yield an issue about the set, or else each split, in which nearly all annotations name different other images.

    That is no slip in a few names: files, annotations or names were reordered. One and the same name in all of them is
    left over from a template.
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


def _nearly_all(part: NamedCounts) -> bool:
    """Tell whether nearly all annotations of a part name another image, and nearly each of them a different one."""
    return part.naming >= max(FEWEST, NEARLY_ALL * part.images) and part.names >= NEARLY_ALL * part.naming
