"""What is remembered of runs that came to a verdict: small objects in the store, by the name of their model.

    <store>/verdicts/<sha256 of the model's name>/<when the run ended>-<digest of its identity>.json

Each run has its own object, and the last key is the newest: two runs that end at once overwrite nothing, as they would
in one object for both. A run that is concluded again keeps its place. All but the newest few are deleted.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from sightline.config.assignments import flat
from sightline.documents import JudgedStatus, Part, Sha256, SummaryDocument, Unchanged, ValidateDocument
from sightline.errors import StorageError
from sightline.runtime import progress
from sightline.storage import MissingObject, Store

FOLDER = "verdicts"
KEPT = 20  # runs of a model: the newest is compared with, older ones keep their place if they are concluded again
DATA = "the data"
# Settings that decide nothing once the data has become a snapshot and the weights a digest, which are compared.
IRRELEVANT = ("preset", "data.", "weights.", "retrain.", "train.sizing")


class Judged(Part):
    """What a later run is compared with."""

    schema_version: Literal[1] = 1
    run_id: str
    name: str | None
    status: JudgedStatus
    version: str | None
    finished_at: str
    snapshot: Sha256
    weights: str
    settings: dict[str, Any]
    train_code: Sha256
    infer_code: Sha256

    def stands(self, why: str) -> Unchanged:
        """Return what a run that it spares says of it."""
        return Unchanged(run_id=self.run_id, name=self.name, status=self.status, version=self.version, why=why)

    def differences(self, document: ValidateDocument) -> list[str]:
        """Say what a run does otherwise: the data, weights, code, or settings, each with its old and new value."""
        settings = _settings(document)
        changed = [
            f"{key} (was {self.settings.get(key)}, is {settings.get(key)})"
            for key in {**self.settings, **settings}
            if self.settings.get(key) != settings.get(key)
        ]
        rest = {
            DATA: self.snapshot == document.digest,
            "the starting weights": self.weights == _weights(document),
            "the code that trains": self.train_code == document.train_code,
            "the code that evaluates": self.infer_code == document.infer_code,
        }
        return [what for what, same in rest.items() if not same] + changed


def remember(document: ValidateDocument, summary: SummaryDocument, store: Store) -> None:
    """Note what a run came to, if that is a verdict on a model; others are left out, and so is an unchanged run.

    A training that `max_hours` cut short stands for no other one, so neither does its verdict. Calling it again for a
    run changes nothing. An outage of the store is a notice: then a later run trains.
    """
    if summary.status not in ("registered", "accepted", "rejected") or summary.rejected_by == "data":
        return
    if summary.train and summary.train.cut_short:
        return
    entry = Judged(
        run_id=summary.run_id,
        name=summary.name,
        status=summary.status,
        version=summary.register_.version if summary.register_ else None,
        finished_at=summary.finished_at,
        snapshot=document.digest,
        weights=_weights(document),
        settings=_settings(document),
        train_code=document.train_code,
        infer_code=document.infer_code,
    )
    folder = _folder(document.config.register_.model_name)
    # With its start: a run id is free again where the folder of runs is thrown away, as in continuous integration.
    identity = f"{entry.run_id} {document.started_at}"
    end = f"-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    ended = datetime.fromisoformat(entry.finished_at).astimezone(UTC)
    try:
        keys = [key for key, _ in store.list(folder)]
        key = next((key for key in keys if key.endswith(end)), f"{folder}{ended:%Y%m%dT%H%M%S%f}{end}")
        store.put_bytes(key, entry.model_dump_json().encode())
        store.delete(sorted({*keys, key})[:-KEPT])
    except StorageError as error:
        progress.notice(f"the verdict could not be noted in the store, so the next run trains: {error}")


def newest(store: Store, model_name: str) -> Judged | None:
    """Return the run of this model that came to its verdict last; None without one. Raises StorageError."""
    for key in reversed([key for key, _ in store.list(_folder(model_name))]):
        try:
            return Judged.model_validate_json(store.get_bytes(key))
        except MissingObject:
            continue  # deleted since it was listed
        except ValidationError:
            raise StorageError(f"{store.uri}/{key} is damaged or of another version.") from None
    return None


def _folder(model_name: str) -> str:
    """Return where the runs of a model are: a digest, since some file systems take a and A for one name."""
    return f"{FOLDER}/{hashlib.sha256(model_name.encode()).hexdigest()}/"


def _settings(document: ValidateDocument) -> dict[str, Any]:
    return {key: value for key, value in flat(document.config).items() if not key.startswith(IRRELEVANT)}


def _weights(document: ValidateDocument) -> str:
    return document.weights.sha256 or document.weights.reference.start
