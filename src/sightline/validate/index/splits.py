"""Queries that assign splits to images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sightline.documents import Split
from sightline.validate.index.database import Database
from sightline.validate.index.rows import SplitKey
from sightline.validate.index.schema import USABLE

POOL = f"{USABLE} AND declared_split IN ('', 'train')"  # what splits are made from
GROUP = "COALESCE(image_group, id)"
PAGE = 10_000  # rows that are in memory at a time


class SplitQueries:
    """The declared and assigned splits of an index. Only usable images are assigned one."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database."""
        self._db = database

    def is_declared(self, split: Split) -> bool:
        """Tell whether the source has an image in a split."""
        query = "SELECT EXISTS (SELECT 1 FROM image WHERE declared_split = ?)"
        return bool(self._db.value(query, (split,)))

    def take_declared(self) -> None:
        """Assign the images their declared splits; those without one stay as they are."""
        split = "declared_split"
        self._db.run(
            f"UPDATE image SET assigned_split = {split} "
            f"WHERE {USABLE} AND {split} != '' AND assigned_split IS NOT {split}"
        )

    def take_declared_or_train(self) -> None:
        """Assign the images their declared splits, train to those without one."""
        split = "CASE declared_split WHEN '' THEN 'train' ELSE declared_split END"
        self._db.run(f"UPDATE image SET assigned_split = {split} WHERE {USABLE} AND assigned_split IS NOT {split}")

    def leave_undeclared(self, rule: str, message: str) -> None:
        """Remove the split of images without a declared one, and add an issue about each."""
        undeclared = f"{USABLE} AND declared_split = ''"
        self._db.run(
            f"INSERT INTO issue SELECT id, ?, source, ?, NULL, 0, NULL, 0 FROM image WHERE {undeclared}",
            (rule, message),
        )
        self._db.run(f"UPDATE image SET assigned_split = NULL WHERE {undeclared} AND assigned_split IS NOT NULL")

    def pool(self) -> Iterator[list[SplitKey]]:
        """Yield, in pages, the images that splits are made from, with the deciding key: that of the first of a group.

        Their splits may be written between two pages.
        """
        last = -1
        query = (
            "SELECT image.id, COALESCE(first.sha256, image.sha256), "
            "COALESCE(first.augmented_from, image.augmented_from) "
            f"FROM (SELECT * FROM image WHERE {POOL} AND id > ? ORDER BY id LIMIT ?) AS image "
            "LEFT JOIN image AS first ON first.id = image.image_group ORDER BY image.id"
        )
        while page := list(self._db.rows(SplitKey._make, query, (last, PAGE))):
            last = page[-1].id
            yield page

    def assign(self, splits: Iterable[tuple[Split, int]]) -> None:
        """Assign splits to images, by id."""
        self._db.many("UPDATE image SET assigned_split = ? WHERE id = ?", splits)

    def pool_groups(self) -> int:
        """Count the groups that splits are made from; a single image is a group."""
        return self._db.count(f"SELECT COUNT(DISTINCT {GROUP}) FROM image WHERE {POOL}")

    def pool_has(self, split: Split) -> bool:
        """Tell whether an image of the pool was assigned a split."""
        query = f"SELECT EXISTS (SELECT 1 FROM image WHERE {POOL} AND assigned_split = ?)"
        return bool(self._db.value(query, (split,)))

    def pool_counts(self) -> dict[str, int]:
        """Count the images of the pool by the split that they were assigned."""
        query = f"SELECT assigned_split, COUNT(*) FROM image WHERE {POOL} GROUP BY 1"
        return dict(self._db.rows(tuple, query))

    def move_first_group(self, split: Split) -> None:
        """Move the group of the smallest sha256 from the split with most groups of the pool to another split."""
        largest = self._db.value(
            f"SELECT assigned_split FROM image WHERE {POOL} GROUP BY 1 ORDER BY COUNT(DISTINCT {GROUP}) DESC"
        )
        group = self._db.value(
            f"SELECT {GROUP} FROM image WHERE {POOL} AND assigned_split = ? ORDER BY sha256", (largest,)
        )
        self._db.run(f"UPDATE image SET assigned_split = ? WHERE {POOL} AND {GROUP} = ?", (split, group))
