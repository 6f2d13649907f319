"""Which run is meant: by its id, the address of its page in the dashboard, or its name."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from pydantic import ValidationError

from sightline.documents import SummaryDocument
from sightline.errors import ClusterError
from sightline.orchestrate.kfp_api import Server
from sightline.orchestrate.kfp_errors import Refused
from sightline.run_store import SUMMARY
from sightline.storage import MissingObject, Store

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ADDRESS = re.compile(rf"https?://\S+?({ID})(?:[/?#]\S*)?")
READ = 200  # summaries in the store that are read for a name, the newest


@dataclass(frozen=True)
class Named:
    """The run that is meant, and the older ones that are called the same."""

    run_id: str
    name: str | None
    others: tuple[str, ...] = ()  # their ids, the newest first


def find(text: str, server: Server | None, store: Store | None) -> Named | None:
    """Return the run that an id, an address or a name means; None where neither server nor store knows one.

    Raises ClusterError and StorageError where a source fails that the answer depends on.
    """
    address = ADDRESS.fullmatch(text.strip())
    run_id = address[1] if address else text.strip()
    if re.fullmatch(ID, run_id):
        return _by_id(run_id, server, store)
    if server and (runs := server.runs_named(run_id)):
        newest, *older = runs
        return Named(newest.run_id, newest.display_name, tuple(run.run_id for run in older))
    if store is None:
        return None
    return Named(run_id, None) if _left_something(store, run_id) else _by_summary(run_id, store)


def _by_id(run_id: str, server: Server | None, store: Store | None) -> Named | None:
    if server:
        try:
            return Named(run_id, server.run(run_id).display_name)
        except Refused as answer:
            if answer.status != 404:
                raise
        except ClusterError:  # the store may know it
            if store is None:
                raise
    if store is None:
        return None
    return Named(run_id, None) if _left_something(store, run_id) else None


def _left_something(store: Store, run_id: str) -> bool:
    return "/" not in run_id and next(iter(store.entries(f"runs/{run_id}/")), None) is not None


def _by_summary(name: str, store: Store) -> Named | None:
    """Look the name up in what ended runs left."""
    entries = [entry for entry in store.entries("runs/") if entry.key.endswith(f"/{SUMMARY}")]
    found = []
    for entry in sorted(entries, key=lambda entry: entry.modified, reverse=True)[:READ]:
        with contextlib.suppress(MissingObject, ValidationError):  # it has just gone, or is of another version
            summary = SummaryDocument.model_validate_json(store.get_bytes(entry.key))
            if summary.name == name:
                found.append(summary.run_id)
    return Named(found[0], name, tuple(found[1:])) if found else None
