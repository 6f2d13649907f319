"""Decides which files of a source a scan must open, by comparing the source with the index, and stores the results."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sightline.datasets.types import ImageRecord, shown
from sightline.image_files.images import ImageInfo
from sightline.rules import Issue
from sightline.runtime import progress
from sightline.snapshots.file_names import plain_name
from sightline.validate.checks.labels import Micro
from sightline.validate.index import Index
from sightline.validate.index.rows import KnownImage, ScannedImage, pack

BATCH = 128  # records that are sent to a process together
AUGMENTED = ".rf."  # Roboflow writes it between the name of a source image and the digest of an augmented copy
SAFE_SECONDS = 2.0  # a file changed this shortly before it was read may change again under the same time stamp

Key = tuple[bytes, str]  # path and declared split


class Job(NamedTuple):
    """One record, and what the index knows of it: nothing for a new record, no `info` if the image has changed.

    `stamps` are those of the image file and of the labels; for a new record they are taken when its files are opened.
    """

    id: int
    record: ImageRecord
    stamps: tuple[str, str] | None = None
    info: ImageInfo | None = None
    image_issues: tuple[Issue, ...] = ()
    pack: str | None = None


class JobResult(NamedTuple):
    """The result of a job.

    `labels` is None for an image that cannot be used; `boxes` counts all boxes that its labels name; `issue_labels` has
    for each of `issues` the position of the label that it is about. `convention_counts` tell how the boxes fit each
    convention (JSON), `named_image` is the stem of another image that the label file names.
    """

    stamps: tuple[str, str]
    info: ImageInfo | None
    image_issues: list[Issue]
    labels: list[Micro] | None
    boxes: int
    issues: list[Issue]
    issue_labels: list[int | None]
    convention_counts: str | None = None
    named_image: str | None = None


class IncrementalScan:
    """One scan of a source. An image that is listed again in the same split is not opened again, only reported."""

    def __init__(self, index: Index, label_context: str) -> None:
        """Begin a scan (see `ImageQueries.begin_scan`); new images get ids after the last one of the index."""
        self.index = index
        self.number = index.images.begin_scan(label_context)
        self.next_id = index.images.last_id() + 1
        self.classes: dict[str, int] = {}
        self.folders: set[str] = set()  # of images

    def batches(self, records: Iterable[ImageRecord | Issue], ticker: progress.Ticker) -> Iterator[list[Job]]:
        """Yield jobs for files to open; unchanged images are marked as seen, issues among the records are stored."""
        stream = iter(records)
        waiting: list[Job] = []
        while chunk := list(islice(stream, 4 * BATCH)):
            images = [record for record in chunk if isinstance(record, ImageRecord)]
            ticker.total += len(images)
            with self.index.transaction():
                self.index.issues.add(None, [record for record in chunk if isinstance(record, Issue)])
                jobs = self._compare(images)
            ticker.tick(len(images) - len(jobs))
            waiting += jobs
            while len(waiting) >= BATCH:
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
        if waiting:
            yield waiting

    def _compare(self, records: list[ImageRecord]) -> list[Job]:
        jobs: list[Job] = []
        same: list[int] = []
        new: list[tuple[int, bytes, str, str]] = []
        changed: list[tuple[str, int]] = []
        keys = [(os.fsencode(record.image), record.split or "") for record in records]
        known, claimed = self._known(keys), set[Key]()
        for key, record in zip(keys, records, strict=True):
            image = known.get(key)
            self.folders.add(record.image.rpartition("/")[0])
            if key in claimed or (image and image.last_scan == self.number):
                self.index.issues.add(None, [_listed_again(record)])
                continue
            claimed.add(key)
            if image is None:
                jobs.append(Job(self.next_id, record))
                new.append((self.next_id, *key, record.source))
                self.next_id += 1
            elif all(now := stamps(record)) and (*now, record.source) == (*image.stamps, image.source):
                same.append(image.id)
            else:
                jobs.append(self._changed(image, record, now))
                changed.append((record.source, image.id))
        self.index.images.keep(same, self.number)
        self.index.images.claim(new, self.number)
        self.index.images.claim_changed(changed, self.number)
        return jobs

    def _known(self, keys: Sequence[Key]) -> dict[Key, KnownImage]:
        """Return the images that the index has under these keys, with one query per split."""
        found = {}
        for split in {split for _, split in keys}:
            for image in self.index.images.known(split, [path for path, own in keys if own == split]):
                found[image.path, split] = image
        return found

    def _changed(self, image: KnownImage, record: ImageRecord, now: tuple[str, str]) -> Job:
        """Return the job for a record with a changed file; its image is opened only if the image file has changed."""
        if not now[0] or image.image_stamp != now[0] or image.source != record.source:
            return Job(image.id, record, now)
        file = self.index.images.known_file(image.id)
        image_issues = tuple(Issue(*fields) for fields in json.loads(file.issues or "[]"))
        return Job(image.id, record, now, file.info, image_issues, file.pack)

    def store(self, jobs: list[Job], results: list[JobResult]) -> None:
        """Store the results of a batch."""
        self.index.issues.remove_of_images(job.id for job in jobs)
        self.index.images.store(self._row(*pair) for pair in zip(jobs, results, strict=True))
        for job, result in zip(jobs, results, strict=True):
            if result.image_issues:
                self.index.issues.add(job.id, result.image_issues, per_image=True)
            if result.issues:
                self.index.issues.add(job.id, result.issues, result.issue_labels, per_image=True)

    def end(self) -> None:
        """Remove the images that the source no longer has."""
        self.index.images.end_scan(self.number)

    def _row(self, job: Job, result: JobResult) -> ScannedImage:
        info = result.info
        labels = None if result.labels is None else pack([(self._class(c), *box) for c, *box in result.labels])
        name = os.path.basename(job.record.image)
        stem, suffix = os.path.splitext(shown(name))
        plain = plain_name(stem)
        image_stamp, label_stamp = result.stamps
        return ScannedImage(
            id=job.id,
            image_stamp=image_stamp,
            label_stamp=label_stamp,
            info=info,
            image_issues=json.dumps(result.image_issues) if result.image_issues else None,
            labels=labels,
            boxes=result.boxes,
            augmented_from=name.split(AUGMENTED, 1)[0] if AUGMENTED in name else None,
            plain_name=plain + suffix.lower(),
            hashed_name=f"{plain}-{info.sha256[:8]}{suffix.lower()}" if info else None,
            stem_key=plain.lower(),
            is_plain=plain == stem,
            pack=job.pack,
            convention_counts=result.convention_counts,
            named_image=result.named_image,
        )

    def _class(self, label: int | str) -> int:
        if isinstance(label, int):
            return label
        if label not in self.classes:
            self.classes[label] = self.index.images.class_id(label)
        return self.classes[label]


def stamps(record: ImageRecord) -> tuple[str, str]:
    """Return the stamps of an image file and of its labels; a stamp is empty where it might miss a change."""
    return _stamp(record.image), _label_stamp(record)


def _stamp(path: str) -> str:
    """Return a stamp that changes with the file; empty if a further change might keep the same time stamps."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    changed = max(status.st_mtime, status.st_ctime)
    if changed > time.time() - SAFE_SECONDS:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _label_stamp(record: ImageRecord) -> str:
    """Return a stamp that changes with the labels or with the name by which issues refer to them."""
    if record.parsed is not None:
        return hashlib.blake2b(repr((record.where, record.parsed)).encode(), digest_size=16).hexdigest()
    own = _stamp(record.label) if record.label else "none"
    return own and f"{own}:{zlib.crc32(record.where.encode()):x}"


def _listed_again(record: ImageRecord) -> Issue:
    if record.parsed is None:
        return Issue("duplicate-image", record.source, "is listed more than once; it counts once")
    return Issue("conflicting-labels", record.source, "is listed more than once, each time with labels of its own")
