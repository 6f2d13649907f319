"""Writes a repaired copy of a source, in its own format, and a list of every change."""

from __future__ import annotations

import contextlib
import csv
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
from sightline.rules import Handling, Issue, Repair, Scope, rule_ids
from sightline.validate import gate, index, sequence
from sightline.validate.index import Index
from sightline.validate.refusal import too_few
from sightline.validate.repair import image_bytes
from sightline.validate.repair.changes import LEFT_OUT, Change
from sightline.validate.repair.treatment import RepairTreatment
from sightline.validate.scan import scan

CHANGES = "changes.csv"
LOST = rule_ids(lambda rule: rule.repair is Repair.SAVED)
REMOVED = rule_ids(lambda rule: rule.id in LEFT_OUT or (rule.scope is Scope.BOX and rule.handling is Handling.LEFT_OUT))


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
        reading = formats.read(folder, config.data.format, config.data.voc_origin)
        scan(reading, rows, config)
        if lost := _save(rows, saved):
            reading = formats.read(folder, config.data.format, config.data.voc_origin)
            scan(_instead(reading, lost), rows, config)
        repair = RepairTreatment(rows, reading, config.data.policy, folder.name)
        dataset = sequence.run(rows, reading, config.data.voc_origin, folder.name, repair)
        _note_names(rows)
        counts = dataset.counts()
        images, boxes = (sum(getattr(part, what) for part in counts.values()) for what in ("images", "boxes"))
        if too_few(*repair.left, *repair.of) or not images or (repair.of[1] and not boxes):
            raise _nothing_left(rows, folder.name, repair.of, (images, boxes))
        writing.write(dataset, reading.format, out, image_bytes=lambda sample: _bytes(rows, sample))
        _list(rows, out / CHANGES)
        return Fixed(
            folder=str(out),
            format=reading.format,
            images=images,
            boxes=boxes,
            changes=dict(Counter(rows.repairs.change_counts()).most_common()),
            changes_file=str(out / CHANGES),
        )


def _save(rows: Index, folder: Path) -> dict[str, str]:
    """Write what can be saved of damaged images into a folder; returns their new paths by source."""
    saved = {}
    for file in rows.issues.files(LOST):
        path = os.fsdecode(file.path)
        if not os.path.isfile(path):  # a pipe, or a link to nothing
            continue
        try:
            better = image_bytes.reencode(Path(path).read_bytes(), os.path.splitext(path)[1])
        except (ValueError, OSError):
            continue
        if better is None:
            continue
        place = folder / str(file.id) / os.path.basename(path)
        place.parent.mkdir()
        place.write_bytes(better[0])
        saved[file.source] = str(place)
        rows.repairs.note(Change(file.rule, file.source, better[2]), file.source)
    return saved


def _instead(reading: Reading, saved: dict[str, str]) -> Reading:
    """Return the reading with saved images in the place of damaged ones."""

    def records() -> Iterator[ImageRecord | Issue]:
        for record in original():
            yield (
                record._replace(image=saved.get(record.source, record.image))
                if isinstance(record, ImageRecord)
                else record
            )

    original = reading.records
    reading.records = records
    return reading


def _note_names(rows: Index) -> None:
    """Note what the copy calls otherwise."""
    with rows.transaction():
        for file in rows.images.named():
            if file.name != os.path.basename(os.fsdecode(file.path)):
                change = Change("file-name", file.source, f"renamed the image to {file.name}")
                rows.repairs.note(change, file.source)


def _nothing_left(rows: Index, name: str, of: Sequence[int], kept: Sequence[int]) -> DataError:
    """Return the error for a set of which next to nothing would be left, with what leaves the images out."""
    problems = [f"{rule} {count}: {change}" for rule, change, count in rows.repairs.change_counts_of(REMOVED)]
    return DataError(
        f"Nothing was written: of the {of[0]} images and {of[1]} boxes of {name}, a repaired copy would keep {kept[0]} "
        f"image{'s' * (kept[0] != 1)} and {kept[1]} box{'es' * (kept[1] != 1)}, too few to be of use. Correct the "
        "source; `sightline validate` without --fix lists every problem:",
        problems,
    )


def _bytes(rows: Index, sample: Sample) -> bytes:
    original = rows.repairs.sha256_before(sample.source)
    if original is None:
        return writing.unchanged(sample)
    data = writing.unchanged(sample._replace(sha256=original))
    saved = image_bytes.reencode(data, os.path.splitext(sample.image)[1])
    return saved[0] if saved else data


def _list(rows: Index, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Change._fields)
        writer.writerows([*map(gate.csv_cell, change)] for change in rows.repairs.changes())
