"""The newest pipeline runs that MLflow has on record, by the tags and metrics that were written with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sightline.documents.run_list import RunCause, RunLine
from sightline.tracking.address import RUN_TAG
from sightline.tracking.server import client

PAGE = 100  # runs that are asked for at a time
TAG = "sightline."
SCORE = "test/map50_95"


def newest(uri: str, model_name: str | None = None) -> Iterator[RunLine]:
    """Yield the recorded runs, of one model if named, the newest first by their start; each pipeline run once.

    Raises TrackingError and ConfigError.
    """
    which = f"tags.`{RUN_TAG}` != ''"
    if model_name is not None:  # of letters, digits, dots, dashes and underscores: it needs no quoting
        which += f" and tags.`{TAG}model_name` = '{model_name}'"
    seen = set()
    with client(uri, "runs") as mlflow:
        experiments = [each.experiment_id for each in _pages(mlflow.search_experiments)]
        found = _pages(
            mlflow.search_runs,
            experiment_ids=experiments,
            filter_string=which,
            order_by=["attributes.start_time DESC"],
        )
        for run in found if experiments else ():
            line = _line(run)
            if line.run_id not in seen:
                seen.add(line.run_id)
                yield line


def _pages(search: Any, **options: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def _line(run: Any) -> RunLine:
    tags, metrics = run.data.tags, run.data.metrics
    own = {name.removeprefix(TAG): value for name, value in tags.items() if name.startswith(TAG)}
    started, ended = run.info.start_time, run.info.end_time
    status = own.get("status")
    return RunLine(
        run_id=own["run_id"],
        name=own.get("name") or run.info.run_name,
        model_name=own.get("model_name"),
        status=None if status == "unfinished" else status,
        verdict=own.get("verdict"),
        cause=_cause(own.get("cause")),
        started_at=_moment(started),
        finished_at=_moment(ended) if ended else None,
        seconds=(ended - started) / 1000 if ended else None,
        waiting_seconds=metrics.get("waiting_seconds"),
        gpu_hours=metrics.get("gpu_hours"),
        map50_95=metrics.get(SCORE),
        version=None,
        found_in="mlflow",
    )


def _cause(tag: str | None) -> RunCause | None:
    """Read the tag `kind: sentence`."""
    kind, _, sentence = (tag or "").partition(": ")
    return RunCause(kind=kind, sentence=sentence or None) if kind else None


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
