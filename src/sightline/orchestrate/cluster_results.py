"""What a run on a cluster left in the store: read from outside, with nothing but access to the store."""

from __future__ import annotations

import os

from pydantic import ValidationError

from sightline.documents import SummaryDocument
from sightline.errors import SightlineError
from sightline.storage import MissingObject, open_store


class NoSummary(Exception):
    """Why there is no summary to read: a sentence."""


def summary(store: str | None, run_id: str) -> SummaryDocument:
    """Return the summary of a run from the store at a URI, by default SIGHTLINE_STORE. Raises NoSummary."""
    uri = store or os.environ.get("SIGHTLINE_STORE")
    if not uri:
        raise NoSummary("SIGHTLINE_STORE is not set here, so the run's summary cannot be read.")
    key = f"runs/{run_id}/summary.json"
    try:
        return SummaryDocument.model_validate_json(open_store(uri).get_bytes(key))
    except MissingObject:
        raise NoSummary(
            f"The run left no summary in the store {uri}; once it is over, `sightline report --run {run_id}` writes it."
        ) from None
    except ValidationError:
        raise NoSummary(f"The run's summary, {key} in the store {uri}, is one of another version.") from None
    except SightlineError as error:
        raise NoSummary(f"The run's summary cannot be read: {error}") from None
