"""Whether a run has to train: only if something has changed, or has drifted, since a run that came to a verdict.

    judged    what is remembered of such runs, in the store; so it needs no tracking server
    drift     how far one snapshot lies from another: the comparison of splits, applied to two snapshots

`decide` is asked once the data has passed and its snapshot is published; whatever it cannot find out, the run trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sightline.config import RegisterConfig
from sightline.documents import Unchanged, ValidateDocument
from sightline.errors import StorageError, TrackingError
from sightline.retrain import drift, judged
from sightline.retrain.judged import remember
from sightline.snapshots.manifest import load
from sightline.storage import Store
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


def decide(document: ValidateDocument, store: Store) -> Decision:
    """Decide whether a validated run trains, as `retrain` in its configuration wants it.

    `store` holds the published snapshot. An outage of the store, the tracking server or the registry is a reason to
    train, not an error.
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
    differences = former.differences(document)
    same = former.stands("Data, settings and code are the same.")
    if not differences:
        return Decision(same.sentence, same)
    if config.retrain.when == "changed" or differences != [judged.DATA]:
        return _trains(f"since {same.shown}, {_listed(differences)} changed")
    return _unless_drifted(document, store, config.register_, config.retrain.max_drift)


def _unless_drifted(document: ValidateDocument, store: Store, names: RegisterConfig, most: float) -> Decision:
    """Decide by how far the data lies from that of the version at the alias."""
    uri = address.tracking_uri()
    if uri is None:
        return _trains("the data has changed, and there is no version to compare it with: tracking is switched off")
    try:
        with server.client(uri, "validate") as mlflow:
            found = registry.at_alias(mlflow, names.model_name, names.alias)
    except TrackingError as error:
        return _trains(f"the data has changed, and the registry cannot say what the version at the alias saw: {error}")
    if found is None:
        return _trains(f"the data has changed, and model '{names.model_name}' has no version at '{names.alias}' yet")
    number, snapshot, run_id = registry.origin(found)
    version = f"version {number} at '{names.alias}'"
    if not snapshot or not run_id:
        return _trains(f"the data has changed, and {version} does not say what it saw: Sightline did not register it")
    try:
        moved = drift.measure(store, load(store, snapshot), load(store, document.digest))
    except StorageError as error:
        return _trains(f"the data has changed, and cannot be compared with that of {version}: {error}")
    if reasons := moved.reasons(most):
        return _trains(f"the data has drifted from that of {version} ({drift.limit(most)}): {_listed(reasons)}")
    why = f"The data has changed, but {moved.within(most)}; settings and code are the same."
    unchanged = Unchanged(run_id=run_id, status="registered", version=number, why=why)
    return Decision(unchanged.sentence, unchanged)


def _trains(reason: str) -> Decision:
    return Decision(f"This run trains: {reason.removesuffix('.')}.", None)


def _listed(words: Sequence[str]) -> str:
    """Join some words; of many only the first, and the number of the rest."""
    shown = list(words) if len(words) <= NAMED else [*words[: NAMED - 1], f"{len(words) - NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
