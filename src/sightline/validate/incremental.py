"""Compares what a source holds with what the index knows, hands out what is new, and stores what comes back."""

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

BATCH = 128  # entries that travel to a process together
AUGMENTED = ".rf."  # what Roboflow puts between the name of a source image and the digest of a copy
SAFE_SECONDS = 2.0  # a file changed this shortly before it was read may change again under the same time stamp

Key = tuple[bytes, str]  # path and declared split


class Job(NamedTuple):
    """One entry, and what the index knows of it: nothing of a new one, not its facts if the image has changed.

    `stamps` are of the image file and of the labels; of a new entry they are taken where its files are opened.
    """

    id: int
    entry: ImageRecord
    stamps: tuple[str, str] | None = None
    facts: ImageInfo | None = None
    image_issues: tuple[Issue, ...] = ()
    pack: str | None = None


class Result(NamedTuple):
    """What became of a job: `labels` None for an image that cannot be used, `boxes` all that its labels name.

    `convention_counts` say how its boxes fit each convention, `named_image` is the stem of another image that the label
    file names.
    """

    stamps: tuple[str, str]
    facts: ImageInfo | None
    image_issues: list[Issue]
    labels: list[Micro] | None
    boxes: int
    found: list[Issue]
    about: list[int | None]
    convention_counts: str | None = None
    named_image: str | None = None


class IncrementalScan:
    """One scan of a source. An image is claimed when it is handed out: the same one again is only reported."""

    def __init__(self, index: Index, label_context: str) -> None:
        """Begin a scan, and start numbering where the index ends; see `ImageQueries.begin_scan`."""
        self.index = index
        self.number = index.images.begin_scan(label_context)
        self.next_id = index.images.last_id() + 1
        self.classes: dict[str, int] = {}
        self.folders: set[str] = set()  # of images

    def batches(self, entries: Iterable[ImageRecord | Issue], ticker: progress.Ticker) -> Iterator[list[Job]]:
        """Yield what has to be opened; what is known is marked as seen, what was found among entries is stored."""
        stream = iter(entries)
        waiting: list[Job] = []
        while chunk := list(islice(stream, 4 * BATCH)):
            images = [entry for entry in chunk if isinstance(entry, ImageRecord)]
            ticker.total += len(images)
            with self.index.together():
                self.index.issues.add(None, [entry for entry in chunk if isinstance(entry, Issue)])
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
        same: list[int] = []
        new: list[tuple[int, bytes, str, str]] = []
        changed: list[tuple[str, int]] = []
        keys = [(os.fsencode(entry.image), entry.split or "") for entry in entries]
        known, claimed = self._known(keys), set[Key]()
        for key, entry in zip(keys, entries, strict=True):
            image = known.get(key)
            self.folders.add(entry.image.rpartition("/")[0])
            if key in claimed or (image and image.last_scan == self.number):
                self.index.issues.add(None, [_again(entry)])
                continue
            claimed.add(key)
            if image is None:
                jobs.append(Job(self.next_id, entry))
                new.append((self.next_id, *key, entry.source))
                self.next_id += 1
            elif all(now := stamps(entry)) and (*now, entry.source) == (*image.stamps, image.source):
                same.append(image.id)
            else:
                jobs.append(self._changed(image, entry, now))
                changed.append((entry.source, image.id))
        self.index.images.keep(same, self.number)
        self.index.images.claim(new, self.number)
        self.index.images.claim_changed(changed, self.number)
        return jobs

    def _known(self, keys: Sequence[Key]) -> dict[Key, KnownImage]:
        """Return what the index has under these keys, in one query a split."""
        found = {}
        for split in {split for _, split in keys}:
            for image in self.index.images.known(split, [path for path, own in keys if own == split]):
                found[image.path, split] = image
        return found

    def _changed(self, image: KnownImage, entry: ImageRecord, now: tuple[str, str]) -> Job:
        """Make a job of an entry one of whose files has changed; the image is only opened if it is that one."""
        if not now[0] or image.image_stamp != now[0] or image.source != entry.source:
            return Job(image.id, entry, now)
        file = self.index.images.known_file(image.id)
        image_issues = tuple(Issue(*one) for one in json.loads(file.issues or "[]"))
        return Job(image.id, entry, now, file.info, image_issues, file.pack)

    def store(self, jobs: list[Job], results: list[Result]) -> None:
        """Store what was found about a batch."""
        self.index.issues.forget_of(job.id for job in jobs)
        self.index.images.store(self._row(*pair) for pair in zip(jobs, results, strict=True))
        for job, result in zip(jobs, results, strict=True):
            if result.image_issues:
                self.index.issues.add(job.id, result.image_issues, per_image=True)
            if result.found:
                self.index.issues.add(job.id, result.found, result.about, per_image=True)

    def end(self) -> None:
        """Forget the images that the source does not have any more."""
        self.index.images.end_scan(self.number)

    def _row(self, job: Job, result: Result) -> ScannedImage:
        facts = result.facts
        labels = None if result.labels is None else pack([(self._class(c), *box) for c, *box in result.labels])
        name = os.path.basename(job.entry.image)
        stem, suffix = os.path.splitext(shown(name))
        plain = plain_name(stem)
        image_stamp, label_stamp = result.stamps
        return ScannedImage(
            id=job.id,
            image_stamp=image_stamp,
            label_stamp=label_stamp,
            info=facts,
            image_issues=json.dumps(result.image_issues) if result.image_issues else None,
            labels=labels,
            boxes=result.boxes,
            augmented_from=name.split(AUGMENTED, 1)[0] if AUGMENTED in name else None,
            plain_name=plain + suffix.lower(),
            hashed_name=f"{plain}-{facts.sha256[:8]}{suffix.lower()}" if facts else None,
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


def stamps(entry: ImageRecord) -> tuple[str, str]:
    """Return the stamps of an image file and of its labels, each empty where a change might go unseen."""
    return _stamp(entry.image), _label_stamp(entry)


def _stamp(path: str) -> str:
    """Return what changes when a file does; empty for one that changed so recently that it might do so again unseen."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    changed = max(status.st_mtime, status.st_ctime)
    if changed > time.time() - SAFE_SECONDS:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _label_stamp(entry: ImageRecord) -> str:
    """Return what changes when the labels do, or the name that issues call them by."""
    if entry.parsed is not None:
        return hashlib.blake2b(repr((entry.where, entry.parsed)).encode(), digest_size=16).hexdigest()
    own = _stamp(entry.label) if entry.label else "none"
    return own and f"{own}:{zlib.crc32(entry.where.encode()):x}"


def _again(entry: ImageRecord) -> Issue:
    if entry.parsed is None:
        return Issue("duplicate-image", entry.source, "is listed more than once; it counts once")
    return Issue("conflicting-labels", entry.source, "is listed more than once, each time with labels of its own")
