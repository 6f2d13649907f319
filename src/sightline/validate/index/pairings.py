"""Queries about images and labels that belong together by their names, or by what a label file says."""

from __future__ import annotations

import os

from sightline.datasets.formats.files import composed, folded, stem
from sightline.validate.index.database import Database
from sightline.validate.index.rows import NamedCounts, NamedOther


class PairingQueries:
    """The names of the images and labels of an index."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database, and add the functions that compare names to it."""
        self._db = database
        database.function("folded", lambda path: folded(stem(os.path.basename(path))))
        database.function("called", _called)
        database.function("lower_case", str.casefold)

    def unpaired(self, bare: str, orphan: str) -> list[tuple[str, str]]:
        """Return pairs of an image without a label and a label without an image that have the same name.

        `bare` and `orphan` are the rules of such images and labels.
        """
        query = (
            "WITH orphan AS MATERIALIZED (SELECT folded(place) AS name, MIN(place) AS place FROM issue "
            "WHERE rule = ?2 GROUP BY 1), "
            "bare AS MATERIALIZED (SELECT folded(place) AS name, MIN(place) AS place FROM issue "
            "WHERE rule = ?1 GROUP BY 1) "
            "SELECT bare.place, orphan.place FROM bare JOIN orphan USING (name) ORDER BY 1"
        )
        return list(self._db.rows(tuple, query, (bare, orphan)))

    def naming_others(self) -> list[NamedOther]:
        """Return the images whose label file names another image, with the source of that image if it exists."""
        if not self._db.value("SELECT EXISTS (SELECT 1 FROM image WHERE named_image IS NOT NULL)"):
            return []
        query = (
            "WITH there AS MATERIALIZED (SELECT called(path) AS name, MIN(source) AS source FROM image GROUP BY 1), "
            "nearly AS MATERIALIZED (SELECT lower_case(name) AS name, MIN(source) AS source FROM there GROUP BY 1) "
            "SELECT id, path, image.source, named_image, COALESCE(there.source, nearly.source) FROM image "
            "LEFT JOIN there ON there.name = named_image LEFT JOIN nearly ON nearly.name = lower_case(named_image) "
            "WHERE named_image IS NOT NULL ORDER BY image.source"
        )
        return list(self._db.rows(NamedOther._make, query))

    def naming_counts(self, other: str, bare: str) -> list[NamedCounts]:
        """Count, for each declared split, annotated images and those with an issue of the rule `other`.

        `bare` is the rule of images without an annotation.
        """
        query = (
            "SELECT declared_split, COUNT(*), COUNT(named), COUNT(DISTINCT named) FROM (SELECT declared_split, "
            "CASE WHEN id IN (SELECT image_id FROM issue WHERE rule = ?1) THEN named_image END AS named "
            "FROM image WHERE id NOT IN (SELECT image_id FROM issue WHERE rule = ?2 AND image_id IS NOT NULL)) "
            "GROUP BY declared_split ORDER BY declared_split"
        )
        return list(self._db.rows(NamedCounts._make, query, (other, bare)))

    def naming_example(self, other: str, split: str | None) -> tuple[str, str]:
        """Return the source and the named image of an image with an issue of the rule `other`, in a split or any."""
        query = (
            "SELECT source, named_image FROM issue JOIN image ON image.id = image_id WHERE rule = ?1 "
            "AND (?2 IS NULL OR declared_split = ?2) ORDER BY source LIMIT 1"
        )
        [(source, named)] = self._db.rows(tuple, query, (other, split))
        return source, named


def _called(path: bytes) -> str:
    return composed(stem(os.path.basename(os.fsdecode(path)))).encode("utf-8", "replace").decode()
