"""Opens a source and puts it through the gate: the images that passed, and the report on all issues."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline.atomic import write_text
from sightline.config import RunConfig
from sightline.datasets import formats
from sightline.datasets.sources import QUICKSTART
from sightline.datasets.sources import opened as opened_source
from sightline.datasets.types import Edges, Folder, Reading
from sightline.documents import DataDocument
from sightline.errors import DataError, DataRejected, StorageError
from sightline.pages import data_page
from sightline.runtime.provenance import code_digest
from sightline.storage import Store, Transfer
from sightline.validate import gate, index, refusal
from sightline.validate.index import Index, IndexedDataset
from sightline.validate.scan import scan

PAGE, PROBLEMS = "data.html", "problems.csv"
FILES = (DataDocument.file_name(), PAGE, PROBLEMS)


@dataclass(frozen=True)
class ValidatedSource:
    """A source that was read and judged. Usable only within the block of `opened`."""

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
        write_text(out / PAGE, data_page.render(document, self.picture))
        document.write(out)
        return document

    def picture(self, source: str) -> data_page.Picture | None:
        """Return an image of the source with its boxes, to be drawn; None if the source has no such image."""
        file = self.index.images.file(source)
        if file is None:
            return None
        names = self.dataset.classes
        outlines = [data_page.Outline(names[c], _edges(*box)) for c, *box in self.dataset.labels(file.id, file.labels)]
        return data_page.Picture(os.fsdecode(file.path), outlines)


def _edges(cx: float, cy: float, w: float, h: float) -> Edges:
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


@contextlib.contextmanager
def opened(source: str, config: RunConfig, *, trainable: bool = True) -> Iterator[ValidatedSource]:
    """Read and judge a source while the block runs. Raises DataError for one that cannot be read as a detection set.

    Without `trainable`, missing splits are not made, and a split without boxes is no reason to reject the source.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(opened_source(source, config.data.images))
        key = None if source == QUICKSTART else _index_key(folder, config)
        try:
            try:
                result = _judged(folder, source, config, trainable, key, stack)
            except sqlite3.DatabaseError as error:
                if key is None or error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise
                index.remove(key)  # damaged, as after a power failure; it is only a cache
                result = _judged(folder, source, config, trainable, None, stack)
            yield result
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"The index of {source} cannot be written ({error}). It lies in SIGHTLINE_CACHE or TMPDIR: free some "
                "space there, or point them elsewhere."
            ) from None


def _judged(
    folder: Folder, source: str, config: RunConfig, trainable: bool, key: str | None, stack: contextlib.ExitStack
) -> ValidatedSource:
    """Read and judge a source with an index that stays open as long as `stack`."""
    with contextlib.ExitStack() as own:
        rows = own.enter_context(index.opened(key))
        reading = formats.read(folder, config.data.format, config.data.voc_origin)
        scan(reading, rows, config)
        judgement = gate.judge(rows, reading, config, folder.name, source, trainable=trainable)
        stack.push(own.pop_all())
    return ValidatedSource(folder, reading, rows, judgement.dataset, judgement.document)


def _index_key(folder: Folder, config: RunConfig) -> str | None:
    """Return a key of all that decides which issues a file has; None for a source that is removed afterwards."""
    if folder.fence is not None:
        return None
    thresholds = config.data.policy.thresholds.model_dump()
    images = str(folder.images.resolve()) if folder.images else None
    return json.dumps(
        [
            *(str(folder.root.resolve()), str(folder.file), images, config.data.format, config.data.voc_origin),
            *(thresholds, config.train.image_size, code_digest("data")),
        ]
    )


def remove(out: Path) -> None:
    """Remove the report of an earlier run, which would mislead if this run fails."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def rejection(document: DataDocument, out: Path, store: Store) -> DataRejected | DataError:
    """Return the error for a rejected source.

    A failed task on a cluster keeps no files, so with an s3:// store the report is uploaded there as well.
    """
    runs, run = os.environ.get("SIGHTLINE_RUNS"), os.environ.get("SIGHTLINE_RUN_ID")
    # In a pipeline `out` is the runner's own folder, whose files the orchestrator puts into the run directory.
    report = f"{runs}/{run}/validate/{PAGE}" if runs and run else str(out / PAGE)
    if store.uri.startswith("s3://"):
        prefix = f"rejected/{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"
        store.upload([Transfer(f"{prefix}/{name}", out / name) for name in FILES])
        report = f"{store.uri}/{prefix}/{PAGE}"
    return refusal.rejection(document, report)
