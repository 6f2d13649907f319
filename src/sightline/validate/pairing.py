"""Finds images and labels that belong together though their names, or what a label says, point elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from sightline.validate.dataset import IMAGE_SUFFIXES, Found
from sightline.validate.formats.files import PICTURES, composed, folded, names, stem, suffix
from sightline.validate.index import Index

PAIRED_SHARE = 0.5  # of the fewer of both: names such as 0001 meet by chance, too


def image_named(named: str | None, image: str) -> str | None:
    """Return the stem of the image that a label file names, if it is not the image of the label file itself."""
    if not named:
        return None
    other = composed(_plain(named.replace("\\", "/").rpartition("/")[2]))
    return other if other and other != composed(stem(os.path.basename(image))) else None


def _plain(name: str) -> str:
    """Return a name without an image's suffix; many files name their image without one."""
    return stem(name) if suffix(name) in PICTURES else name


def find(index: Index) -> None:
    """Write into the index what is found."""
    index.db.create_function("folded", 1, lambda path: folded(stem(os.path.basename(path))), deterministic=True)
    index.db.create_function("called", 1, _called, deterministic=True)
    with index.together():
        index.add(None, [*_apart(index)])
        for item, found in [*_other_images(index)]:
            index.add(item, [found])


def _apart(index: Index) -> Iterator[Found]:
    """Yield images without a label for which there is one without an image, in the folder of another split."""
    counts = index.rows(
        "SELECT TOTAL(rule = 'missing-label'), TOTAL(rule = 'orphan-label') FROM problem "
        "WHERE rule IN ('missing-label', 'orphan-label')"
    ).fetchone()
    fewer = min(counts)
    if not fewer:
        return
    pairs = index.rows(
        "WITH orphan AS MATERIALIZED (SELECT folded(place) AS name, MIN(place) AS place FROM problem "
        "WHERE rule = 'orphan-label' GROUP BY 1), "
        "bare AS MATERIALIZED (SELECT folded(place) AS name, MIN(place) AS place FROM problem "
        "WHERE rule = 'missing-label' GROUP BY 1) "
        "SELECT bare.place, orphan.place FROM bare JOIN orphan USING (name) ORDER BY 1"
    ).fetchall()
    if len(pairs) >= PAIRED_SHARE * fewer:
        for image, label in pairs:
            yield Found("unpaired-label", image, f"has no label file, and '{label}', which has its name, has no image")


def _other_images(index: Index) -> Iterator[tuple[int, Found]]:
    """Yield images whose label file names another one that exists."""
    if not index.value("SELECT EXISTS (SELECT 1 FROM item WHERE named IS NOT NULL)"):
        return
    rows = index.rows(
        "WITH there AS MATERIALIZED (SELECT called(image) AS name, MIN(source) AS source FROM item GROUP BY 1) "
        "SELECT id, image, item.source, named, there.source FROM item LEFT JOIN there ON there.name = named "
        "WHERE named IS NOT NULL ORDER BY item.source"
    ).fetchall()
    for item, image, source, named, other in rows:
        if other is None and named in _stems(os.path.dirname(os.fsdecode(image))):  # of an image that is not annotated
            other = f"{os.path.dirname(source)}/{named}".removeprefix("/")
        if other:
            message = f"has an annotation whose <filename> is '{named}', and {other} is a different image"
            yield item, Found("other-image", source, message)


@lru_cache(4)
def _stems(folder: str) -> set[str]:
    return {composed(stem(name)) for name in names(folder, IMAGE_SUFFIXES)}


def _called(image: bytes) -> str:
    return composed(stem(os.path.basename(os.fsdecode(image)))).encode("utf-8", "replace").decode()
