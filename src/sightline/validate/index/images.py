"""Queries about single images: what a scan reads and writes, and which images were accepted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from sightline.documents import Split
from sightline.image_files.images import ImageInfo
from sightline.validate.index.database import Database
from sightline.validate.index.rows import (
    AcceptedImage,
    ImageFile,
    KnownFile,
    KnownImage,
    LabelledImage,
    NamedFile,
    ScannedImage,
    columns,
    marks,
)
from sightline.validate.index.schema import USABLE

SCANNED = [column for field in ScannedImage._fields for column in (ImageInfo._fields if field == "info" else (field,))]
STORE = f"UPDATE image SET {', '.join(f'{column} = ?' for column in SCANNED if column != 'id')} WHERE id = ?"
NO_INFO = (None,) * len(ImageInfo._fields)


class ImageQueries:
    """The images of an index, by id, path or split."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database."""
        self._db = database

    # --- a scan

    def begin_scan(self, label_context: str) -> int:
        """Begin a scan, remove the issues of the last one that compare images, and return the number of the scan.

        `label_context` identifies all that decides the issues of a label file besides the file and the image. If it has
        changed since the last scan, all labels are checked again.
        """
        with self._db.transaction():
            scan = self._db.count("SELECT value FROM meta WHERE key = 'scan'") + 1
            self._db.run("INSERT OR REPLACE INTO meta VALUES ('scan', ?)", (str(scan),))
            self._db.run("DELETE FROM issue WHERE NOT per_image")
            if self._db.value("SELECT value FROM meta WHERE key = 'label_context'") != label_context:
                self._db.run("UPDATE image SET label_stamp = ''")
                self._db.run("INSERT OR REPLACE INTO meta VALUES ('label_context', ?)", (label_context,))
        return scan

    def end_scan(self, scan: int) -> None:
        """Remove the images that the scan did not meet, because the source no longer has them."""
        with self._db.transaction():
            self._db.run("DELETE FROM issue WHERE image_id IN (SELECT id FROM image WHERE last_scan != ?)", (scan,))
            self._db.run("DELETE FROM image WHERE last_scan != ?", (scan,))
            self._db.run("UPDATE image SET dropped_by = NULL WHERE dropped_by IS NOT NULL")
            self._db.run("UPDATE image SET image_group = NULL WHERE image_group IS NOT NULL")

    def known(self, split: str, paths: Sequence[bytes]) -> Iterator[KnownImage]:
        """Yield the known images of a declared split that have one of these paths."""
        query = f"SELECT {columns(KnownImage)} FROM image WHERE declared_split = ? AND path IN {marks(paths)}"
        return self._db.rows(KnownImage._make, query, (split, *paths))

    def known_file(self, id: int) -> KnownFile:
        """Return what is known of an image file since it was last opened."""
        query = f"SELECT image_issues, pack, {columns(ImageInfo)} FROM image WHERE id = ?"
        [(issues, pack, sha256, *rest)] = self._db.rows(tuple, query, (id,))
        return KnownFile(ImageInfo(sha256, *rest) if sha256 else None, issues, pack)

    def claim(self, images: Iterable[tuple[int, bytes, str, str]], scan: int) -> None:
        """Add new images: id, path, declared split and source."""
        statement = f"INSERT INTO image (id, path, declared_split, source, last_scan) VALUES (?, ?, ?, ?, {scan:d})"
        self._db.many(statement, images)

    def claim_changed(self, images: Iterable[tuple[str, int]], scan: int) -> None:
        """Mark images, given as source and id, that the scan opens again.

        Images that are claimed but never stored, because the run was killed, are checked again by the next scan.
        """
        self._db.many(f"UPDATE image SET last_scan = {scan:d}, label_stamp = '', source = ? WHERE id = ?", images)

    def keep(self, ids: Iterable[int], scan: int) -> None:
        """Mark unchanged images as met by the scan."""
        self._db.many(f"UPDATE image SET last_scan = {scan:d} WHERE id = ?", ((id,) for id in ids))

    def store(self, images: Iterable[ScannedImage]) -> None:
        """Write the images that a scan checked."""

        def values(image: ScannedImage) -> tuple[object, ...]:
            image_stamp, label_stamp, info, *rest = image
            return (image_stamp, label_stamp, *(info or NO_INFO), *rest)

        self._db.many(STORE, map(values, images))

    def class_id(self, name: str) -> int:
        """Return the number that labels use for a class that is known by name only."""
        self._db.run("INSERT OR IGNORE INTO class (name) VALUES (?)", (name,))
        return self._db.count("SELECT id FROM class WHERE name = ?", (name,))

    # --- counts and look-ups

    def last_id(self) -> int:
        """Return the largest id, 0 for an empty index."""
        return self._db.count("SELECT MAX(id) FROM image")

    def ids(self) -> Iterator[int]:
        """Yield the ids of all images."""
        return self._db.column("SELECT id FROM image")

    def totals(self) -> tuple[int, int]:
        """Count the images, and the boxes that their labels name."""
        [(images, boxes)] = self._db.rows(tuple, "SELECT COUNT(*), TOTAL(boxes) FROM image")
        return images, int(boxes)

    def usable_boxes(self) -> int:
        """Count the boxes that the labels of usable images name."""
        return self._db.count(f"SELECT TOTAL(boxes) FROM image WHERE {USABLE}")

    def has(self, path: str) -> bool:
        """Tell whether an image is in the index, by its path."""
        return bool(self._db.value("SELECT EXISTS (SELECT 1 FROM image WHERE path = ?)", (os.fsencode(path),)))

    def file(self, source: str) -> ImageFile | None:
        """Return an image by its source, None if there is none; in several splits, the one of the smallest id."""
        query = f"SELECT {columns(ImageFile)} FROM image WHERE source = ? ORDER BY id LIMIT 1"
        return next(self._db.rows(ImageFile._make, query, (source,)), None)

    def labelled(self) -> Iterator[LabelledImage]:
        """Yield all images whose labels could be read, even if they have no box."""
        query = f"SELECT {columns(LabelledImage)} FROM image WHERE labels IS NOT NULL"
        return self._db.rows(LabelledImage._make, query)

    def convention_counts(self) -> Iterator[tuple[str, str]]:
        """Yield for each image with boxes its declared split and its convention counts (JSON)."""
        return self._db.rows(
            tuple, "SELECT declared_split, convention_counts FROM image WHERE convention_counts IS NOT NULL ORDER BY id"
        )

    def class_ids(self) -> dict[str, int]:
        """Return the classes that are known by name only, with the numbers that labels use for them."""
        return dict(self._db.rows(tuple, "SELECT name, id FROM class"))

    # --- the canonical layout, and the store

    def name_all(self) -> None:
        """Name every usable image: by its own name if that is plain and unique in its split, otherwise with its sha256.

        Names must be unique without their suffix and regardless of case, because two images must not share a label
        file.
        """
        with self._db.transaction():
            self._db.run("DELETE FROM doubled")
            self._db.run(
                f"INSERT INTO doubled SELECT assigned_split, stem_key FROM image WHERE {USABLE} "
                "GROUP BY 1, 2 HAVING COUNT(*) > 1"
            )
            doubled = "(assigned_split, stem_key) IN (SELECT assigned_split, stem_key FROM doubled)"
            name = f"CASE WHEN NOT is_plain OR {doubled} THEN hashed_name ELSE plain_name END"
            self._db.run(f"UPDATE image SET name = {name} WHERE {USABLE} AND name IS NOT {name}")

    def named(self) -> Iterator[NamedFile]:
        """Yield the images that have a name in the canonical layout."""
        return self._db.rows(NamedFile._make, f"SELECT {columns(NamedFile)} FROM image WHERE name IS NOT NULL")

    def of_split(self, split: Split) -> Iterator[AcceptedImage]:
        """Yield the usable images of a split by name."""
        query = f"SELECT {columns(AcceptedImage)} FROM image WHERE {USABLE} AND assigned_split = ? ORDER BY name"
        return self._db.rows(AcceptedImage._make, query, (split,))

    def remember_packs(self, packs: Iterable[tuple[str, str]]) -> None:
        """Remember which packs of a store hold images: pairs of the sha256 of an image and the key of a pack."""
        with self._db.transaction():
            self._db.many("UPDATE image SET pack = ?2 WHERE sha256 = ?1", packs)
