"""Which run is meant: by its id, the address of its page in the dashboard, or its name."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from pydantic import ValidationError

from sightline.documents import SummaryDocument
from sightline.errors import ClusterError, SightlineError
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
    name: str | None = None
    others: tuple[str, ...] = ()  # their ids, the newest first


@dataclass(frozen=True)
class Found:
    """What came of looking for a run."""

    named: Named | None  # also for an id that no source knows; None for a name that none does
    known: bool  # whether a source knows it
    server: Server | None  # what was asked and answered, to be asked further; None without
    store: Store | None  # the same of the store; one that had not to be asked is as good
    unasked: tuple[str, ...]  # what a source would not say, a line each


def find(text: str, server: Server | None, store: Store | None) -> Found:
    """Look for the run that an id, an address or a name means. Does not raise: what could not be asked is said."""
    word, is_id = _meant(text)
    named, unasked = None, []
    if server:
        try:
            named = _on_server(word, is_id, server)
        except ClusterError as error:
            server = None
            unasked.append(f"Kubeflow Pipelines: {' '.join(str(error).split())}")
    if store and named is None:
        try:
            named = in_store(text, store)
        except SightlineError as error:
            store = None
            unasked.append(f"the store: {' '.join(str(error).split())}")
    known = named is not None
    return Found(named or (Named(word) if is_id else None), known, server, store, tuple(unasked))


def _meant(text: str) -> tuple[str, bool]:
    """Return the id that a text is or holds, else the text as a name; and whether it is an id."""
    address = ADDRESS.fullmatch(text.strip())
    word = address[1] if address else text.strip()
    return word, re.fullmatch(ID, word) is not None


def _on_server(word: str, is_id: bool, server: Server) -> Named | None:
    if is_id:
        try:
            return Named(word, server.run(word).display_name)
        except Refused as answer:
            if answer.status == 404:
                return None
            raise
    runs = server.runs_named(word)
    return Named(runs[0].run_id, runs[0].display_name, tuple(run.run_id for run in runs[1:])) if runs else None


def in_store(text: str, store: Store) -> Named | None:
    """Return the run that an id, an address or a name means, by what runs left. Raises StorageError."""
    word, is_id = _meant(text)
    if _left_something(store, word):
        return Named(word)
    return None if is_id else _by_summary(word, store)


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
