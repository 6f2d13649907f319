"""Opens every image and label file of a source, on all cores, and writes images and issues into the index.

Processes work on batches, and only a few batches are under way at a time. Unchanged files are not opened again; images
and labels are compared with the index separately.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sightline.config import Format, RunConfig
from sightline.datasets.formats.files import cannot_be_read
from sightline.datasets.sources import STAGE
from sightline.datasets.types import ImageRecord, Parsed, Reading
from sightline.image_files import images
from sightline.policy import Thresholds
from sightline.rules import Handling, Issue, Scope, rule_ids
from sightline.runtime import progress
from sightline.validate import worker_pool
from sightline.validate.checks import convention_counts, pairing, unreferenced
from sightline.validate.checks.labels import LabelContext, check_labels
from sightline.validate.incremental import IncrementalScan, Job, JobResult, stamps
from sightline.validate.index import Index

LARGEST_LABEL = 2**24 + 1  # bytes that are read; the parsers refuse a file of that size
USUAL_LABEL = 2**14  # bytes that hold nearly every label file: a buffer for the largest costs more than reading
LEFT_OUT = frozenset(rule_ids(lambda rule: rule.handling is Handling.LEFT_OUT and rule.scope is Scope.IMAGE))
LEFT_OUT_BOX = frozenset(rule_ids(lambda rule: rule.handling is Handling.LEFT_OUT and rule.scope is Scope.BOX))
FEW = 2  # batches for which starting processes costs more than it saves


class Worker(NamedTuple):
    """Checks batches of images in a process; the fields are what it needs to know of the source."""

    format: Format
    parse: Callable[[bytes, str, list[str] | None], Parsed] | None
    classes: list[str] | None
    relative: bool
    thresholds: Thresholds
    image_size: int

    def run(self, jobs: list[Job]) -> list[JobResult]:
        """Check a batch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd EXIF and large images; only decoding matters
            return [self._check(job) for job in jobs]

    def _check(self, job: Job) -> JobResult:
        record, info, image_issues = job.record, job.info, list(job.image_issues)
        now = job.stamps or stamps(record)  # before the files are read
        if info is None:
            info, image_issues = images.inspect(record.image, record.source, self.thresholds)
        parsed = self._parsed(record)
        # An object that the parser left out counts as a box of the source.
        boxes = len(parsed.boxes) + sum(issue.rule in LEFT_OUT_BOX for issue in parsed.issues)
        if info is None or any(issue.rule in LEFT_OUT for issue in parsed.issues):
            issues = list(parsed.issues)
            return JobResult(now, info, image_issues, None if info is None else [], boxes, issues, [None] * len(issues))
        context = LabelContext(
            record, info.width, info.height, self.relative, self.classes, self.thresholds, self.image_size
        )
        checked = check_labels(record, parsed, info, context)
        fits = convention_counts.count_image(self.format, parsed, record.where, info.width, info.height)
        named = pairing.image_named(parsed.image, record.image)
        return JobResult(
            now, info, image_issues, checked.labels, boxes, checked.issues, checked.issue_labels, fits, named
        )

    def _parsed(self, record: ImageRecord) -> Parsed:
        if record.parsed is not None:
            return record.parsed
        where = record.where.removesuffix(":{}")
        if record.label is None or self.parse is None:
            return Parsed(issues=(Issue("missing-label", record.source, f"has no label file {where}"),))
        try:
            with open(record.label, "rb", buffering=0) as file:
                data = file.read(USUAL_LABEL)
                if len(data) == USUAL_LABEL:
                    data += file.read(LARGEST_LABEL - USUAL_LABEL)
                return self.parse(data, where, self.classes)
        except OSError as error:
            return Parsed(issues=(cannot_be_read(where, error),))


def scan(reading: Reading, index: Index, config: RunConfig) -> None:
    """Update the index to the current content of the source. Raises SightlineError if a process is killed."""
    thresholds = config.data.policy.thresholds
    worker = Worker(
        reading.format, reading.parse, reading.classes, reading.relative, thresholds, config.train.image_size
    )
    ticker = progress.Ticker(STAGE, 0, "checking images")
    known = IncrementalScan(index, _label_context(reading))
    images.prepare(thresholds)  # before processes are forked, so that they inherit it
    for jobs, results in worker_pool.map_batches(worker.run, known.batches(reading.records(), ticker), FEW):
        with index.transaction():
            known.store(jobs, results)
        ticker.tick(len(jobs))
    with index.transaction():
        index.issues.add(None, reading.issues)
    known.end()
    if reading.folder and not reading.part:
        with index.transaction():
            index.issues.add(None, unreferenced.find(reading.folder, index, known.folders, reading))


def _label_context(reading: Reading) -> str:
    """Return all that gives a label file its meaning besides its content: format, class names, class ids."""
    class_ids = reading.parse.keywords if isinstance(reading.parse, partial) else {}
    return repr((reading.format, reading.classes, class_ids))
