"""Summaries of runs that have ended, as they lie in a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sightline.documents import ErrorReport, SummaryDocument, SummaryEvaluate, SummaryRegister
from sightline.documents.cost import Cost
from sightline.run_store import RunStore
from sightline.storage import Store

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def at(hours: float) -> str:
    """A moment, in hours from the first of the runs."""
    return (FIRST + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def summary(
    run_id: str, hours: float, *, model: str | None = "smear", lasted: float = 0.5, **more: Any
) -> SummaryDocument:
    """A run that began so many hours after the first one, by default a registered one."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "name": f"nightly {run_id}",
        "model_name": model,
        "status": "registered",
        "rejected_by": None,
        "started_at": at(hours),
        "finished_at": at(hours + lasted),
        "git_commit": None,
        "packages": {},
        "hardware": None,
        "data": None,
        "train": None,
        "export": None,
        "evaluate": scores(),
        "register": SummaryRegister(
            model_name=model or "smear", version="3", aliases=[], tracking_uri="http://mlflow", run_id="9f"
        ),
        "stages": [],
        "error": None,
        "cost": None,
    }
    return SummaryDocument.model_validate(values | more)


def scores(map50_95: float = 0.612, verdict: str = "accepted", *reasons: str) -> SummaryEvaluate:
    """What the score gate had before it."""
    values = dict.fromkeys(("map50", "map75", "precision", "recall", "f1"), 0.5)
    return SummaryEvaluate.model_validate(
        {"split": "test", "images": 9, "map50_95": map50_95, "confidence": 0.3, "per_class": []}
        | {"verdict": verdict, "reasons": list(reasons), **values}
    )


def failed(message: str, kind: str = "memory") -> dict[str, Any]:
    """What makes a run one that failed."""
    error = ErrorReport(stage="train", kind=kind, message=message, exit_code=1)
    return {"status": "failed", "evaluate": None, "register": None, "error": error}


def took(gpu_hours: float) -> Cost:
    """What a run on a cluster took, without the tasks."""
    return Cost(
        tasks=[], started_at=None, finished_at=None, seconds=None, waiting_seconds=12.0, gpu_seconds=3600 * gpu_hours
    )


def put(store: Store, *summaries: SummaryDocument) -> None:
    """Leave summaries in a store, one after another."""
    for each in summaries:
        RunStore(store, each.run_id).finish(each, "<p>page</p>")
