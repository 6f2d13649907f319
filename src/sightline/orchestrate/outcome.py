"""How a run on this machine ended, read from what it left: its events, its stages' folders, its error document."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.documents import ErrorReport, StageOutcome, SummaryDocument, load, read_error
from sightline.errors import FULL, SightlineError, StageInputError, no_space_left
from sightline.orchestrate import claim, processes
from sightline.run_store import RunStore, unpack
from sightline.runtime import progress
from sightline.runtime.stage_frame import NAMES
from sightline.storage import open_store

INTERRUPTED = 130  # exit code
FULL_BELOW = 1 << 20  # free bytes below which a disk counts as full


def conclude(folder: Path, code: int, store: str) -> SummaryDocument:
    """Write summary and page of the run in a folder, there and in the store. `code` is the runner's exit code."""
    events = _events(folder)
    run = _run_store(folder, store)
    ended = {event["stage"] for event in events if event["event"] == "end"}
    if run and NAMES[0] in ended:  # before that the store may still hold what an earlier attempt left
        _complete(folder, run, ended)
    folders = _folders(folder)
    error = None if code == 0 else _error(folder, code, events)
    return _concluded(folder, folders, _outcomes(events, folders), error, run=run)


def _run_store(folder: Path, store: str) -> RunStore | None:
    """Return what a run left in the store at a URI; None if that cannot be used, which validate has said."""
    try:
        return RunStore(open_store(store), claim.store_key(folder))
    except SightlineError:
        return None


def _complete(folder: Path, run: RunStore, ended: Collection[str]) -> None:
    """Fetch what stages left in the store that came from a cache, and not out of their own work here."""
    try:
        for stage, record in run.records().items():
            if stage not in ended:
                unpack(record, folder / stage, None)
    except SightlineError as problem:
        progress.notice(f"the folder of the run lacks files of stages that were not done again: {problem}")


def conclude_dead(runs: Path) -> list[str]:
    """Write the summary of every run in `runs` whose command died; returns a line about each."""
    notes = []
    for lock in sorted(runs.glob(f"*/{claim.LOCK}")):
        folder = lock.parent
        with claim.dead(folder) as is_dead:
            if not is_dead:
                continue
            try:
                status, unread = _conclude_dead(folder)
                without = "".join(f"; left out, as it cannot be read: {problem}" for problem in unread)
                notes.append(f"run {folder.name} was cut off; it is now recorded as {status}{without}")
            except (SightlineError, OSError) as error:  # the disk may be full; that must not stop other runs
                notes.append(f"run {folder.name} was cut off, and could not be recorded: {error}")
    return notes


def _conclude_dead(folder: Path) -> tuple[str | None, list[str]]:
    """Sum up a dead run; returns its status, and why some of what its stages left is not part of that.

    What cannot be read will not get better: an older version or a damaged disk left it. So the run goes on record
    without it.
    """
    processes.end(folder, force=lambda: True)
    shutil.rmtree(folder / claim.TEMPORARY, ignore_errors=True)
    events = _events(folder)
    outcomes, unread, finished_at = _outcomes(events, {}), list[str](), _last_seen(folder, events)
    try:
        folders = _folders(folder)
        outcomes = _outcomes(events, folders)
        readable, unread = _readable(folders)
        summary = _concluded(folder, readable, outcomes, _error_of_dead_run(events, unread), finished_at)
    except OSError as problem:  # in copying, or in what the page shows besides documents
        if problem.errno in FULL or shutil.disk_usage(folder).free < FULL_BELOW:
            raise
        unread.append(str(problem))
        summary = _concluded(folder, {}, outcomes, _error_of_dead_run(events, unread), finished_at)
    return summary.status, unread


def _readable(folders: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the folders of stages whose documents can be read, and why those of the others cannot."""
    readable, problems = {}, []
    for stage, folder in folders.items():
        try:
            load({stage: folder})
            readable[stage] = folder
        except (StageInputError, OSError) as problem:
            problems.append(str(problem))
    return readable, problems


def _concluded(
    folder: Path,
    folders: Mapping[str, Path],
    stages: list[StageOutcome],
    error: ErrorReport | None,
    finished_at: str | None = None,
    *,
    run: RunStore | None = None,
) -> SummaryDocument:
    from sightline import report

    return report.conclude(
        run_id=folder.name,
        folders=folders,
        out=folder,
        started_at=_started_at(folder),
        finished_at=finished_at,
        stages=stages,
        error=error,
        run=run,
    )


def _events(folder: Path) -> list[dict[str, Any]]:
    path = folder / claim.EVENTS
    return progress.events(path)[0] if path.exists() else []


def _started_at(folder: Path) -> str:
    """Return when the run began, from its arguments, which are written first."""
    try:
        return str(json.loads((folder / claim.ARGUMENTS).read_bytes())["started_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return _time(folder.stat().st_mtime)


def _last_seen(folder: Path, events: list[dict[str, Any]]) -> str:
    """Return when a dead run last reported an event."""
    return _time(events[-1]["time"]) if events else _started_at(folder)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the stages that left a document; of validate, the data report alone is enough."""
    documents = {stage: (f"{stage}.json", *(("data.json",) if stage == "validate" else ())) for stage in NAMES}
    return {
        stage: folder / stage
        for stage, names in documents.items()
        if any((folder / stage / name).exists() for name in names)
    }


def _error(folder: Path, code: int, events: list[dict[str, Any]]) -> ErrorReport:
    """Return why the run failed: the stage's own error document, or what can be seen from outside."""
    stage = _last_stage(events)
    if code == INTERRUPTED:
        return ErrorReport(stage=stage, kind="interrupted", message="Interrupted by the user.", exit_code=INTERRUPTED)
    if report := read_error(processes.error_file(folder)):
        return report
    if shutil.disk_usage(folder).free < FULL_BELOW:
        full = no_space_left(folder, None)
        return ErrorReport(stage=stage, kind=full.kind, message=str(full), exit_code=full.exit_code)
    end = f"exit code {code}" if code > 0 else f"signal {-code}"
    message = (
        f"A process of {stage} crashed or was killed before it could say why (the runner ended with {end}). Its output "
        f"is in {folder / claim.LOG}."
    )
    return ErrorReport(stage=stage, kind="internal", message=message, exit_code=1)


def _error_of_dead_run(events: list[dict[str, Any]], unread: list[str]) -> ErrorReport | None:
    """Return the error of a run whose command was killed; None if its last stage had ended by then.

    `unread` says which of its results cannot be read; a run that lacks some is not complete.
    """
    ended = {event["stage"] for event in events if event["event"] == "end"}
    if NAMES[-1] in ended and not unread:
        return None
    message = "\n".join(
        (
            "Interrupted: the command was killed, or its machine stopped.",
            *(f"  - Left out, as it cannot be read: {problem}" for problem in unread),
        )
    )
    return ErrorReport(stage=_last_stage(events), kind="interrupted", message=message, exit_code=INTERRUPTED)


def _last_stage(events: list[dict[str, Any]]) -> str:
    return next((event["stage"] for event in reversed(events) if "stage" in event), NAMES[0])


def _outcomes(events: list[dict[str, Any]], folders: Mapping[str, Path]) -> list[StageOutcome]:
    """Return how each stage went; one whose files others read, but which did not run, came from the cache."""
    begun = {event["stage"]: event for event in events if event["event"] == "start"}
    ends = {event["stage"]: event for event in events if event["event"] in ("end", "failed")}
    notes = {event["stage"]: event["note"] for event in events if event["event"] == "note"}
    outcomes = []
    for name in NAMES:
        seconds, status = None, "cached" if name in folders else "skipped"
        if name in ends:
            seconds, status = ends[name]["seconds"], "done" if ends[name]["event"] == "end" else "failed"
        elif name in begun:  # killed before it could say so
            seconds, status = round(events[-1]["time"] - begun[name]["time"], 3), "failed"
        values = {"name": name, "seconds": seconds, "status": status, "note": notes.get(name)}
        outcomes.append(StageOutcome.model_validate(values))
    return outcomes
