"""The newest runs, from the store and from MLflow: no cluster is asked.

Summaries are the truth: those in the store, or without one in a folder of runs on this machine. MLflow adds the runs
of which there is no summary (any more). A run that has begun and has no summary yet is listed without a status.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sightline.config import mlflow_names
from sightline.documents.run_list import RunLine, RunList, RunSource
from sightline.errors import ConfigError, SightlineError
from sightline.run_list.summaries import Found, began, in_folder, in_store
from sightline.storage import open_store
from sightline.tracking import address, recorded

SEEN = 1000  # MLflow runs that are looked at for the models that have runs


class Tracking:
    """MLflow, if it can be asked."""

    def __init__(self, uri: str) -> None:
        """Take its address."""
        self.uri = uri

    def add(self, found: Found, limit: int, model_name: str | None) -> list[RunLine]:
        """Return the newest of the runs found and of those that MLflow alone knows. Raises TrackingError."""
        runs = list(found.runs)
        for line in recorded.newest(self.uri, model_name):
            if len(runs) >= limit and began(line) < began(runs[limit - 1]):
                break
            if not found.has(line.run_id):
                runs = [run for run in runs if run.run_id != line.run_id]  # has begun, of which MLflow knows more
                runs = sorted([*runs, line], key=began, reverse=True)
        return runs[:limit]

    def models(self) -> Iterator[str]:
        """Yield the models of the newest runs. Raises TrackingError."""
        for line in islice(recorded.newest(self.uri), SEEN):
            if line.model_name:
                yield line.model_name


def collect(store: str | None, runs: Path, *, model_name: str | None, limit: int) -> RunList:
    """Return the newest runs, at most `limit`, of one model if named.

    `store` is a URI; without it, the runs in the folder `runs` are listed. A place that cannot be asked is named in
    what is returned. Raises ConfigError for a model without runs and for a name that no model can have; the place's own
    error where none could be asked.
    """
    if model_name is not None:
        try:
            mlflow_names.model_name(model_name)
        except ValueError as wrong:
            raise ConfigError(f"--model: {wrong}.") from None
    found, own = _summaries(store, runs, limit, model_name)
    problems = [own] if isinstance(own, SightlineError) else []
    sources = [_source("store" if store else "folder", store or str(runs), own, found.unreadable)]
    lines, models = found.runs, found.models
    tracking = _tracking(runs, embedded=store is None)
    if isinstance(tracking, str):
        sources.append(RunSource(place="mlflow", address=None, problem=tracking))
    elif tracking:
        try:
            lines = tracking.add(found, limit, model_name)
            models = models if lines else models | set(tracking.models())
            sources.append(_source("mlflow", tracking.uri, None))
        except SightlineError as error:
            problems.append(error)
            sources.append(_source("mlflow", tracking.uri, error))
    if problems and len(problems) == sum(source.address is not None for source in sources):
        raise problems[0]
    if model_name is not None and not lines:
        raise _no_runs(model_name, models, sources)
    return RunList(model_name=model_name, runs=lines, sources=sources)


def _summaries(
    store: str | None, runs: Path, limit: int, model_name: str | None
) -> tuple[Found, SightlineError | None]:
    if store is None:
        return in_folder(runs, limit, model_name), None
    try:
        return in_store(open_store(store), limit, model_name), None
    except SightlineError as error:
        return Found([], lambda run: False, set(), 0), error


def _tracking(runs: Path, *, embedded: bool) -> Tracking | str | None:
    """Return MLflow, None where there is none to ask, or why it cannot be asked.

    The database in a folder of runs has the runs of that folder.
    """
    uri = address.tracking_uri(runs)
    if uri is None or os.environ.get(address.TRACKING):
        return Tracking(uri) if uri else None
    if not embedded:
        return f"{address.TRACKING} is not set here"
    file = address.database(uri)
    return Tracking(uri) if file and file.exists() else None


def _source(place: str, where: str, error: SightlineError | None, unreadable: int = 0) -> RunSource:
    problem = str(error) if error else None
    values = {"place": place, "address": address.redact(where), "problem": problem, "unreadable": unreadable}
    return RunSource.model_validate(values)


def _no_runs(model_name: str, models: set[str], sources: list[RunSource]) -> ConfigError:
    known = f"models that have runs: {', '.join(sorted(models))}" if models else "no model has runs"
    places = " and ".join(source.asked for source in sources if source.asked)
    unasked = [source.note for source in sources if source.note]
    return ConfigError(f"There are no runs of the model '{model_name}' in {places}; {known}.", unasked)
