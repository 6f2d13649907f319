"""Queries that compare images with each other: equal files, copies of one source, looks, groups, and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from sightline.validate.index.database import Database
from sightline.validate.index.rows import ComparedImage, ImageCopy, columns
from sightline.validate.index.schema import DISTINCT, USABLE

SplitColumn = Literal["declared_split", "assigned_split"]
SameColumn = Literal["sha256", "augmented_from", "image_group"]


def split_rank(split: SplitColumn) -> str:
    """Return the SQL expression for the rank of a split: 0 for train and none, 1 for val, 2 for test."""
    return f"CASE {split} WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END"


class ComparisonQueries:
    """Queries across images: copies, thumbnails, close looks and groups."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database."""
        self._db = database

    # --- equal files, and copies of one source

    def copies_within_splits(self) -> list[ImageCopy]:
        """Return the images whose file occurs more than once in their declared split, grouped by file.

        The first of each group is the one to keep: a usable one, if there is any.
        """
        query = (
            "SELECT id, declared_split, sha256, source, labels, sha256 FROM image WHERE (declared_split, sha256) IN "
            "(SELECT declared_split, sha256 FROM image WHERE sha256 IS NOT NULL GROUP BY 1, 2 HAVING COUNT(*) > 1) "
            "ORDER BY declared_split, sha256, dropped_by IS NOT NULL, source"
        )
        return list(self._db.rows(ImageCopy._make, query))

    def held_out_copies(self, same: SameColumn, but: str) -> list[ImageCopy]:
        """Return the images that share a value in a column across declared splits, the earliest split first.

        Images with an issue of the rule `but` are skipped.
        """
        pool = f"{DISTINCT} AND id NOT IN (SELECT image_id FROM issue WHERE rule = ?1)"
        query = (
            f"SELECT id, declared_split, {same}, source, labels, sha256 FROM image WHERE {pool} AND {same} IN "
            f"(SELECT {same} FROM image WHERE {same} IS NOT NULL AND declared_split != '' AND {pool} GROUP BY 1 "
            f"HAVING COUNT(DISTINCT declared_split) > 1) ORDER BY {same}, {split_rank('declared_split')}, source"
        )
        return list(self._db.rows(ImageCopy._make, query, (but,)))

    def drop(self, id: int, rule: str) -> None:
        """Leave out an image because of a rule, unless another rule does so already."""
        self._db.run("UPDATE image SET dropped_by = ? WHERE id = ? AND dropped_by IS NULL", (rule, id))

    def count_greyscale(self) -> tuple[int, int]:
        """Count the greyscale images and the colour images."""
        [(grey, coloured)] = self._db.rows(tuple, "SELECT TOTAL(grey = 1), TOTAL(grey = 0) FROM image")
        return int(grey), int(coloured)

    def add_about_greyscale(self, rule: str, message: str, grey: bool) -> None:
        """Add an issue about each greyscale image, or about each colour image."""
        self._db.run(
            "INSERT INTO issue SELECT id, ?, source, ?, NULL, 0, NULL, 0 FROM image WHERE grey = ?",
            (rule, message, grey),
        )

    # --- images that look the same

    def thumbnails(self) -> Iterator[tuple[int, bytes]]:
        """Yield ids and thumbnails ordered by content, without copies within a split."""
        query = f"SELECT id, thumb FROM image WHERE thumb IS NOT NULL AND {DISTINCT} ORDER BY sha256, id"
        return self._db.rows(tuple, query)

    def compared(self, ids: Iterable[int]) -> dict[int, ComparedImage]:
        """Return the rows that comparisons need, by image id."""
        query = f"SELECT {columns(ComparedImage)} FROM image WHERE id = ?"
        return {id: next(self._db.rows(ComparedImage._make, query, (id,))) for id in ids}

    def has_look(self, id: int) -> bool:
        """Tell whether there is a close look at an image, readable or not."""
        return self._db.value("SELECT 1 FROM look WHERE image_id = ?", (id,)) is not None

    def look(self, id: int) -> bytes | None:
        """Return the close look at an image; None for one that cannot be read."""
        data: bytes | None = self._db.value("SELECT data FROM look WHERE image_id = ?", (id,))
        return data

    def add_looks(self, looks: Iterable[tuple[int, bytes | None]]) -> None:
        """Add close looks, in place of earlier ones at the same images."""
        self._db.many("INSERT OR REPLACE INTO look VALUES (?, ?)", looks)

    def split_ranks(self, split: SplitColumn) -> Iterator[tuple[int, int]]:
        """Yield ids and the ranks of their splits: 0 for train and none, 1 for val, 2 for test."""
        return self._db.rows(tuple, f"SELECT id, {split_rank(split)} FROM image")

    def by_source(self) -> Iterator[tuple[int, str]]:
        """Yield id and source of all images, ordered by source."""
        return self._db.rows(tuple, "SELECT id, source FROM image ORDER BY source, id")

    def in_splits(self) -> Iterator[int]:
        """Yield the ids of usable images that have an assigned split."""
        return self._db.column(f"SELECT id FROM image WHERE {USABLE} AND assigned_split IS NOT NULL")

    # --- groups

    def values(self, column: SameColumn) -> Iterator[tuple[int, str | int]]:
        """Yield ids and values of a column, ordered by value."""
        return self._db.rows(tuple, f"SELECT id, {column} FROM image WHERE {column} IS NOT NULL ORDER BY {column}")

    def write_groups(self, members: Iterable[tuple[int, int]]) -> None:
        """Write groups, given as pairs: the representative of a group, and another member.

        The index identifies a group by its first member by source, so that a growing video keeps its first image.
        """
        self._db.many("UPDATE image SET image_group = ? WHERE id = ?", members)
        self._db.run(
            "UPDATE image SET image_group = id "
            "WHERE id IN (SELECT image_group FROM image WHERE image_group IS NOT NULL)"
        )
        self._db.run(
            "UPDATE image SET image_group = first.id FROM (SELECT id, image_group, "
            "ROW_NUMBER() OVER (PARTITION BY image_group ORDER BY source, id) AS place "
            "FROM image WHERE image_group IS NOT NULL) AS first "
            "WHERE first.place = 1 AND first.image_group = image.image_group"
        )

    def remove_groups(self) -> None:
        """Remove all groups."""
        self._db.run("UPDATE image SET image_group = NULL WHERE image_group IS NOT NULL")
