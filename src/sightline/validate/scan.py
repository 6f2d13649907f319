"""Opens every image and label file of a source, on all cores, and writes what it finds into the index.

Work goes to processes in batches, and only a few batches are under way at a time. What the index knows of an unchanged
file is used as it is: image and labels separately.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from sightline import progress
from sightline.config import RunConfig
from sightline.errors import SightlineError
from sightline.policy import Thresholds
from sightline.validate import pictures
from sightline.validate.dataset import Entry, Found, Parsed, Reading, shown
from sightline.validate.index import Index, mark, pack
from sightline.validate.labels import Frame, Micro, judge
from sightline.validate.pictures import Facts
from sightline.validate.snapshot.names import plain_name
from sightline.validate.source import STAGE

BATCH = 128  # entries that travel to a process together
LARGEST_LABEL = 2**24 + 1  # bytes that are read; the parsers refuse a file of that size
FEW = 256  # entries for which starting processes costs more than it saves
AHEAD = 3  # batches that wait for each process
AUGMENTED = ".rf."  # what Roboflow puts between the name of a source image and the digest of a copy


class Job(NamedTuple):
    """One entry, and what the index knows of it: nothing of a new one, not its facts if the image has changed."""

    id: int
    entry: Entry
    image_mark: str
    label_mark: str
    facts: Facts | None = None
    image_found: tuple[Found, ...] = ()
    pack: str | None = None


class Result(NamedTuple):
    """What became of a job: `labels` None for an image that cannot be used."""

    facts: Facts | None
    image_found: list[Found]
    labels: list[Micro] | None
    boxes: int
    found: list[Found]
    about: list[int | None]


class Worker(NamedTuple):
    """What a process needs to know of the source."""

    parse: Callable[[bytes, str, list[str] | None], Parsed] | None
    classes: list[str] | None
    relative: bool
    thresholds: Thresholds
    image_size: int

    def run(self, jobs: list[Job]) -> list[Result]:
        """Check a batch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF, large images: what matters is whether they decode
            return [self._check(job) for job in jobs]

    def _check(self, job: Job) -> Result:
        entry, facts, image_found = job.entry, job.facts, list(job.image_found)
        if facts is None:
            facts, image_found = pictures.inspect(entry.image, entry.source, self.thresholds)
        parsed = self._parsed(entry)
        if facts is None:
            found = list(parsed.found)
            return Result(None, image_found, None, len(parsed.boxes), found, [None] * len(found))
        frame = Frame(entry, facts.width, facts.height, self.relative, self.classes, self.thresholds, self.image_size)
        judged = judge(entry, parsed, facts, frame)
        return Result(facts, image_found, judged.labels, len(parsed.boxes), judged.found, judged.about)

    def _parsed(self, entry: Entry) -> Parsed:
        if entry.parsed is not None:
            return entry.parsed
        if entry.label is None or self.parse is None:
            return Parsed(found=(Found("missing-label", entry.source, "has no label file"),))
        where = entry.where.removesuffix(":{}")
        try:
            with open(entry.label, "rb", buffering=0) as file:
                return self.parse(file.read(LARGEST_LABEL), where, self.classes)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Parsed(found=(Found("label-syntax", where, f"cannot be read: {reason}"),))


def scan(reading: Reading, index: Index, config: RunConfig) -> None:
    """Bring the index up to what the source holds."""
    thresholds = config.data.policy.thresholds
    worker = Worker(reading.parse, reading.classes, reading.relative, thresholds, config.train.image_size)
    ticker = progress.Ticker(STAGE, 0, "checking images")
    desk = Desk(index)
    index.begin()
    for jobs, results in _worked(worker, desk.batches(reading.entries(), ticker)):
        with index.together():
            desk.store(jobs, results)
        ticker.tick(len(jobs))
    with index.together():
        add(index, None, reading.found)
    index.forget_unseen()


class Desk:
    """Compares entries with the index, hands out what is new, and files what comes back."""

    def __init__(self, index: Index) -> None:
        """Start numbering where the index ends."""
        self.index = index
        self.next_id = int(index.value("SELECT MAX(id) FROM item") or 0) + 1
        self.new = self.next_id == 1
        self.classes: dict[str, int] = {}

    def batches(self, entries: Iterable[Entry | Found], ticker: progress.Ticker) -> Iterator[list[Job]]:
        """Yield what has to be opened; what is known is marked as seen, what was found among entries is filed."""
        stream = iter(entries)
        waiting: list[Job] = []
        while chunk := list(islice(stream, 4 * BATCH)):
            with self.index.together():
                add(self.index, None, [entry for entry in chunk if isinstance(entry, Found)])
                jobs = self._compare([entry for entry in chunk if isinstance(entry, Entry)], ticker)
            waiting += jobs
            ticker.total += len(chunk)
            while len(waiting) >= BATCH:
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
        if waiting:
            yield waiting

    def _compare(self, entries: list[Entry], ticker: progress.Ticker) -> list[Job]:
        jobs: list[Job] = []
        same: list[tuple[int, int]] = []
        keys = [(os.fsencode(entry.image), entry.split or "") for entry in entries]
        known = self._known(keys)
        for key, entry in zip(keys, entries, strict=True):
            row = known.get(key)
            if row and row[1] == self.index.run:
                add(self.index, None, [_again(entry)])
                continue
            image_mark, label_mark = _mark(entry.image), _label_mark(entry)
            if row is None:
                jobs.append(Job(self.next_id, entry, image_mark, label_mark))
                self.next_id += 1
            elif image_mark and label_mark and row[2:5] == (image_mark, label_mark, entry.source):
                same.append((self.index.run, row[0]))
            else:
                jobs.append(self._changed(row, entry, image_mark, label_mark))
            known[key] = (0, self.index.run)
        self.index.many("UPDATE item SET seen = ? WHERE id = ?", same)
        ticker.tick(len(same))
        return jobs

    def _known(self, keys: Sequence[tuple[bytes, str]]) -> dict[tuple[bytes, str], tuple[Any, ...]]:
        """Return what the index has under these keys, in one query a split."""
        if self.new:
            return {}
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

    def _changed(self, row: tuple[Any, ...], entry: Entry, image_mark: str, label_mark: str) -> Job:
        """Make a job of an entry one of whose files has changed; the image is only opened if it is that one."""
        if not image_mark or row[2] != image_mark or row[4] != entry.source:
            return Job(row[0], entry, image_mark, label_mark)
        columns = ", ".join(Facts._fields)
        *facts, found, pack = self.index.rows(
            f"SELECT {columns}, image_found, pack FROM item WHERE id = ?", (row[0],)
        ).fetchone()
        image_found = tuple(Found(*one) for one in json.loads(found or "[]"))
        return Job(row[0], entry, image_mark, label_mark, Facts(*facts) if facts[0] else None, image_found, pack)

    def store(self, jobs: list[Job], results: list[Result]) -> None:
        """File what was found about a batch."""
        self.index.many("DELETE FROM problem WHERE item = ?", ((job.id,) for job in jobs))
        self.index.many(INSERT, (self._row(*pair) for pair in zip(jobs, results, strict=True)))
        for job, result in zip(jobs, results, strict=True):
            if result.image_found:
                add(self.index, job.id, result.image_found, lasting=True)
            if result.found:
                add(self.index, job.id, result.found, result.about, lasting=True)

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
            *(job.id, os.fsencode(entry.image), entry.split or "", entry.source, self.index.run),
            *(job.image_mark, job.label_mark, *(facts or (None,) * len(Facts._fields))),
            *(image_found, labels, result.boxes, origin, *names, own.lower(), own == stem, job.pack),
        )

    def _class(self, label: int | str) -> int:
        if isinstance(label, int):
            return label
        if label not in self.classes:
            self.classes[label] = self.index.class_id(label)
        return self.classes[label]


INSERT = (
    "INSERT OR REPLACE INTO item (id, image, split, source, seen, image_mark, label_mark, sha256, size, width, height, "
    "orientation, grey, thumb, image_found, labels, count, origin, own, alternative, low, fits, pack) "
    "VALUES (" + ", ".join("?" * 23) + ")"
)


def add(
    index: Index, item: int | None, found: Iterable[Found], about: Iterable[int | None] | None = None, *,
    lasting: bool = False,
) -> None:  # fmt: skip
    """Write findings into the index; `lasting` ones stay as long as the item's files do not change."""
    labels = about if about is not None else repeat(None)
    index.many(
        "INSERT INTO problem VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (item, rule, where, message, json.dumps(box) if box else None, badness, label, lasting)
            for (rule, where, message, box, badness), label in zip(found, labels, strict=False)
        ),
    )


def _mark(path: str) -> str:
    try:
        return mark(os.stat(path))
    except OSError:
        return ""


def _label_mark(entry: Entry) -> str:
    if entry.parsed is not None:
        return hashlib.blake2b(repr(entry.parsed).encode(), digest_size=16).hexdigest()
    return _mark(entry.label) if entry.label else "none"


def _again(entry: Entry) -> Found:
    if entry.parsed is None:
        return Found("duplicate-image", entry.source, "is listed more than once; it counts once")
    return Found("conflicting-labels", entry.source, "is listed more than once, each time with labels of its own")


def _worked(worker: Worker, batches: Iterator[list[Job]]) -> Iterator[tuple[list[Job], list[Result]]]:
    """Run batches, on all cores if there are enough of them, and yield them as they are done."""
    pictures.prepare(worker.thresholds)  # before processes are forked from this one: they inherit it
    first = list(islice(batches, FEW // BATCH + 1))
    cores = len(os.sched_getaffinity(0))
    if len(first) <= FEW // BATCH or cores == 1:
        for jobs in chain(first, batches):
            yield jobs, worker.run(jobs)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cores, context, initializer=_ignore_interrupts) as pool:
        running: dict[Future[list[Result]], list[Job]] = {}
        for jobs in chain(first, batches):
            running[pool.submit(worker.run, jobs)] = jobs
            if len(running) >= AHEAD * cores:
                yield from _finished(running)
        while running:
            yield from _finished(running)


def _finished(running: dict[Future[list[Result]], list[Job]]) -> Iterator[tuple[list[Job], list[Result]]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        try:
            yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise SightlineError(
                "A process that checks images was killed, most likely for want of memory. Lower data.policy.thresholds."
                "max_megapixels, or give the machine more; what was checked is not checked again."
            ) from None


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
