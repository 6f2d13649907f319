"""How a whole run ended: the one place that writes its final summary, its page and the state of its MLflow run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sightline import retrain, summary, why
from sightline.atomic import write_text
from sightline.documents import ErrorReport, EvaluateDocument, ReportDocument, StageOutcome, SummaryDocument, load
from sightline.documents.cause import Cause, CauseKind
from sightline.documents.cost import Cost
from sightline.documents.stage_record import Records, pictures
from sightline.errors import SightlineError
from sightline.pages import run_page
from sightline.report import took
from sightline.run_store import RunStore, unpack
from sightline.runtime import progress
from sightline.runtime.stage_frame import NAMES
from sightline.tracking import address, records

PAGE = "report.html"
ERRORS: dict[CauseKind, str] = {"memory": "memory", "terminated": "interrupted", "deadline": "interrupted"}
CACHED = ("train", "export", "evaluate")  # may come from a cache: then the stage behind it leaves its record


def conclude(
    *,
    run_id: str,
    name: str | None = None,
    folders: Mapping[str, Path],
    out: Path,
    started_at: str | None = None,
    finished_at: str | None = None,
    stages: Sequence[StageOutcome] = (),
    error: ErrorReport | None = None,
    cause: Cause | None = None,
    cost: Cost | None = None,
    run: RunStore | None = None,
    open_record: bool = False,
) -> SummaryDocument:
    """Write the final `summary.json` and `report.html` of a whole run into `out` and, with `run`, into the store.

    `cause` is why a run on a cluster failed, and `cost` what it took. `finished_at`, ISO 8601, is now by default. An
    accepted run that ended without a model version and without an error counts as failed, unless its report found
    tracking switched off. A run that failed after it had an MLflow run is marked as failed there too; with
    `open_record` one that failed earlier is put on record. A store or tracking server that does not answer is named,
    and stops nothing.
    """
    result = summary.summarise(
        run_id=run_id, name=name, folders=folders, started_at=started_at, stages=stages, error=error
    )
    known = {"cause": cause, "cost": cost, "finished_at": finished_at or result.finished_at}
    result = result.model_copy(update=known)
    if result.status is None and stages:
        message = "The model was accepted, but the pipeline ended without registering it; see the log of register."
        error = ErrorReport(stage="register", kind="internal", message=message, exit_code=1)
        result = result.model_copy(update={"status": "failed", "error": error})
    html = run_page.render(result, folders)
    write_text(out / PAGE, html)
    result.write(out)
    if run:  # before MLflow, which may be slow to give up: who follows the run reads the summary there
        try:
            run.finish(result, html)
            if validated := load(folders).validate:
                retrain.remember(validated, result, run.store)
        except SightlineError as problem:
            progress.notice(f"the summary could not be put into the store: {problem}")
    recording = ("train", "report") if address.server_uri() else ("report",)  # train sends its epochs to a server
    begun = any(stage.name in recording and stage.status in ("done", "failed") for stage in stages)
    news = (result.error and (begun or open_record)) or cost
    if news and (uri := _tracking_uri(out, elsewhere=open_record)):
        records.record_end(result, folders, html, uri, open_record=open_record)
    return result


def _tracking_uri(out: Path, *, elsewhere: bool) -> str | None:
    """Return where the run is recorded; one that worked elsewhere is not in a database of this machine."""
    uri = address.tracking_uri(out.parent)
    if uri and elsewhere and not os.environ.get(address.TRACKING):
        progress.notice(f"{address.TRACKING} is not set here, so the run's MLflow record does not say how it ended")
        return None
    return uri


def finish(run: RunStore, out: Path, *, name: str | None = None, cause: Cause | None = None) -> SummaryDocument:
    """Conclude a run out of what its stages left in the store; summary and page are also put into `out`.

    It can be repeated, from any machine that reaches the store; as long as it comes to the same, the times stay. What
    an earlier call saw of the cause, or who followed the run and gives it as `cause`, is kept: evidence expires.

    Raises StorageError, and StageInputError for what another version left.
    """
    left, errors, earlier = run.records(), run.errors(), run.summary()
    folders = {stage: unpack(record, out / stage) for stage, record in left.items()}
    load(folders)
    if sampled := left.get("sample"):
        try:
            unpack(sampled, folders["sample"], None)
        except SightlineError as problem:
            progress.notice(f"the page lacks the gallery: {problem}")
            del folders["sample"]
    if trained := left.get("train"):
        try:
            unpack(trained, folders["train"], pictures(trained))
        except SightlineError as problem:
            progress.notice(f"the page lacks pictures of the training: {problem}")
    error, seen = next(iter(errors.values()), None) or _lost(left), None
    if error:
        seen = why.ask(run.run_id, run.store, lost=error)
        cause, known = _cause(seen, cause, earlier.cause if earlier else None)
        error = _in_short(error, cause) if known else error
    stages = _outcomes(run.run_id, left, error)
    same = earlier is not None and (earlier.stages, earlier.error) == (stages, error)
    return conclude(
        run_id=run.run_id,
        name=name or (earlier.name if earlier else None),
        folders=folders,
        out=out,
        started_at=earlier.started_at if earlier else None,
        finished_at=earlier.finished_at if earlier and same else None,
        stages=stages,
        error=error,
        cause=cause if error else None,
        cost=took.joined(earlier.cost if earlier else None, took.by_now(run.run_id, left, seen)),
        run=run,
        open_record=True,
    )


def _cause(seen: why.Seen, given: Cause | None, kept: Cause | None) -> tuple[Cause | None, bool]:
    """Return why a run failed, and whether anything but its documents says so; name what could not be asked."""
    for problem in seen.unasked:
        progress.notice(f"not asked why the run ended: {problem}")
    cause = why.better(given, why.cause(seen, kept))
    return cause, seen.answered or (cause is not None and cause.kind != "unknown")


def _in_short(error: ErrorReport, cause: Cause | None) -> ErrorReport:
    """Return an error that only says that a pod was ended with what is known of the cause."""
    if error.kind not in why.UNEXPLAINED or cause is None:
        return error
    stage = why.STAGES.get(cause.task or "", cause.task)
    return ErrorReport(
        stage=stage if stage in NAMES else error.stage,
        kind=ERRORS.get(cause.kind, "lost"),
        message=f"{cause.sentence} {cause.do}",
        exit_code=1,
    )


def unknown(run_id: str, problem: SightlineError, out: Path, *, name: str | None = None) -> SummaryDocument:
    """Write summary and page into `out` where what the stages left cannot be read; store and MLflow are left alone."""
    message = (
        "What the stages left in the store cannot be read, so how the run ended is not known; their logs say what "
        f"happened. Once the store can be read, `sightline report --run {run_id}` finishes the run.\n{problem}"
    )
    error = ErrorReport(stage="conclude", kind=problem.kind, message=message, exit_code=problem.exit_code)
    return conclude(run_id=run_id, name=name, folders={}, out=out, error=error)


def _lost(left: Records) -> ErrorReport | None:
    """Return an error for a run that stopped without a message; None for one that came to its end."""
    for stage in NAMES:
        if stage in left:
            if left[stage].documents.get("validate.json", {}).get("unchanged"):
                return None
            continue
        if stage == NAMES[-1] and (_verdict(left) == "rejected" or _untracked(left)):
            return None
        behind = " (or, where that came from a cache, the stage behind it)" if stage in CACHED else ""
        message = (
            f"The run ended before {stage}{behind} could leave a result or say why not: its pod was killed (out of "
            "memory, deleted, a lost node, a time limit), never started (no node, no quota, no image), or the run was "
            "terminated. The dashboard shows the task's state and its log."
        )
        return ErrorReport(stage=stage, kind="lost", message=message, exit_code=1)
    return None


def _verdict(left: Records) -> str:
    return str(left["evaluate"].documents[EvaluateDocument.file_name()]["verdict"])


def _untracked(left: Records) -> bool:
    return left["report"].documents[ReportDocument.file_name()]["run_id"] is None


def _outcomes(run_id: str, left: Records, error: ErrorReport | None) -> list[StageOutcome]:
    """Say of each stage how it went; one whose work another run did came from a cache."""
    outcomes = []
    for stage in NAMES:
        record = left.get(stage)
        document = record.documents.get(f"{stage}.json") if record else None
        if error and error.stage == stage:
            outcomes.append(StageOutcome(name=stage, seconds=None, status="failed"))
        elif record is None or document is None:
            outcomes.append(StageOutcome(name=stage, seconds=None, status="skipped"))
        elif record.run_id != run_id:
            note = f"from run {record.run_id}"
            outcomes.append(StageOutcome(name=stage, seconds=None, status="cached", note=note))
        else:
            outcomes.append(StageOutcome(name=stage, seconds=document["seconds"], status="done"))
    return outcomes
