"""Brings the images and annotations of COCO files together in a temporary SQLite database, in flat memory.

A COCO file may list annotations before images and in any order; there can be more than memory holds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sightline.datasets.formats.coco.json_stream import Record
from sightline.datasets.formats.coco.records import CROWD, Scores, annotation_row, has_mask, image_row
from sightline.errors import StorageError

TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -32768;
    CREATE TABLE image (file, number, id, name, width, height, endless);
    CREATE TABLE annotation (file, number, id, image, category, x0, y0, x1, y1, area, rule, message);
    CREATE TABLE used (folder, name, PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""
INDICES = """
    CREATE INDEX image_id ON image (file, id, number);
    CREATE INDEX image_name ON image (file, id, name, number);
    CREATE INDEX annotation_image ON annotation (file, image, number);
    CREATE INDEX annotation_id ON annotation (file, id, number);
"""
# Of the entries with the same id: the first in the order of an index, which ends the search at the first match.
OF_ID = "(SELECT o.number FROM image o WHERE o.file = t.file AND o.id = t.id {which} LIMIT 1)"
FIRST = OF_ID.format(which="ORDER BY o.number")
SAME = OF_ID.format(which="AND o.name = t.name AND o.number < t.number ORDER BY o.number")
OTHERS = [OF_ID.format(which=f"AND o.name {wanted} ORDER BY o.name") for wanted in ("< t.name", "> t.name", "IS NULL")]
IMAGES = f"""
    SELECT number, id, name, width, height, endless, {FIRST}, {SAME}, COALESCE({", ".join(OTHERS)})
    FROM image t WHERE file = ? ORDER BY rowid
"""
ANNOTATIONS = """
    SELECT number, category, x0, y0, x1, y1, area, rule, message FROM annotation
    WHERE file = ? AND image = ? ORDER BY number
"""
REPEATED = """
    SELECT MIN(number), COUNT(*) FROM annotation t WHERE file = ?
    AND EXISTS (SELECT 1 FROM annotation o WHERE o.file = t.file AND o.id = t.id AND o.number < t.number)
"""
LOST = """
    SELECT MIN(number), image, COUNT(*) FROM annotation t WHERE file = ?
    AND NOT EXISTS (SELECT 1 FROM image i WHERE i.file = t.file AND i.id = t.image) GROUP BY image ORDER BY 1
"""


class Image(NamedTuple):
    """One entry of `images`; without a name it is unusable. `endless` says which side is no finite number.

    Of the entries with its id, `first` is the number of the first, `same` of an earlier one with the same name, `other`
    of one with another name.
    """

    number: int
    id: Any
    name: str | None
    width: int | None
    height: int | None
    endless: str | None
    first: int | None
    same: int | None
    other: int | None


class Annotation(NamedTuple):
    """One entry of `annotations`, but crowds: edges in pixels and the area it states, or a rule that it breaks."""

    number: int
    category: Any
    x0: float
    y0: float
    x1: float
    y1: float
    area: float | None
    rule: str | None
    message: str


class Counts(NamedTuple):
    """What the annotations of a file have besides boxes."""

    crowds: int
    masks: int


class Table:
    """The staged entries of all files of a source. SQLite removes the database when this goes."""

    def __init__(self) -> None:
        """Make an empty database. A pool may draw entries from a thread of its own."""
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(TABLES)
        self._db.execute("BEGIN")

    def add_images(self, file: int, records: Iterable[Record]) -> None:
        """Stage the entries of `images`. Raises StorageError."""
        rows = ((file, number, *image_row(record)) for number, record in enumerate(records))
        with _full():
            self._db.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def add_annotations(self, file: int, records: Iterable[Record]) -> Counts:
        """Stage the entries of `annotations`. Crowds are regions, not objects: they are only counted.

        Annotations that are predictions break a rule, each of them (see `Scores`). Raises StorageError.
        """
        crowds = masks = 0
        scores = Scores()

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal crowds, masks
            for number, record in enumerate(records):
                if record.get("iscrowd") in CROWD:
                    crowds += 1
                    continue
                scores.add(record)
                row = annotation_row(record)
                masks += row[-2] is None and has_mask(record)
                yield (file, number, *row)

        with _full():
            self._db.executemany(f"INSERT INTO annotation VALUES ({', '.join('?' * 12)})", rows())
            if scores.predictions:
                message = (
                    f"has a score, as all {scores.boxes} annotations of the file have ({scores.low:.3g} to "
                    f"{scores.high:.3g}): predictions of a model; expected labels. If somebody checked them, remove "
                    "the scores"
                )
                statement = "UPDATE annotation SET rule = 'wrong-task', message = ? WHERE file = ? AND rule IS NULL"
                self._db.execute(statement, (message, file))
        return Counts(crowds, masks)

    def forget(self, file: int) -> None:
        """Remove what is staged of a file. Raises StorageError."""
        with _full():
            for table in ("image", "annotation"):
                self._db.execute(f"DELETE FROM {table} WHERE file = ?", (file,))

    def ready(self) -> None:
        """Prepare for questions once all is staged. Raises StorageError."""
        with _full():
            for statement in INDICES.strip().split(";")[:-1]:
                self._db.execute(statement)

    def images(self, file: int) -> Iterator[Image]:
        """Yield the images of a file in its order."""
        return map(Image._make, self._db.execute(IMAGES, (file,)))

    def names(self, file: int) -> Iterator[str]:
        """Yield the file names of the images that have one."""
        for (name,) in self._db.execute("SELECT name FROM image WHERE file = ? AND name IS NOT NULL", (file,)):
            yield name

    def annotations(self, file: int, image: Any) -> Iterator[Annotation]:
        """Yield the annotations of an image in the order of the file."""
        return map(Annotation._make, self._db.execute(ANNOTATIONS, (file, image)))

    def lost(self, file: int) -> Iterator[tuple[int, Any, int]]:
        """Yield each image id that is not there, with the first of the annotations that refer to it and their count."""
        yield from self._db.execute(LOST, (file,))

    def repeated(self, file: int) -> tuple[int, int]:
        """Return the number of the first annotation whose id an earlier one has, and the count of all of them."""
        first, count = self._db.execute(REPEATED, (file,)).fetchone()
        return first or 0, count

    def categories(self, file: int) -> Iterator[Any]:
        """Yield the ids of the categories that annotations have."""
        for (category,) in self._db.execute("SELECT DISTINCT category FROM annotation WHERE file = ?", (file,)):
            yield category

    def use(self, folder: str, name: str) -> None:
        """Note that an annotation names an image file."""
        self._db.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (_blob(folder), _blob(name)))

    def folders(self) -> list[str]:
        """Return the folders that have such files."""
        rows = self._db.execute("SELECT DISTINCT folder FROM used ORDER BY folder")
        return [row[0].decode("utf-8", "surrogateescape") for row in rows]

    def is_used(self, folder: str, name: str) -> bool:
        """Tell whether an annotation names an image file."""
        query = "SELECT 1 FROM used WHERE folder = ? AND name = ?"
        return self._db.execute(query, (_blob(folder), _blob(name))).fetchone() is not None


@contextlib.contextmanager
def _full() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"Annotations cannot be sorted on disk: {error}. Free space, or set TMPDIR.") from None


def _blob(name: str) -> bytes:
    """Return a file name's bytes: it may be no UTF-8, which SQLite does not take for text."""
    return name.encode("utf-8", "surrogateescape")
