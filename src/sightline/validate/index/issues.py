"""Queries about issues: by rule, by image, and the images that they leave out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from sightline.rules import Issue
from sightline.validate.index.database import Database
from sightline.validate.index.rows import DoubtfulFile, IssueExample, IssuePlace, columns, marks
from sightline.validate.index.schema import COPY


class IssueQueries:
    """The issues of an index, by rule."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database."""
        self._db = database

    def add(
        self, image: int | None, issues: Iterable[Issue], labels: Iterable[int | None] | None = None, *,
        per_image: bool = False,
    ) -> None:  # fmt: skip
        """Add issues about an image, or, with None, about no single image.

        `labels` has for each issue the position of the label that it is about. Issues with `per_image` stay as long as
        the files of the image are unchanged.
        """
        self._db.many(
            "INSERT INTO issue VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (image, rule, where, message, json.dumps(box) if box else None, badness, label, per_image)
                for (rule, where, message, box, badness), label in zip(issues, labels or repeat(None), strict=False)
            ),
        )

    def remove_of_images(self, images: Iterable[int]) -> None:
        """Remove the issues about images."""
        self._db.many("DELETE FROM issue WHERE image_id = ?", ((id,) for id in images))

    def link_to_images(self) -> None:
        """Link issues that were found before images had ids to their images; one in two splits gets a copy for each.

        Issues about images that are listed twice are not linked: such an image is in the index once, and stays.
        """
        columns = "rule, place, message, box, badness, label, per_image"
        unlinked = f"image_id IS NULL AND rule NOT IN {COPY}"
        with self._db.transaction():
            self._db.run(
                f"INSERT INTO issue SELECT image.id, {columns} FROM issue "
                f"JOIN image ON image.source = place WHERE {unlinked}"
            )
            self._db.run(f"DELETE FROM issue WHERE {unlinked} AND place IN (SELECT source FROM image)")

    def drop_images(self, rule: str) -> None:
        """Leave out the images that a rule's issues are about."""
        self._db.run(
            "UPDATE image SET dropped_by = ?1 WHERE dropped_by IS NULL AND id IN "
            "(SELECT image_id FROM issue WHERE rule = ?1)",
            (rule,),
        )

    def rules(self) -> list[str]:
        """Return the rules that have issues."""
        return list(self._db.column("SELECT DISTINCT rule FROM issue"))

    def counts(self) -> dict[str, int]:
        """Count the issues of each rule."""
        return dict(self._db.rows(tuple, "SELECT rule, COUNT(*) FROM issue GROUP BY 1"))

    def count_without_image(self, rules: Sequence[str]) -> int:
        """Count the issues of some rules that are about images without a row in the index."""
        return self._db.count(f"SELECT COUNT(*) FROM issue WHERE image_id IS NULL AND rule IN {marks(rules)}", rules)

    def labels_of(self, rule: str) -> Iterator[tuple[int, int]]:
        """Yield the labels that issues of a rule are about: image id, and position among the labels of the image."""
        query = "SELECT image_id, label FROM issue WHERE rule = ? AND label IS NOT NULL"
        return self._db.rows(tuple, query, (rule,))

    def examples(self, rule: str, most: int | None = None) -> Iterator[IssueExample]:
        """Yield the issues of a rule, the worst first; all of them, or `most`."""
        return self._db.rows(
            IssueExample._make,
            f"SELECT {columns(IssueExample)} FROM issue LEFT JOIN image ON image.id = image_id "
            "WHERE rule = ? ORDER BY badness DESC, place LIMIT ?",
            (rule, -1 if most is None else most),
        )

    def of_rules(self, rules: Sequence[str]) -> list[IssuePlace]:
        """Return the issues of some rules."""
        query = f"SELECT {columns(IssuePlace)} FROM issue WHERE rule IN {marks(rules)}"
        return list(self._db.rows(IssuePlace._make, query, rules))

    def files(self, rules: Sequence[str]) -> list[DoubtfulFile]:
        """Return the image files that issues of some rules are about, once each, with the first rule by name."""
        query = (
            "SELECT image.id, path, source, MIN(rule) FROM issue JOIN image ON image.id = image_id "
            f"WHERE rule IN {marks(rules)} GROUP BY image.id"
        )
        return list(self._db.rows(DoubtfulFile._make, query, rules))

    def remove_rules(self, rules: Sequence[str]) -> None:
        """Remove the issues of some rules."""
        self._db.run(f"DELETE FROM issue WHERE rule IN {marks(rules)}", rules)
