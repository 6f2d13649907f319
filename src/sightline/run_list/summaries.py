"""The newest runs, out of the summaries in a store or a folder of runs; no cluster is asked.

A summary is written when its run ends, so it is never older than its run's start. Summaries are read from the newest
on, a few at a time, until those that are left were written before the last of the wanted runs began.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from sightline.config.parameters import PipelineParameters
from sightline.documents import DataDocument, SummaryDocument, ValidateDocument
from sightline.documents.run_list import Place, RunCause, RunLine
from sightline.documents.stage_record import StageRecord
from sightline.errors import ConfigError
from sightline.run_store import DOCUMENT, SUMMARY
from sightline.storage import MissingObject, Store, threads

ARGUMENTS = "arguments.json"  # of a run on this machine
OF_A_MACHINE = re.compile(r"-[0-9a-f]{12}$")  # what follows the id of a run on one machine, in a store
SENTENCE = re.compile(r".+?[.!?](?=\s|$)")


class Known(NamedTuple):
    """A run of which a place has something: when that was last written, and how to read it."""

    written: float  # seconds since 1970
    read: Callable[[], RunLine | None]  # None for what another version wrote


class Found(NamedTuple):
    """The newest runs of a place, newest first, and what was seen on the way."""

    runs: list[RunLine]
    has: Callable[[str], bool]  # whether the place has the summary of a run, also of one that was not read
    models: set[str]
    unreadable: int  # summaries that another version wrote, or that are damaged


def in_store(store: Store, limit: int, model_name: str | None) -> Found:
    """Return the newest runs of a store, at most `limit`. Raises StorageError."""
    written: dict[str, dict[str, float]] = {}
    for entry in store.entries("runs/"):
        run, _, name = entry.key.removeprefix("runs/").partition("/")
        written.setdefault(run, {})[name] = entry.modified
    known = [
        Known(names[SUMMARY], partial(_stored, store, run))
        if SUMMARY in names
        else Known(max(names.values()), partial(_begun, store, run, names))
        for run, names in written.items()
    ]
    ended = {run for run, names in written.items() if SUMMARY in names}
    ended |= {OF_A_MACHINE.sub("", run) for run in ended}
    return _newest(known, limit, model_name, ended.__contains__)


def in_folder(runs: Path, limit: int, model_name: str | None) -> Found:
    """Return the newest runs in a folder of runs of this machine, at most `limit`."""
    known = [Known(path.stat().st_mtime, partial(_summary_of, path)) for path in runs.glob(f"*/{SUMMARY}")]
    known += [
        Known(path.stat().st_mtime, partial(_going_on, path))
        for path in runs.glob(f"*/{ARGUMENTS}")
        if not path.with_name(SUMMARY).exists()
    ]
    return _newest(known, limit, model_name, lambda run: (runs / run / SUMMARY).exists())


def _newest(known: list[Known], limit: int, model_name: str | None, has: Callable[[str], bool]) -> Found:
    found: list[RunLine] = []
    models: set[str] = set()
    unreadable = 0
    for batch in _batches(sorted(known, key=lambda each: each.written, reverse=True), limit):
        if len(found) >= limit and batch[0].written < began(found[limit - 1]):
            break
        with threads("runs") as pool:
            for line in pool.map(lambda each: each.read(), batch):
                unreadable += line is None
                if line and line.model_name:
                    models.add(line.model_name)
                if line and model_name in (None, line.model_name):
                    found.append(line)
        found.sort(key=began, reverse=True)
    return Found(found[:limit], has, models, unreadable)


def _batches(known: list[Known], size: int) -> Iterator[list[Known]]:
    for start in range(0, len(known), max(size, 20)):
        yield known[start : start + max(size, 20)]


def began(line: RunLine) -> float:
    """Return when a run began, in seconds since 1970."""
    return datetime.fromisoformat(line.started_at).timestamp()


def line(summary: SummaryDocument, place: Place) -> RunLine:
    """Return a run in short."""
    cost, scores = summary.cost, summary.evaluate
    started_at = cost.started_at if cost and cost.started_at else summary.started_at
    lasted = datetime.fromisoformat(summary.finished_at) - datetime.fromisoformat(started_at)
    return RunLine(
        run_id=summary.run_id,
        name=summary.name,
        model_name=summary.model_name or (summary.register_.model_name if summary.register_ else None),
        status=summary.status,
        verdict=scores.verdict if scores else None,
        cause=_cause(summary),
        started_at=started_at,
        finished_at=summary.finished_at,
        seconds=lasted.total_seconds(),
        waiting_seconds=cost.waiting_seconds if cost else None,
        gpu_hours=cost.gpu_hours if cost else None,
        map50_95=scores.map50_95 if scores else None,
        version=summary.register_.version if summary.register_ else None,
        found_in=place,
    )


def _cause(summary: SummaryDocument) -> RunCause | None:
    """Return why a run ended as it did: what a cluster said, the error, or what the gate said."""
    if summary.cause:
        return RunCause(kind=summary.cause.kind, sentence=summary.cause.sentence)
    if summary.error:
        return RunCause(kind=summary.error.kind, sentence=_first_sentence(summary.error.message))
    if summary.status == "rejected" and summary.evaluate and summary.evaluate.reasons:
        return RunCause(kind="rejected", sentence=f"{summary.evaluate.reasons[0]}.")
    if summary.unchanged:
        return RunCause(kind="unchanged", sentence=summary.unchanged.sentence)
    return None


def _first_sentence(message: str) -> str:
    """Return how a message begins; of several problems the first."""
    head, *problems = message.splitlines()
    text = f"{head} {problems[0].strip().removeprefix('- ')}" if problems and head.endswith(":") else head
    first = SENTENCE.match(text)
    return first[0] if first else text


def _stored(store: Store, run: str) -> RunLine | None:
    try:
        return line(SummaryDocument.model_validate_json(store.get_bytes(f"runs/{run}/{SUMMARY}")), "store")
    except (ValidationError, MissingObject):
        return None


def _summary_of(path: Path) -> RunLine | None:
    try:
        return line(SummaryDocument.model_validate_json(path.read_bytes()), "folder")
    except (ValidationError, OSError):
        return None


def _begun(store: Store, run: str, names: dict[str, float]) -> RunLine | None:
    """Return a run of which the store has no summary: it goes on, or ended without its last task."""
    model_name, run_id, started_at = None, run, None
    first = f"validate{DOCUMENT}"
    if first in names:
        try:
            record = StageRecord.model_validate_json(store.get_bytes(f"runs/{run}/{first}"))
            run_id = record.run_id
            if document := record.documents.get(ValidateDocument.file_name()):
                validated = ValidateDocument.model_validate(document)
                model_name, started_at = validated.config.register_.model_name, validated.started_at
            else:
                model_name = record.documents.get(DataDocument.file_name(), {}).get("model_name")
        except (ValidationError, MissingObject):
            return None
    started_at = started_at or datetime.fromtimestamp(min(names.values()), UTC).isoformat(timespec="seconds")
    return _unfinished(run_id, model_name, started_at, "store")


def _going_on(path: Path) -> RunLine | None:
    """Return a run of this machine that goes on, by what it was asked for."""
    try:
        asked = json.loads(path.read_bytes())
        parameters = PipelineParameters.read(asked["parameters"])[0]
        model_name = parameters.config().register_.model_name
        return _unfinished(path.parent.name, model_name, str(asked["started_at"]), "folder")
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def _unfinished(run_id: str, model_name: str | None, started_at: str, place: Place) -> RunLine:
    nothing = dict.fromkeys(name for name in RunLine.model_fields)
    known = {"run_id": run_id, "model_name": model_name, "started_at": started_at, "found_in": place}
    return RunLine.model_validate(nothing | known)
