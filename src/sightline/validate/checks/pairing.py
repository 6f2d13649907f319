"""Finds images and labels that belong together though their names, or what a label says, point elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, composed, folded, names, stem, suffix
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue
from sightline.validate.index import Index

NEARLY_ALL, FEWEST = 0.9, 5  # annotations that name another image, each another one
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
    index.db.create_function("folded", 1, lambda path: folded(stem(os.path.basename(path))), deterministic=True)
    index.db.create_function("called", 1, _called, deterministic=True)
    index.db.create_function("lower_case", 1, str.casefold, deterministic=True)
    with index.together():
        index.add(None, [*_apart(index)])
        for item, found in [*_other_images(index)]:
            index.add(item, [found])
        index.add(None, [*_misaligned(index)])


def _apart(index: Index) -> Iterator[Issue]:
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
            yield Issue("unpaired-label", image, f"has no label file, and '{label}', which has its name, has no image")


def _other_images(index: Index) -> Iterator[tuple[int, Issue]]:
    """Yield images whose label file names another one that exists."""
    if not index.value("SELECT EXISTS (SELECT 1 FROM item WHERE named IS NOT NULL)"):
        return
    rows = index.rows(
        "WITH there AS MATERIALIZED (SELECT called(image) AS name, MIN(source) AS source FROM item GROUP BY 1), "
        "nearly AS MATERIALIZED (SELECT lower_case(name) AS name, MIN(source) AS source FROM there GROUP BY 1) "
        "SELECT id, image, item.source, named, COALESCE(there.source, nearly.source) FROM item "
        "LEFT JOIN there ON there.name = named LEFT JOIN nearly ON nearly.name = lower_case(named) "
        "WHERE named IS NOT NULL ORDER BY item.source"
    ).fetchall()
    for item, image, source, named, other in rows:
        path = os.fsdecode(image)
        if other is None:
            unused = _stems(os.path.dirname(path)).get(named.casefold())  # of an image that is not annotated
            other = unused and f"{os.path.dirname(source)}/{unused}".removeprefix("/")
        if other and other != source:  # else it is its own name in another case
            message = f"has an annotation whose <filename> is '{named}', and {other} is a different image"
            yield item, Issue("other-image", source, message)


@lru_cache(4)
def _stems(folder: str) -> dict[str, str]:
    """Return the stems of a folder's images by what they are in lower case."""
    return {composed(stem(name)).casefold(): composed(stem(name)) for name in names(folder, IMAGE_SUFFIXES)}


def _misaligned(index: Index) -> Iterator[Issue]:
    """Yield the set, or else a split, in which nearly all annotations name another image, each of them another.

    Then it is no slip of a few names: files, annotations or names were put in another order. One name in all of them
    is what a template leaves behind.
    """
    rows: list[tuple[str, int, int, int]] = index.rows(
        "SELECT split, COUNT(*), COUNT(named), COUNT(DISTINCT named) FROM (SELECT id, split, "
        "CASE WHEN id IN (SELECT item FROM problem WHERE rule = 'other-image') THEN named END AS named "
        "FROM item WHERE id NOT IN (SELECT item FROM problem WHERE rule = 'missing-label' AND item IS NOT NULL)) "
        "GROUP BY split ORDER BY split"
    ).fetchall()
    count, others, names = (sum(counts) for counts in list(zip(*rows, strict=True))[1:]) if rows else (0, 0, 0)
    parts = [(".", count, others, names), *rows]
    wrong = [(place, count, others) for place, count, others, names in parts if _nearly_all(count, others, names)]
    for place, count, others in wrong[:1] if wrong and wrong[0][0] == "." else wrong:
        example = index.rows(
            "SELECT source, named FROM problem JOIN item ON item.id = problem.item WHERE rule = 'other-image' "
            "AND ? IN ('.', split) ORDER BY source LIMIT 1",
            (place,),
        ).fetchone()
        message = (
            f"{others} of {count} annotations have the <filename> of another image, such as that of {example[0]}, "
            f"'{example[1]}': files, annotations or names were put in another order"
        )
        yield Issue("misaligned-labels", place or ".", message)


def _nearly_all(count: int, others: int, names: int) -> bool:
    return others >= max(FEWEST, NEARLY_ALL * count) and names >= NEARLY_ALL * others


def _called(image: bytes) -> str:
    return composed(stem(os.path.basename(os.fsdecode(image)))).encode("utf-8", "replace").decode()
