"""Everything that configuration, weights, store and tracking server can refuse, found out before the data is scanned.

So that nobody pays for a training to learn of a setting, and all that is wrong is said at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline import weights
from sightline.config import RunConfig, presets
from sightline.config.assignments import applicable
from sightline.datasets import pictures
from sightline.datasets.sources import look
from sightline.documents import Weights
from sightline.errors import ConfigError, SightlineError, StorageError, StorageUsageError
from sightline.storage import FileStore, Store, open_store, work_root
from sightline.storage.files import unwritable
from sightline.tracking import address, check


def resolve(preset: str, values: Mapping[str, Any], *, source: str | None, store: str) -> RunConfig:
    """Like `presets.resolve`; one that fails is also told what is wrong with weights, data, store and tracking server.

    Raises ConfigError.
    """
    try:
        return presets.resolve(preset, values)
    except ConfigError as error:
        with asking(_readable(preset, values)) as tracking:
            wrong = mistakes(preset, values, source=source, store=store)
            raise ConfigError(error.message, [*wrong, *tracking.problems()]) from None


def mistakes(preset: str, values: Mapping[str, Any], *, source: str | None, store: str) -> list[str]:
    """Say what is wrong with configuration, weights, data and store; nothing is stored or downloaded."""
    wrong: tuple[str, ...] = ()
    try:
        presets.resolve(preset, values)
    except ConfigError as error:
        wrong = error.problems
    with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
        errors, _, _ = _look(_readable(preset, values), source, store, Path(folder))
    return [*wrong, *(str(error) for error in errors)]


def _readable(preset: str, values: Mapping[str, Any]) -> RunConfig:
    """Return what can be read of a configuration that may be wrong."""
    return applicable(presets.PRESETS.get(preset, presets.balanced)(), {**values, "weights.download": False})


def prepare(config: RunConfig, tracking: check.Check, *, source: str, store: str) -> tuple[Store, Weights]:
    """Open the store and pin the weights in it.

    Raises what is wrong with data, weights or store: one error as it is, several, or one of the tracking server's among
    them, as ConfigError.
    """
    with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
        errors, target, found = _look(config, source, store, Path(folder))
        if errors or target is None or found is None:
            refuse(errors, tracking.problems())
            raise AssertionError  # one of them was raised
        refuse([], tracking.known and tracking.problems())
        return target, weights.pin(found, target)


def asking(config: RunConfig) -> contextlib.AbstractContextManager[check.Check]:
    """Ask the run's tracking server, while the block runs, whether it can be used."""
    return check.asking(address.tracking_uri(), config.register_)


def refuse(errors: Sequence[SightlineError], tracking: Sequence[str]) -> None:
    """Raise what was found, if anything was."""
    if len(errors) == 1 and not tracking:
        raise errors[0]
    if len(tracking) == 1 and not errors:
        raise ConfigError(tracking[0])
    if errors or tracking:
        outage = errors and not tracking and all(error.exit_code == 1 for error in errors)
        kind = StorageError if outage else ConfigError
        raise kind("The run cannot start:", [*(str(error) for error in errors), *tracking])


def _look(
    config: RunConfig, source: str | None, store: str, folder: Path
) -> tuple[list[SightlineError], Store | None, weights.FoundWeights | None]:
    errors: list[SightlineError] = []

    @contextlib.contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        except SightlineError as error:
            errors.append(error)

    target, found = None, None
    with noted():
        target = open_store(store)
        _check_writable(target)
    with noted():
        # Of this machine, where the stages of a run follow; a pod that validates does not train.
        if "SIGHTLINE_RUNS" in os.environ:
            work_root.check(work_root.work_root())
    with noted():
        if source is not None:
            look(source)
    with noted():
        if config.sample.pictures is not None:
            pictures.check(config.sample.pictures, config.sample.max_pictures)
    with noted():
        found = weights.find(config.weights, target, folder)
        errors += [ConfigError(problem) for problem in found.unfit(config)]
    return errors, target, found


def _check_writable(store: Store) -> None:
    """Raise StorageUsageError for a folder that cannot be written; a bucket says it with the first upload."""
    if isinstance(store, FileStore) and (there := unwritable(store.root)):
        raise StorageUsageError(
            f"The store {store.uri} cannot be written: {there} is no folder that can. Choose another with "
            "SIGHTLINE_STORE."
        )
