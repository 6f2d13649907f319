"""Whether a run has to train: only if something has changed, or has drifted, since a run that came to a verdict.

    judged    what is remembered of such runs, in the store; so it needs no tracking server
    drift     how far one snapshot lies from another: the comparison of splits, applied to two snapshots

`decide` is asked once the data has passed and its snapshot is published; whatever it cannot find out, the run trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sightline.config import RegisterConfig, RetrainConfig
from sightline.documents import Unchanged, ValidateDocument
from sightline.errors import StorageError, TrackingError
from sightline.retrain import drift, judged
from sightline.retrain.judged import remember
from sightline.snapshots.manifest import load
from sightline.storage import MissingObject, Store
from sightline.tracking import address, registry, server

__all__ = ["Decision", "decide", "remember"]

NAMED = 5  # differences that a sentence lists; the rest is counted


class Decision(NamedTuple):
    """Whether a run ends as unchanged, and why it does or does not.

    `why` is a sentence for the user, null where the run was to train in any case.
    """

    why: str | None
    unchanged: Unchanged | None

    def noted(self, document: ValidateDocument) -> ValidateDocument:
        """Return the document with the decision in it."""
        trains_because = None if self.unchanged else self.why
        return document.model_copy(update={"unchanged": self.unchanged, "trains_because": trains_because})


def decide(document: ValidateDocument, store: Store, run_id: str | None = None) -> Decision:
    """Decide whether a validated run trains, as `retrain` in its configuration wants it.

    `store` holds the published snapshot. `run_id` is this run: what an earlier attempt of its own came to is no reason
    not to train. An outage of the store, the tracking server or the registry is a reason to train, not an error.
    """
    config = document.config
    if config.retrain.when == "always":
        return Decision(None, None)
    try:
        former = judged.newest(store, config.register_.model_name)
    except StorageError as error:
        return _trains(f"what earlier runs came to cannot be read: {error}")
    if former is None:
        return _trains(f"no run of model '{config.register_.model_name}' has come to a verdict in {store.uri} yet")
    if former.run_id == run_id:
        return _trains("the newest run with a verdict is this one")
    same = Unchanged(
        run_id=former.run_id,
        name=former.name,
        status=former.status,
        version=former.version,
        why="Data, settings and code are the same.",
    )
    differences = former.differences(document)
    if not differences:
        return Decision(same.sentence, same)
    if config.retrain.when == "changed" or differences != [judged.DATA]:
        return _trains(f"since {same.shown}, {_listed(differences)} changed")
    return _unless_drifted(document, store, config.register_, config.retrain)


def _unless_drifted(document: ValidateDocument, store: Store, names: RegisterConfig, config: RetrainConfig) -> Decision:
    """Compare the data with that of the version at the alias."""
    try:
        with server.client(address.tracking_uri(), "validate") as mlflow:
            found = registry.at_alias(mlflow, names.model_name, names.alias)
    except TrackingError as error:
        return _trains(f"the data has changed, and the model registry cannot say from which data: {error}")
    if found is None:
        return _trains(f"the data has changed, and model '{names.model_name}' has no version at '{names.alias}' yet")
    number, snapshot, run_id = registry.origin(found)
    version = f"version {number} at '{names.alias}'"
    if not snapshot or not run_id:
        return _trains(f"the data has changed, and {version} does not say from which: Sightline did not register it")
    try:
        before = load(store, snapshot)
    except MissingObject:
        return _trains(f"the data has changed, and the snapshot {snapshot[:12]} of {version} is not in {store.uri}")
    except StorageError as error:
        return _trains(f"the data has changed, and the snapshot of {version} cannot be read: {error}")
    try:
        found_drift = drift.measure(store, before, load(store, document.digest))
    except StorageError as error:
        return _trains(f"the data has changed, and cannot be compared with that of {version}: {error}")
    reasons = found_drift.reasons(config.max_drift)
    if reasons:
        return _trains(
            f"the data has drifted from that of {version} ({drift.limit(config.max_drift)}): {_listed(reasons)}"
        )
    unchanged = Unchanged(
        run_id=run_id,
        status="registered",
        version=number,
        why=f"The data has changed, but {found_drift.within(config.max_drift)}; settings and code are the same.",
    )
    return Decision(unchanged.sentence, unchanged)


def _trains(reason: str) -> Decision:
    return Decision(f"This run trains: {reason.removesuffix('.')}.", None)


def _listed(words: Sequence[str]) -> str:
    """Join some words; of many only the first, and the number of the rest."""
    shown = list(words) if len(words) <= NAMED else [*words[: NAMED - 1], f"{len(words) - NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
