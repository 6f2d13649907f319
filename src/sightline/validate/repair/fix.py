"""Writes a repaired copy of a source in its own format, with a list of every change."""

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
from sightline.validate import gate, sequence
from sightline.validate.index import Index
from sightline.validate.index import opened as opened_index
from sightline.validate.refusal import too_few
from sightline.validate.repair import image_bytes
from sightline.validate.repair.changes import LEFT_OUT, Change
from sightline.validate.repair.treatment import RepairTreatment
from sightline.validate.scan import scan

CHANGES = "changes.csv"
REENCODED_IF_POSSIBLE = rule_ids(lambda rule: rule.repair is Repair.SAVED)
REMOVED = rule_ids(lambda rule: rule.id in LEFT_OUT or (rule.scope is Scope.BOX and rule.handling is Handling.LEFT_OUT))


class Fixed(Document):
    """The result of a repair: the copy, what it holds, and the number of changes by rule."""

    folder: str
    format: str
    images: int
    boxes: int
    changes: dict[str, int]
    changes_file: str


def fix(source: str, config: RunConfig, out: Path) -> Fixed:
    """Write the repaired copy into `out`, which must not exist or be empty, with `changes.csv` in it.

    Raises StageInputError if `out` is not empty, and DataError for a source that cannot be read as a detection set,
    that has a problem as a whole which only its owner can resolve, or of which next to nothing would be left. Then
    nothing is written.
    """
    writing.check_free(out)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(opened(source, config.data.images))
        index = stack.enter_context(opened_index(None))
        saved_folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-saved-")))
        reading = formats.read(folder, config.data.format, config.data.voc_origin)
        scan(reading, index, config)
        if saved := _save_damaged(index, saved_folder):
            reading = formats.read(folder, config.data.format, config.data.voc_origin)
            scan(_with_reencoded(reading, saved), index, config)
        repair = RepairTreatment(index, reading, config.data.policy, folder.name)
        dataset = sequence.run(index, reading, config.data.voc_origin, folder.name, repair)
        _note_names(index)
        counts = dataset.counts()
        images, boxes = (sum(getattr(part, what) for part in counts.values()) for what in ("images", "boxes"))
        if too_few(*repair.after, *repair.before) or not images or (repair.before[1] and not boxes):
            raise _too_little_left(index, folder.name, repair.before, (images, boxes))
        writing.write(dataset, reading.format, out, image_bytes=lambda sample: _image_bytes(index, sample))
        _write_changes(index, out / CHANGES)
        return Fixed(
            folder=str(out),
            format=reading.format,
            images=images,
            boxes=boxes,
            changes=dict(Counter(index.repairs.change_counts()).most_common()),
            changes_file=str(out / CHANGES),
        )


def _save_damaged(index: Index, folder: Path) -> dict[str, str]:
    """Re-encode damaged images into a folder where possible; return their new paths by source."""
    saved = {}
    for file in index.issues.files(REENCODED_IF_POSSIBLE):
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
        place.write_bytes(better.data)
        saved[file.source] = str(place)
        index.repairs.note(Change(file.rule, file.source, better.change), file.source)
    return saved


def _with_reencoded(reading: Reading, saved: dict[str, str]) -> Reading:
    """Return the reading with re-encoded images in place of damaged ones."""

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


def _note_names(index: Index) -> None:
    """Add a change for each image that has another file name in the copy."""
    with index.transaction():
        for file in index.images.named():
            if file.name != os.path.basename(os.fsdecode(file.path)):
                change = Change("file-name", file.source, f"renamed the image to {file.name}")
                index.repairs.note(change, file.source)


def _too_little_left(index: Index, name: str, before: Sequence[int], kept: Sequence[int]) -> DataError:
    """Return the error for a set of which next to nothing would be left, with the rules that leave images out."""
    problems = [f"{rule} {count}: {change}" for rule, change, count in index.repairs.change_counts_of(REMOVED)]
    return DataError(
        f"Nothing was written: of the {before[0]} images and {before[1]} boxes of {name}, a repaired copy would keep "
        f"{kept[0]} image{'s' * (kept[0] != 1)} and {kept[1]} box{'es' * (kept[1] != 1)}, too few to be of use. "
        "Correct the source; `sightline validate` without --fix lists every problem:",
        problems,
    )


def _image_bytes(index: Index, sample: Sample) -> bytes:
    original = index.repairs.sha256_before(sample.source)
    if original is None:
        return writing.unchanged(sample)
    data = writing.unchanged(sample._replace(sha256=original))
    saved = image_bytes.reencode(data, os.path.splitext(sample.image)[1])
    return saved.data if saved else data


def _write_changes(index: Index, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Change._fields)
        writer.writerows([*map(gate.csv_cell, change)] for change in index.repairs.changes())
