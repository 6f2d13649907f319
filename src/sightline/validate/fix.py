"""Writes a repaired copy of a source, in its own format, and a list of every change.

Only what has one right answer is repaired: boxes are clipped, those without area and repeated ones go, copies leave the
held-out split, images that can be saved are written anew. An image with an object that cannot be read is left out
whole: without that object it would teach that nothing is there.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sightline.artifacts import Document
from sightline.config import RunConfig
from sightline.validate import across, formats, gate, index, layout, repair, splits, writers
from sightline.validate.dataset import Sample
from sightline.validate.index import Index, IndexedDataset
from sightline.validate.scan import scan
from sightline.validate.snapshot.names import plain_name
from sightline.validate.source import opened

CHANGES = "changes.csv"
BOXES = {
    "clipped-box": "clipped the box to the image",
    "zero-area-box": "removed the box",
    "duplicate-box": "removed the repeated box",
    "box-outside": "removed the box",
}
LEFT_OUT = {
    "huge-image": "left out the image",
    "unsupported-suffix": "left out the image",
    "turned-boxes": "left out the image",
    "size-mismatch": "left out the image: its boxes are of a picture of another size",
    "label-syntax": "left out the image: an object in it cannot be read",
    "wrong-task": "left out the image: an object in it is no box",
    "class-range": "left out the image: an object in it has no class",
    "shared-label": "left out the image: its labels may be another's",
    "leaked-image": "removed the copy from the held-out split",
    "duplicate-image": "removed the copy",
    "conflicting-labels": "removed the later copy",
    "orphan-label": "left out the label",
    "missing-image": "left out the annotation",
}
MOVED = ("leaked-copy", "leaked-augmentation")
IMAGES = ("unreadable-image", "truncated-image", "trailing-bytes", "wrong-suffix", "exif-orientation", "alpha-channel",
          "deep-pixels")  # fmt: skip


class Change(NamedTuple):
    """One thing that was changed."""

    rule: str
    where: str
    change: str


class Fixed(Document):
    """What a repair did."""

    folder: str
    format: str
    images: int
    boxes: int
    changes: dict[str, int]
    changes_file: str


def fix(source: str, config: RunConfig, out: Path) -> Fixed:
    """Write the repaired copy into `out`, which must not exist or be empty, with `changes.csv` in it.

    Raises StageInputError for a place that is taken, DataError for a source that cannot be read as a detection set.
    """
    writers.check_free(out)
    with opened(source, config.data.images) as folder, index.opened(None) as rows:
        reading = formats.read(folder, config.data.format, config.data.voc_origin)
        scan(reading, rows, config)
        gate.link(rows)
        across.compare(rows, config.data.policy)
        rows.rows("CREATE TEMP TABLE change (rule TEXT, place TEXT, change TEXT)")
        rows.rows("CREATE TEMP TABLE anew (id INTEGER PRIMARY KEY, source TEXT UNIQUE)")
        with rows.together():
            _repair(rows)
        classes, renumber = layout.number_classes(rows, reading, config.data.voc_origin)
        splits.assign(rows, folder.name, reading.declared, make=False)
        layout.name_images(rows)
        dataset = IndexedDataset(rows, classes, renumber, {})
        writers.write(dataset, reading.format, out, image_bytes=lambda sample: _bytes(rows, sample))
        counts = dataset.counts()
        _list(rows, out / CHANGES)
        changes = Counter(dict(rows.rows("SELECT rule, COUNT(*) FROM change GROUP BY 1").fetchall()))
        return Fixed(
            folder=str(out),
            format=reading.format,
            images=sum(part.images for part in counts.values()),
            boxes=sum(part.boxes for part in counts.values()),
            changes=dict(changes.most_common()),
            changes_file=str(out / CHANGES),
        )


def _repair(rows: Index) -> None:
    """Decide about every image, and note each decision."""
    for rule, change in {**BOXES, **LEFT_OUT}.items():
        rows.rows("INSERT INTO change SELECT rule, place, ? FROM problem WHERE rule = ?", (change, rule))
        if rule in LEFT_OUT:
            rows.rows(
                "UPDATE item SET dropped = ?1 WHERE dropped IS NULL AND id IN "
                "(SELECT item FROM problem WHERE rule = ?1)",
                (rule,),
            )
    for rule in MOVED:
        rows.rows(
            "INSERT INTO change SELECT rule, place, 'moved the image from ' || item.split || ' to ' || kin.split "
            "FROM problem JOIN item ON item.id = problem.item JOIN item kin ON kin.id = item.kin "
            "WHERE rule = ? AND item.dropped IS NULL",
            (rule,),
        )
        rows.rows(
            "UPDATE item SET split = kin.split FROM item kin WHERE kin.id = item.kin AND item.dropped IS NULL "
            "AND item.id IN (SELECT item FROM problem WHERE rule = ?)",
            (rule,),
        )
    rows.many("INSERT INTO change VALUES (?, ?, ?)", list(_images(rows)))


def _images(rows: Index) -> Iterator[Change]:
    """Try to save every image that has something wrong with it; one that is lost stays out."""
    marks = ", ".join("?" * len(IMAGES))
    wrong = rows.rows(
        "SELECT item.id, image, source, MAX(rule), MAX(rule IN ('unreadable-image', 'truncated-image')), sha256 "
        f"FROM problem JOIN item ON item.id = problem.item WHERE rule IN ({marks}) AND dropped IS NULL "
        "GROUP BY item.id",
        IMAGES,
    ).fetchall()
    for id, image, source, rule, lost, sha256 in wrong:
        path = os.fsdecode(image)
        stem, suffix = os.path.splitext(os.path.basename(path))
        try:
            saved = repair.reencode(Path(path).read_bytes(), suffix)
        except (ValueError, OSError) as error:
            if lost:
                rows.rows("UPDATE item SET dropped = ? WHERE id = ?", (rule, id))
                yield Change(rule, source, f"left out the image: {error}")
            continue
        if sha256 is None:  # it could not be opened, so its labels were never judged
            yield Change(rule, source, "left out the image")
        elif saved is not None:
            rows.rows("INSERT INTO anew VALUES (?, ?)", (id, source))
            names = (plain_name(stem) + saved[1], f"{plain_name(stem)}-{sha256[:8]}{saved[1]}")
            rows.rows("UPDATE item SET own = ?, alternative = ? WHERE id = ?", (*names, id))
            yield Change(rule, source, saved[2])


def _bytes(rows: Index, sample: Sample) -> bytes:
    data = Path(sample.image).read_bytes()
    if rows.value("SELECT 1 FROM anew WHERE source = ?", (sample.source,)):
        saved = repair.reencode(data, os.path.splitext(sample.image)[1])
        return saved[0] if saved else data
    return data


def _list(rows: Index, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Change._fields)
        writer.writerows(rows.rows("SELECT rule, place, change FROM change ORDER BY rule, place"))
