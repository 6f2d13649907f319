"""Brings the images and annotations of COCO files together in a temporary SQLite database, in flat memory.

A COCO file may list annotations before images and in any order; there can be more than memory holds.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sightline.errors import StorageError
from sightline.validate.dataset import Edges
from sightline.validate.formats.coco_json import Record
from sightline.validate.formats.files import FAR, short

TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -32768;
    CREATE TABLE image (file, number, id, name, width, height);
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
    SELECT number, id, name, width, height, {FIRST}, {SAME}, COALESCE({", ".join(OTHERS)})
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
    """One entry of `images`; without a name it is unusable.

    Of the entries with its id, `first` is the number of the first, `same` of an earlier one with the same name, `other`
    of one with another name.
    """

    number: int
    id: Any
    name: str | None
    width: int | None
    height: int | None
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
        rows = ((file, number, *_image(record)) for number, record in enumerate(records))
        with _full():
            self._db.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add_annotations(self, file: int, records: Iterable[Record]) -> Counts:
        """Stage the entries of `annotations`. Crowds are regions, not objects: they are only counted.

        Raises StorageError.
        """
        crowds = masks = 0

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal crowds, masks
            for number, record in enumerate(records):
                if record.get("iscrowd") in (1, True, "1"):
                    crowds += 1
                    continue
                row = _annotation(record)
                masks += row[-2] is None and _has_mask(record)
                yield (file, number, *row)

        with _full():
            self._db.executemany(f"INSERT INTO annotation VALUES ({', '.join('?' * 12)})", rows())
        return Counts(crowds, masks)

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
        """Note that an image file is spoken of."""
        self._db.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (_blob(folder), _blob(name)))

    def folders(self) -> list[str]:
        """Return the folders that have such files."""
        rows = self._db.execute("SELECT DISTINCT folder FROM used ORDER BY folder")
        return [row[0].decode("utf-8", "surrogateescape") for row in rows]

    def is_used(self, folder: str, name: str) -> bool:
        """Tell whether an image file is spoken of."""
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


def _id(value: Any) -> Any:
    """Return an id that can be compared; SQLite tells 1 from "1"."""
    return value if type(value) in (int, str, float) else None


def _image(record: Record) -> tuple[Any, ...]:
    name = record.get("file_name")
    usable = isinstance(name, str) and name
    return (_id(record.get("id")), name if usable else None, _side(record.get("width")), _side(record.get("height")))


def _side(value: Any) -> int | None:
    """Return a width or height; whole numbers come as 640.0 and "640" too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) in (int, float) and 0 < value < 2**31 and value == int(value):
        return int(value)
    return None


def _annotation(record: Record) -> tuple[Any, ...]:
    """Return id, image, category, edges, area, and the rule that is broken with a message."""
    ids = (_id(record.get("id")), _named(record.get("image_id")), _named(record.get("category_id")))
    bbox = record.get("bbox")
    edges = _edges(bbox)
    if edges:
        return (*ids, *edges, _finite(record.get("area")), None, "")
    got = f"has the bbox {short(json.dumps(bbox), 60)}"
    if not bbox and _has_mask(record):
        task = "keypoints" if record.get("keypoints") else "a segmentation"
        return (*ids, *(None,) * 5, "wrong-task", f"has {task} and no bbox; expected [x, y, width, height]")
    if isinstance(bbox, list) and len(bbox) == 5:
        return (*ids, *(None,) * 5, "wrong-task", f"{got}, an oriented box; expected [x, y, width, height]")
    if isinstance(bbox, list) and len(bbox) == 4 and all(type(v) in (int, float) for v in bbox):
        wrong = "of negative or endless size" if all(map(math.isfinite, bbox)) else "which are not all finite numbers"
        return (*ids, *(None,) * 5, "label-syntax", f"{got}, {wrong}; expected [x, y, width, height] in pixels")
    return (*ids, *(None,) * 5, "label-syntax", f"{got}, expected [x, y, width, height]")


def _named(value: Any) -> Any:
    """Return what an annotation refers to; NaN, which is equal to no id, by its name."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else _id(value)


def _finite(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < FAR else None


def _edges(bbox: Any) -> Edges | None:
    if type(bbox) is not list or len(bbox) != 4 or not all(type(value) in (int, float) for value in bbox):
        return None
    x, y, w, h = bbox
    if not (-FAR < x < FAR and -FAR < y < FAR and 0 <= w < FAR and 0 <= h < FAR):
        return None
    return float(x), float(y), float(x + w), float(y + h)


def _has_mask(record: Record) -> bool:
    return bool(record.get("segmentation") or record.get("keypoints"))
