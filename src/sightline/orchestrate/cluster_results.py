"""What a run on a cluster left in the store: read from outside, with nothing but access to the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from sightline import why
from sightline.documents import ErrorReport, SummaryDocument
from sightline.documents.cause import Cause
from sightline.errors import SightlineError
from sightline.run_store import SUMMARY, RunStore
from sightline.storage import MissingObject, Store, open_store


class NoSummary(Exception):
    """Why there is no summary to read: a sentence."""


def place(store: str | None) -> Store:
    """Open the store at a URI, by default SIGHTLINE_STORE. Raises NoSummary."""
    uri = store or os.environ.get("SIGHTLINE_STORE")
    if not uri:
        raise NoSummary("SIGHTLINE_STORE is not set here, so the run's summary cannot be read.")
    try:
        return open_store(uri)
    except SightlineError as error:
        raise NoSummary(f"The run's summary cannot be read: {error}") from None


def summary(
    store: Store, run_id: str, *, name: str, given_up: ErrorReport | None = None, cause: Cause | None = None
) -> SummaryDocument:
    """Return the summary of a run that is over from the store.

    Where the run's last task did not come to write it, as after "Terminate", or saw less of the `cause` than who
    followed the run, it is written now. `given_up` says why the run was ended from here. Raises NoSummary.
    """
    run = RunStore(store, run_id)
    try:
        try:
            found = SummaryDocument.model_validate_json(run.store.get_bytes(run.key(SUMMARY)))
        except MissingObject:
            return _finished(run, name, given_up, cause)
        if found.error is None or found.error.kind not in why.DERIVED or why.better(found.cause, cause) == found.cause:
            return found
        return _finished(run, name, None, cause)
    except ValidationError:
        raise NoSummary(
            f"The run's summary, runs/{run_id}/{SUMMARY} in the store {store.uri}, is one of another version."
        ) from None
    except SightlineError as error:
        raise NoSummary(f"The run's summary cannot be read: {error}") from None


def _finished(run: RunStore, name: str, given_up: ErrorReport | None, cause: Cause | None) -> SummaryDocument:
    from sightline import report

    if given_up and run.error(given_up.stage) is None:
        run.fail(given_up)
    if next(run.store.entries(run.key("")), None) is None:
        raise NoSummary(f"The run left nothing in the store {run.store.uri}.")
    with tempfile.TemporaryDirectory(prefix="sightline-report-") as folder:
        return report.finish(run, Path(folder), name=name, cause=cause)
