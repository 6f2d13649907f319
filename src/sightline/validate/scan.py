"""Opens every image and label file of a source, on all cores, and writes what it finds into the index.

Work goes to processes in batches, and only a few batches are under way at a time. What the index knows of an unchanged
file is used as it is: image and labels separately.
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
from sightline.rules import RULES, Handling, Issue, Scope
from sightline.runtime import progress
from sightline.validate import worker_pool
from sightline.validate.checks import convention_counts, pairing
from sightline.validate.checks.labels import Frame, judge
from sightline.validate.checks.unreferenced import unused
from sightline.validate.incremental import IncrementalScan, Job, Result, stamps
from sightline.validate.index import Index

LARGEST_LABEL = 2**24 + 1  # bytes that are read; the parsers refuse a file of that size
USUAL_LABEL = 2**14  # bytes that nearly every label file fits in: memory for the largest costs more than the reading
FEW = 2  # batches for which starting processes costs more than it saves


class Worker(NamedTuple):
    """What a process needs to know of the source."""

    format: Format
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
        entry, facts, image_issues = job.entry, job.facts, list(job.image_issues)
        now = job.stamps or stamps(entry)  # before the files are read
        if facts is None:
            facts, image_issues = images.inspect(entry.image, entry.source, self.thresholds)
        parsed = self._parsed(entry)
        boxes = len(parsed.boxes) + sum(map(_is_box, parsed.issues))
        if facts is None or any(found.rule == "duplicate-id" for found in parsed.issues):  # whose boxes, nobody knows
            found = list(parsed.issues)
            return Result(now, facts, image_issues, None if facts is None else [], boxes, found, [None] * len(found))
        frame = Frame(entry, facts.width, facts.height, self.relative, self.classes, self.thresholds, self.image_size)
        judged = judge(entry, parsed, facts, frame)
        fits = convention_counts.of_image(self.format, parsed, entry.where, facts.width, facts.height)
        named = pairing.image_named(parsed.image, entry.image)
        return Result(now, facts, image_issues, judged.labels, boxes, judged.found, judged.about, fits, named)

    def _parsed(self, entry: ImageRecord) -> Parsed:
        if entry.parsed is not None:
            return entry.parsed
        where = entry.where.removesuffix(":{}")
        if entry.label is None or self.parse is None:
            return Parsed(issues=(Issue("missing-label", entry.source, f"has no label file {where}"),))
        try:
            with open(entry.label, "rb", buffering=0) as file:
                data = file.read(USUAL_LABEL)
                if len(data) == USUAL_LABEL:
                    data += file.read(LARGEST_LABEL - USUAL_LABEL)
                return self.parse(data, where, self.classes)
        except OSError as error:
            return Parsed(issues=(cannot_be_read(where, error),))


def _is_box(found: Issue) -> bool:
    """Tell whether a parser left out an object: it counts as a box that the source has."""
    rule = RULES[found.rule]
    return rule.scope is Scope.BOX and rule.handling is Handling.LEFT_OUT


def scan(reading: Reading, index: Index, config: RunConfig) -> None:
    """Bring the index up to what the source holds. Raises SightlineError if a process is killed."""
    thresholds = config.data.policy.thresholds
    worker = Worker(
        reading.format, reading.parse, reading.classes, reading.relative, thresholds, config.train.image_size
    )
    ticker = progress.Ticker(STAGE, 0, "checking images")
    known = IncrementalScan(index, _label_context(reading))
    images.prepare(thresholds)  # before processes are forked from this one: they inherit it
    for jobs, results in worker_pool.worked(worker.run, known.batches(reading.records(), ticker), FEW):
        with index.together():
            known.store(jobs, results)
        ticker.tick(len(jobs))
    with index.together():
        index.issues.add(None, reading.issues)
    known.end()
    if reading.folder and not reading.part:
        with index.together():
            index.issues.add(None, unused(reading.folder, index, known.folders, reading))


def _label_context(reading: Reading) -> str:
    """Name what a label file means something by that lies outside of it: class names, and the ids they are under."""
    ids = reading.parse.keywords if isinstance(reading.parse, partial) else {}
    return repr((reading.format, reading.classes, ids))
