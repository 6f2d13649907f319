"""Compares what a source speaks of with what the index knows, hands out what is new, and files what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sightline.datasets.types import ImageRecord, shown
from sightline.image_files.images import ImageInfo
from sightline.rules import Issue
from sightline.runtime import progress
from sightline.snapshots.file_names import plain_name
from sightline.validate.checks.labels import Micro
from sightline.validate.index import Index, mark, pack

BATCH = 128  # entries that travel to a process together
AUGMENTED = ".rf."  # what Roboflow puts between the name of a source image and the digest of a copy

CLAIM = "INSERT INTO item (id, image, split, source, seen) VALUES (?, ?, ?, ?, ?)"
DONE = (
    "image_mark", "label_mark", *ImageInfo._fields, "image_found", "labels", "count", "origin", "own", "alternative",
    "low", "fits", "pack", "signs", "named",
)  # fmt: skip
FILE = f"UPDATE item SET {', '.join(f'{column} = ?' for column in DONE)} WHERE id = ?"


class Job(NamedTuple):
    """One entry, and what the index knows of it: nothing of a new one, not its facts if the image has changed.

    `marks` are of the image file and of the labels; of a new entry they are taken where its files are opened.
    """

    id: int
    entry: ImageRecord
    marks: tuple[str, str] | None = None
    facts: ImageInfo | None = None
    image_found: tuple[Issue, ...] = ()
    pack: str | None = None


class Result(NamedTuple):
    """What became of a job: `labels` None for an image that cannot be used, `boxes` all that its labels speak of.

    `signs` are what the image says of its convention, `named` is the stem of another image that the label file names.
    """

    marks: tuple[str, str]
    facts: ImageInfo | None
    image_found: list[Issue]
    labels: list[Micro] | None
    boxes: int
    found: list[Issue]
    about: list[int | None]
    signs: str | None = None
    named: str | None = None


class Desk:
    """One reading of a source. An image is claimed when it is handed out: the same one again is only told."""

    def __init__(self, index: Index) -> None:
        """Start numbering where the index ends."""
        self.index = index
        self.next_id = int(index.value("SELECT MAX(id) FROM item") or 0) + 1
        self.classes: dict[str, int] = {}
        self.folders: set[str] = set()  # of images

    def batches(self, entries: Iterable[ImageRecord | Issue], ticker: progress.Ticker) -> Iterator[list[Job]]:
        """Yield what has to be opened; what is known is marked as seen, what was found among entries is filed."""
        stream = iter(entries)
        waiting: list[Job] = []
        while chunk := list(islice(stream, 4 * BATCH)):
            images = [entry for entry in chunk if isinstance(entry, ImageRecord)]
            ticker.total += len(images)
            with self.index.together():
                self.index.add(None, [entry for entry in chunk if isinstance(entry, Issue)])
                jobs = self._compare(images)
            ticker.tick(len(images) - len(jobs))
            waiting += jobs
            while len(waiting) >= BATCH:
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
        if waiting:
            yield waiting

    def _compare(self, entries: list[ImageRecord]) -> list[Job]:
        jobs: list[Job] = []
        same: list[tuple[int, int]] = []
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        run = self.index.run
        keys = [(os.fsencode(entry.image), entry.split or "") for entry in entries]
        known = self._known(keys)
        for key, entry in zip(keys, entries, strict=True):
            row = known.get(key)
            self.folders.add(entry.image.rpartition("/")[0])
            if row and row[1] == run:
                self.index.add(None, [_again(entry)])
                continue
            if row is None:
                jobs.append(Job(self.next_id, entry))
                new.append((self.next_id, *key, entry.source, run))
                self.next_id += 1
            elif all(now := marks(entry)) and row[2:5] == (*now, entry.source):
                same.append((run, row[0]))
            else:
                jobs.append(self._changed(row, entry, now))
                changed.append((run, entry.source, row[0]))
            known[key] = (0, run)
        self.index.many("UPDATE item SET seen = ? WHERE id = ?", same)
        self.index.many(CLAIM, new)
        # What is claimed and then not done, because the run was killed, is judged again by the next one.
        self.index.many("UPDATE item SET seen = ?, label_mark = '', source = ? WHERE id = ?", changed)
        return jobs

    def _known(self, keys: Sequence[tuple[bytes, str]]) -> dict[tuple[bytes, str], tuple[Any, ...]]:
        """Return what the index has under these keys, in one query a split."""
        found = {}
        for split in {split for _, split in keys}:
            images = [image for image, own in keys if own == split]
            marks = ", ".join("?" * len(images))
            columns = "id, seen, image_mark, label_mark, source, image"
            for row in self.index.rows(
                f"SELECT {columns} FROM item WHERE split = ? AND image IN ({marks})", (split, *images)
            ):
                found[row[5], split] = row
        return found

    def _changed(self, row: tuple[Any, ...], entry: ImageRecord, now: tuple[str, str]) -> Job:
        """Make a job of an entry one of whose files has changed; the image is only opened if it is that one."""
        if not now[0] or row[2] != now[0] or row[4] != entry.source:
            return Job(row[0], entry, now)
        columns = ", ".join(ImageInfo._fields)
        *facts, found, pack = self.index.rows(
            f"SELECT {columns}, image_found, pack FROM item WHERE id = ?", (row[0],)
        ).fetchone()
        image_found = tuple(Issue(*one) for one in json.loads(found or "[]"))
        return Job(row[0], entry, now, ImageInfo(*facts) if facts[0] else None, image_found, pack)

    def store(self, jobs: list[Job], results: list[Result]) -> None:
        """File what was found about a batch."""
        self.index.many("DELETE FROM problem WHERE item = ?", ((job.id,) for job in jobs))
        self.index.many(FILE, (self._row(*pair) for pair in zip(jobs, results, strict=True)))
        for job, result in zip(jobs, results, strict=True):
            if result.image_found:
                self.index.add(job.id, result.image_found, lasting=True)
            if result.found:
                self.index.add(job.id, result.found, result.about, lasting=True)

    def _row(self, job: Job, result: Result) -> tuple[Any, ...]:
        entry, facts = job.entry, result.facts
        labels = None if result.labels is None else pack([(self._class(c), *box) for c, *box in result.labels])
        image_found = json.dumps(result.image_found) if result.image_found else None
        name = os.path.basename(entry.image)
        stem, suffix = os.path.splitext(shown(name))
        own = plain_name(stem)
        names = (own + suffix.lower(), f"{own}-{facts.sha256[:8]}{suffix.lower()}" if facts else None)
        origin = name.split(AUGMENTED, 1)[0] if AUGMENTED in name else None
        return (
            *(*result.marks, *(facts or (None,) * len(ImageInfo._fields))),
            *(image_found, labels, result.boxes, origin, *names, own.lower(), own == stem, job.pack),
            *(result.signs, result.named, job.id),
        )

    def _class(self, label: int | str) -> int:
        if isinstance(label, int):
            return label
        if label not in self.classes:
            self.classes[label] = self.index.class_id(label)
        return self.classes[label]


def marks(entry: ImageRecord) -> tuple[str, str]:
    """Return the marks of an image file and of its labels, each empty where a change might go unseen."""
    return _mark(entry.image), _label_mark(entry)


def _mark(path: str) -> str:
    try:
        return mark(os.stat(path))
    except OSError:
        return ""


def _label_mark(entry: ImageRecord) -> str:
    """Return what changes when the labels do, or the name under which findings speak of them."""
    if entry.parsed is not None:
        return hashlib.blake2b(repr((entry.where, entry.parsed)).encode(), digest_size=16).hexdigest()
    own = _mark(entry.label) if entry.label else "none"
    return own and f"{own}:{zlib.crc32(entry.where.encode()):x}"


def _again(entry: ImageRecord) -> Issue:
    if entry.parsed is None:
        return Issue("duplicate-image", entry.source, "is listed more than once; it counts once")
    return Issue("conflicting-labels", entry.source, "is listed more than once, each time with labels of its own")
