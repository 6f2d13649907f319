"""Writes a repaired copy of a source, in its own format, and a list of every change.

Only what has one right answer is repaired: boxes are clipped, those without area and repeated ones go, leaked copies
leave the held-out split, images that can be saved are saved. An image with an object that cannot be read is left
out whole: without that object it would teach that nothing is there. So is one that has two versions of its labels.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.config import RunConfig
from sightline.datasets import formats
from sightline.datasets.formats import writing
from sightline.datasets.sources import opened
from sightline.datasets.types import ImageRecord, Reading, Sample
from sightline.documents import Document
from sightline.errors import DataError
from sightline.image_files import images as pictures
from sightline.policy import Policy
from sightline.rules import Issue
from sightline.snapshots.file_names import plain_name
from sightline.validate import canonical_layout, gate, index, splits
from sightline.validate.checks import class_names, conventions, copies, cross_image, pairing
from sightline.validate.checks.similarity import CLOSER
from sightline.validate.index import Index, IndexedDataset
from sightline.validate.refusal import LISTED, UNDECIDED, too_few
from sightline.validate.repair import image_bytes
from sightline.validate.repair.changes import COPIES, LEFT_OUT, WRITTEN, Change
from sightline.validate.scan import scan

CHANGES = "changes.csv"
DISTINCT = "SELECT DISTINCT rule, place, change FROM change"
MOVED = ("leaked-copy", "leaked-augmentation")
LOST = ("unreadable-image", "truncated-image")
IMAGES = ("trailing-bytes", "wrong-suffix", "exif-orientation", "alpha-channel", "deep-pixels")


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

    Raises StageInputError for a place that is taken, DataError for a source that cannot be read as a detection set,
    that has something wrong with it as a whole which only its owner can decide, or of which next to nothing would be
    left. Then nothing is written.
    """
    writing.check_free(out)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(opened(source, config.data.images))
        rows = stack.enter_context(index.opened(None))
        saved = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-saved-")))
        rows.rows("CREATE TEMP TABLE change (rule TEXT, place TEXT, change TEXT, of TEXT)")
        rows.rows("CREATE TEMP TABLE resaved (source TEXT PRIMARY KEY, sha256 TEXT)")
        rows.rows("CREATE INDEX item_kin ON item (kin)")
        reading = formats.read(folder, config.data.format, config.data.voc_origin)
        scan(reading, rows, config)
        if lost := _save(rows, saved):
            reading = formats.read(folder, config.data.format, config.data.voc_origin)
            scan(_instead(reading, lost), rows, config)
        gate.link(rows)
        pairing.find(rows)
        _check_decided(rows, reading, config.data.policy, folder.title)
        of = _size(rows)
        with rows.together():
            _leave_out(rows)
            left = _size(rows)
            _repair(rows, config.data.policy)
        classes, renumber = canonical_layout.number_classes(rows, reading, config.data.voc_origin, folder.title)
        spelled = list(class_names.find(classes))
        classes, renumber, omitted = class_names.merge(rows, classes, renumber, config.data.policy.thresholds)
        for found in spelled:
            rows.rows("INSERT INTO change VALUES (?, ?, 'merged the classes', NULL)", (found.rule, found.where))
        splits.assign(rows, folder.name, reading.declared, make=False)
        canonical_layout.name_images(rows)
        _renamed(rows)
        dataset = IndexedDataset(rows, classes, renumber, omitted)
        counts = dataset.counts()
        kept = tuple(sum(getattr(part, what) for part in counts.values()) for what in ("images", "boxes"))
        if too_few(*left, *of) or not kept[0] or (of[1] and not kept[1]):
            raise _nothing_left(rows, folder.name, of, kept)
        writing.write(dataset, reading.format, out, image_bytes=lambda sample: _bytes(rows, sample))
        _list(rows, out / CHANGES)
        changes = Counter(dict(rows.rows(f"SELECT rule, COUNT(*) FROM ({DISTINCT}) GROUP BY 1").fetchall()))
        return Fixed(
            folder=str(out),
            format=reading.format,
            images=kept[0],
            boxes=kept[1],
            changes=dict(changes.most_common()),
            changes_file=str(out / CHANGES),
        )


def _size(rows: Index) -> tuple[int, int]:
    """Count the images, and the boxes that their labels name."""
    return int(rows.value("SELECT COUNT(*) FROM item")), int(rows.value("SELECT TOTAL(count) FROM item"))


def _nothing_left(rows: Index, name: str, of: Sequence[int], kept: Sequence[int]) -> DataError:
    """Return the error for a set of which next to nothing would be left, with what leaves the images out."""
    removed = [*LEFT_OUT, "zero-area-box"]
    marks = ", ".join("?" * len(removed))
    counts = rows.rows(
        f"SELECT rule, change, COUNT(*) FROM ({DISTINCT}) WHERE rule IN ({marks}) GROUP BY 1 ORDER BY 3 DESC, 1",
        removed,
    ).fetchall()
    problems = [f"{rule} {count}: {change}" for rule, change, count in counts]
    return DataError(
        f"Nothing was written: of the {of[0]} images and {of[1]} boxes of {name}, a repaired copy would keep {kept[0]} "
        f"image{'s' * (kept[0] != 1)} and {kept[1]} box{'es' * (kept[1] != 1)}, too few to be of use. Correct the "
        "source; `sightline validate` without --fix lists every problem:",
        problems,
    )


def _check_decided(rows: Index, reading: Reading, policy: Policy, name: str) -> None:
    """Refuse where a copy would only hide what is wrong with a whole set, and that is an error. Raises DataError."""
    rows.add(None, conventions.judge(rows, reading.format, name))
    query = f"SELECT rule, place, message FROM problem WHERE rule IN {UNDECIDED}"
    found = rows.rows(query).fetchall()
    problems = [f"{place}: {message} [{rule}]" for rule, place, message in found if policy.of(rule).severity == "error"]
    if problems:
        raise DataError(
            "Nothing was written: what is wrong with the set as a whole has no single right answer. Correct it, or "
            "make it a warning in the policy if it is right as it stands:",
            problems[:LISTED],
        )


def _save(rows: Index, folder: Path) -> dict[str, str]:
    """Write what can be saved of damaged images into a folder; returns their new paths by source."""
    saved = {}
    damaged = rows.rows(
        "SELECT item.id, image, source, rule FROM problem JOIN item ON item.id = problem.item WHERE rule IN (?, ?)",
        LOST,
    ).fetchall()
    for id, image, source, rule in damaged:
        path = os.fsdecode(image)
        if not os.path.isfile(path):  # a pipe, or a link to nothing
            continue
        try:
            better = image_bytes.reencode(Path(path).read_bytes(), os.path.splitext(path)[1])
        except (ValueError, OSError):
            continue
        if better is None:
            continue
        place = folder / str(id) / os.path.basename(path)
        place.parent.mkdir()
        place.write_bytes(better[0])
        saved[source] = str(place)
        _note(rows, Change(rule, source, better[2]), source)
    return saved


def _instead(reading: Reading, saved: dict[str, str]) -> Reading:
    """Return the reading with saved images in the place of damaged ones."""

    def entries() -> Iterator[ImageRecord | Issue]:
        for entry in original():
            yield (
                entry._replace(image=saved.get(entry.source, entry.image)) if isinstance(entry, ImageRecord) else entry
            )

    original = reading.records
    reading.records = entries
    return reading


def _leave_out(rows: Index) -> None:
    """Note what the copy has otherwise, and remove images from the index that cannot be repaired."""
    for rule, change in {**WRITTEN, **LEFT_OUT}.items():
        of = "NULL" if rule in LEFT_OUT else "(SELECT source FROM item WHERE id = item)"
        rows.rows(f"INSERT INTO change SELECT rule, place, ?, {of} FROM problem WHERE rule = ?", (change, rule))
        if rule in LEFT_OUT:
            rows.rows("DELETE FROM item WHERE id IN (SELECT item FROM problem WHERE rule = ?)", (rule,))
    # Listed twice, each time with labels of its own: the image is there once, with those that came first.
    rows.rows("DELETE FROM item WHERE source IN (SELECT place FROM problem WHERE rule = 'conflicting-labels')")
    rows.rows("DELETE FROM item WHERE sha256 IS NULL")


def _repair(rows: Index, policy: Policy) -> None:
    """Repair images that are left, and take copies apart."""
    rows.rows("INSERT INTO change SELECT rule, place, 'listed once', place FROM problem WHERE rule = 'duplicate-image'")
    for better in list(_images(rows)):
        _note(rows, better, better.where)
    while _apart(rows, policy):  # what moves to another split may be a copy of something there
        pass
    rows.rows("DELETE FROM change WHERE of IS NOT NULL AND of NOT IN (SELECT source FROM item)")


def _apart(rows: Index, policy: Policy) -> bool:
    """Remove copies, and move what leaks; tells whether anything moved."""
    forget = f"DELETE FROM problem WHERE rule IN {cross_image.RULES}"
    rows.rows(forget)
    rows.rows("UPDATE item SET kin = NULL WHERE kin IS NOT NULL")
    change = LEFT_OUT["conflicting-labels"]
    torn = "FROM item WHERE sha256 IN (SELECT sha256 FROM item GROUP BY 1 HAVING COUNT(DISTINCT labels) > 1)"
    rows.rows(f"INSERT INTO change SELECT 'conflicting-labels', source, ?, NULL {torn}", (change,))
    rows.rows(f"DELETE FROM item WHERE id IN (SELECT id {torn})")
    cross_image.compare(rows, policy, films=False)
    for rule, change in COPIES.items():
        rows.rows("INSERT INTO change SELECT rule, place, ?, NULL FROM problem WHERE rule = ?", (change, rule))
        rows.rows("DELETE FROM item WHERE id IN (SELECT item FROM problem WHERE rule = ?)", (rule,))
    moved = rows.rows(
        "SELECT DISTINCT item.id, rule, source, split, (SELECT split FROM item AS kin WHERE kin.kin = item.kin "
        f"ORDER BY {cross_image.HELD_OUT} LIMIT 1) FROM problem JOIN item ON item.id = problem.item "
        "WHERE rule IN (?, ?)",
        MOVED,
    ).fetchall()
    for id, rule, source, split, target in moved:
        if split != target:
            rows.rows("UPDATE item SET split = ? WHERE id = ?", (target, id))
            _note(rows, Change(rule, source, f"moved the image from {split} to {target or 'train'}"), source)
    return any(split != target for *_, split, target in moved)


def _note(rows: Index, change: Change, of: str) -> None:
    """Note a change to the image `of`, which counts only if that is in the copy."""
    rows.rows("INSERT INTO change VALUES (?, ?, ?, ?)", (*change, of))


def _images(rows: Index) -> Iterator[Change]:
    """Save images again that have something wrong with them, where that can be done."""
    marks = ", ".join("?" * len(IMAGES))
    wrong = rows.rows(
        "SELECT item.id, image, source, MIN(rule), sha256 FROM problem JOIN item ON item.id = problem.item "
        f"WHERE rule IN ({marks}) GROUP BY item.id",
        IMAGES,
    ).fetchall()
    for id, image, source, rule, sha256 in wrong:
        path = os.fsdecode(image)
        stem, suffix = os.path.splitext(os.path.basename(path))
        try:
            saved = image_bytes.reencode(Path(path).read_bytes(), suffix)
        except (ValueError, OSError):
            continue  # it can be used as it is
        if saved is not None:
            rows.rows("INSERT OR IGNORE INTO resaved VALUES (?, ?)", (source, sha256))
            _compared_as(rows, id, saved[0])
            names = (plain_name(stem) + saved[1], f"{plain_name(stem)}-{sha256[:8]}{saved[1]}")
            rows.rows("UPDATE item SET own = ?, alternative = ? WHERE id = ?", (*names, id))
            yield Change(rule, source, saved[2])


def _compared_as(rows: Index, id: int, data: bytes) -> None:
    """Compare an image by what it is in the copy: transparency laid on white, or an end cut, may make it another's."""
    rows.rows("UPDATE item SET sha256 = ? WHERE id = ?", (hashlib.sha256(data).hexdigest(), id))
    if rows.value("SELECT thumb FROM item WHERE id = ?", (id,)) is not None:
        rows.rows("UPDATE item SET thumb = ? WHERE id = ?", (pictures.look(data, pictures.THUMB), id))
        copies.remember(rows, id, pictures.look(data, CLOSER))


def _renamed(rows: Index) -> None:
    """Note what the copy calls otherwise."""
    with rows.together():
        for image, source, name in rows.rows("SELECT image, source, name FROM item WHERE name IS NOT NULL"):
            if name != os.path.basename(os.fsdecode(image)):
                _note(rows, Change("file-name", source, f"renamed the image to {name}"), source)


def _bytes(rows: Index, sample: Sample) -> bytes:
    original = rows.value("SELECT sha256 FROM resaved WHERE source = ?", (sample.source,))
    if original is None:
        return writing.unchanged(sample)
    data = writing.unchanged(sample._replace(sha256=original))
    saved = image_bytes.reencode(data, os.path.splitext(sample.image)[1])
    return saved[0] if saved else data


def _list(rows: Index, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Change._fields)
        changes = rows.rows(f"{DISTINCT} ORDER BY rule, place")
        writer.writerows([*map(gate.cell, change)] for change in changes)
