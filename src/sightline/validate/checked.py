"""A source, opened and put through the gate: what passed, and the report on what did not."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline.artifacts import DataDocument, write_text
from sightline.config import RunConfig
from sightline.errors import DataRejected
from sightline.provenance import code_digest
from sightline.storage import Store, Transfer
from sightline.validate import formats, gate, index, page
from sightline.validate.dataset import Edges, Folder, Reading
from sightline.validate.index import Index, IndexedDataset
from sightline.validate.scan import scan
from sightline.validate.source import opened as opened_source

PAGE, PROBLEMS = "data.html", "problems.csv"
FILES = (DataDocument.file_name(), PAGE, PROBLEMS)


@dataclass(frozen=True)
class Checked:
    """A source that was read. Lives as long as the block of `opened`."""

    folder: Folder
    reading: Reading
    index: Index
    dataset: IndexedDataset
    document: DataDocument

    def report(self, out: Path, seconds: float) -> DataDocument:
        """Write data.json, data.html and problems.csv into `out`."""
        document = self.document.model_copy(update={"seconds": seconds})
        out.mkdir(parents=True, exist_ok=True)
        gate.write_csv(self.index, document.findings, out / PROBLEMS)
        write_text(out / PAGE, page.render(document, self.picture))
        document.write(out)
        return document

    def picture(self, source: str) -> page.Picture | None:
        """Return an image of the source with its boxes, to be drawn; None if it is none of the source's images."""
        row = self.index.rows("SELECT id, image, labels FROM item WHERE source = ? LIMIT 1", (source,)).fetchone()
        if row is None:
            return None
        names = self.dataset.classes
        outlines = [page.Outline(names[c], _edges(*box)) for c, *box in self.dataset.labels(row[0], row[2])]
        return page.Picture(os.fsdecode(row[1]), outlines)


def _edges(cx: float, cy: float, w: float, h: float) -> Edges:
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


@contextlib.contextmanager
def opened(source: str, config: RunConfig, *, trainable: bool = True) -> Iterator[Checked]:
    """Read a source and judge it. Raises DataError for one that cannot be read as a detection set.

    Without `trainable` missing splits are not made, and a split without boxes is no reason to refuse it.
    """
    data = config.data
    with opened_source(source, data.images) as folder, index.opened(_key(folder, config)) as rows:
        reading = formats.read(folder, data.format, data.voc_origin)
        scan(reading, rows, config)
        judgement = gate.judge(rows, reading, config, folder.name, source, trainable=trainable)
        yield Checked(folder, reading, rows, judgement.dataset, judgement.document)


def _key(folder: Folder, config: RunConfig) -> str | None:
    """Name all that decides what is found in a single file; None for a source that is gone afterwards."""
    if folder.fence is not None:
        return None
    thresholds = config.data.policy.thresholds.model_dump()
    images = str(folder.images.resolve()) if folder.images else None
    return json.dumps(
        [
            *(str(folder.root.resolve()), images, config.data.format, config.data.voc_origin),
            *(thresholds, config.train.image_size, code_digest()),
        ]
    )


def rejection(document: DataDocument, out: Path, store: Store) -> DataRejected:
    """Return the error for a refused source.

    A failed task of a cluster keeps no files, so with a store that is not a folder here the report goes there as well.
    """
    runs, run = os.environ.get("SIGHTLINE_RUNS"), os.environ.get("SIGHTLINE_RUN_ID")
    # In a pipeline `out` is the runner's own folder, whose files the orchestrator puts into the run directory.
    report = f"{runs}/{run}/validate/{PAGE}" if runs and run else str(out / PAGE)
    if store.uri.startswith("s3://"):
        prefix = f"rejected/{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"
        store.upload([Transfer(f"{prefix}/{name}", out / name) for name in FILES])
        report = f"{store.uri}/{prefix}/{PAGE}"
    return gate.rejection(document.source, document, report)
