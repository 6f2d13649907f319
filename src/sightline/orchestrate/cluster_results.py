"""What a run on a cluster left in the store: read from outside, with nothing but access to the store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from sightline.documents import ErrorReport, SummaryDocument
from sightline.errors import SightlineError
from sightline.run_store import SUMMARY, RunStore
from sightline.storage import MissingObject, open_store


class NoSummary(Exception):
    """Why there is no summary to read: a sentence."""


def summary(store: str | None, run_id: str, *, name: str, given_up: ErrorReport | None = None) -> SummaryDocument:
    """Return the summary of a run that is over from the store at a URI, by default SIGHTLINE_STORE.

    Where the run's last task did not come to write it, as after "Terminate", it is written now. `given_up` says why the
    run was ended from here. Raises NoSummary.
    """
    uri = store or os.environ.get("SIGHTLINE_STORE")
    if not uri:
        raise NoSummary("SIGHTLINE_STORE is not set here, so the run's summary cannot be read.")
    try:
        run = RunStore(open_store(uri), run_id)
        try:
            return SummaryDocument.model_validate_json(run.store.get_bytes(run.key(SUMMARY)))
        except MissingObject:
            return _finished(run, name, given_up)
    except ValidationError:
        raise NoSummary(
            f"The run's summary, runs/{run_id}/{SUMMARY} in the store {uri}, is one of another version."
        ) from None
    except SightlineError as error:
        raise NoSummary(f"The run's summary cannot be read: {error}") from None


def _finished(run: RunStore, name: str, given_up: ErrorReport | None) -> SummaryDocument:
    from sightline import report

    if given_up and run.error(given_up.stage) is None:
        run.fail(given_up)
    if next(run.store.entries(run.key("")), None) is None:
        raise NoSummary(f"The run left nothing in the store {run.store.uri}.")
    with tempfile.TemporaryDirectory(prefix="sightline-report-") as folder:
        return report.finish(run, Path(folder), name=name)
