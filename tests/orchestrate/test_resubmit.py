"""Which ends of a run let `sightline submit --resubmit` start it again."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.documents import ErrorReport, SummaryDocument
from sightline.documents.cause import Cause
from sightline.orchestrate.resubmit import reason


def cause(kind: str, task: str | None = "train", *, again: bool = False) -> Cause:
    found: dict[str, Any] = {"kind": kind, "task": task, "sentence": f"{task} ended by {kind}."}
    return Cause(**found, evidence=[], do="", again=again, seen_at="2026-11-29T12:00:00+00:00")


def summary(**given: Any) -> SummaryDocument:
    empty: dict[str, Any] = dict.fromkeys(("data", "train", "export", "evaluate", "register", "hardware"))
    empty |= {"git_commit": None, "rejected_by": None, "error": None, "packages": {}, "stages": []}
    times = {"started_at": "2026-11-29T12:00:00+00:00", "finished_at": "2026-11-29T13:00:00+00:00"}
    return SummaryDocument.model_validate({"run_id": "a", **empty, **times, **given})


def failed(kind: str, exit_code: int = 1, stage: str = "train") -> SummaryDocument:
    error = ErrorReport(stage=stage, kind=kind, message=f"{kind} in {stage}.\n  - more", exit_code=exit_code)
    return summary(status="failed", error=error)


@pytest.mark.parametrize("kind", ["evicted", "preempted", "node_lost", "deleted", "vanished", "driver"])
def test_what_passes_by_itself_is_started_again(kind: str) -> None:
    found = cause(kind, again=True)
    assert reason(found, failed("lost")) == f"train ended by {kind}."
    assert reason(found, None) == f"train ended by {kind}."


@pytest.mark.parametrize("kind", ["memory", "shared_memory", "timeout"])
def test_a_training_that_can_go_on_is_started_again(kind: str) -> None:
    assert reason(cause(kind), failed("lost")) == f"train ended by {kind}."


def test_a_run_that_a_person_ended_stays_ended() -> None:
    assert reason(cause("terminated", again=True), failed("lost")) == ""


@pytest.mark.parametrize("kind", ["terminated", "deadline", "image", "quota", "missing", "admission", "stage", "disk"])
def test_what_would_end_in_the_same_way_or_was_wanted_is_not(kind: str) -> None:
    assert reason(cause(kind), failed("lost")) == ""


def test_memory_of_a_task_that_has_no_ladder_is_not() -> None:
    assert reason(cause("memory", "evaluate"), failed("memory", stage="evaluate")) == ""


def test_a_server_that_was_away_is_a_reason_and_one_that_refused_is_not() -> None:
    assert reason(None, failed("storage")) == "storage in train."
    assert reason(None, failed("storage", exit_code=2)) == ""


@pytest.mark.parametrize("kind", ["configuration", "data", "train", "internal", "weights"])
def test_a_stage_that_failed_by_itself_is_not_started_again(kind: str) -> None:
    assert reason(cause("stage"), failed(kind, exit_code=2)) == ""


@pytest.mark.parametrize(
    "ended",
    [
        {"status": "rejected", "rejected_by": "score"},
        {"status": "rejected", "rejected_by": "data"},
        {"status": "registered"},
    ],
)
def test_a_run_that_was_rejected_or_went_well_is_not_started_again(ended: dict[str, Any]) -> None:
    assert reason(cause("evicted", again=True), summary(**ended)) == ""
