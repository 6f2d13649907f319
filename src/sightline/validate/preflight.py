"""Checks configuration, weights, store and tracking server before the data is scanned.

It reports all problems at once, so that a wrong setting never costs a training.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline import weights
from sightline.config import RunConfig, Tier, presets, sizing
from sightline.config.assignments import applicable
from sightline.datasets import pictures
from sightline.datasets.sources import look
from sightline.documents import Weights
from sightline.errors import ConfigError, SightlineError, StorageError, StorageUsageError
from sightline.runtime import hook, provenance
from sightline.runtime.shared_memory import shm_ceiling, too_much_shared_memory
from sightline.storage import FileStore, Store, default_store, open_store, work_root
from sightline.storage.files import unwritable
from sightline.tracking import address, check


def resolve(
    preset: str,
    values: Mapping[str, Any],
    *,
    source: str | None,
    store: str | None = None,
    wrong: Sequence[str] = (),
    tier: Tier | None = None,
) -> RunConfig:
    """Like `presets.resolve`, but its error also lists problems with weights, data, store and tracking server.

    `store` is by default SIGHTLINE_STORE, here and below; a `tier` chooses sizes that are left open; `wrong` are
    mistakes that were found before, in what the values were read from. Raises ConfigError.
    """
    message = "The parameters of the pipeline are wrong:"
    try:
        config = presets.resolve(preset, values, tier)
        if not wrong:
            return config
    except ConfigError as error:
        message = error.message
    with asking(_readable(preset, values, tier)) as tracking:
        more = mistakes(preset, values, source=source, store=store, tier=tier)
        raise ConfigError(message, [*wrong, *more, *tracking.problems()])


def mistakes(
    preset: str, values: Mapping[str, Any], *, source: str | None, store: str | None, tier: Tier | None = None
) -> list[str]:
    """Return all problems with configuration, weights, data and store; nothing is stored or downloaded."""
    wrong: tuple[str, ...] = ()
    try:
        presets.resolve(preset, values, tier)
    except ConfigError as error:
        wrong = error.problems
    with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
        errors, _, _ = _check(_readable(preset, values, tier), source, store, Path(folder))
    return [*wrong, *(str(error) for error in errors)]


def _readable(preset: str, values: Mapping[str, Any], tier: Tier | None) -> RunConfig:
    """Return the readable part of a configuration that may be wrong; the rest has defaults."""
    base = sizing.by_tier(presets.PRESETS.get(preset, presets.balanced)(), values, tier)
    return applicable(base, {**values, "weights.download": False})


def prepare(
    config: RunConfig, tracking: check.Check, *, source: str, store: str | None
) -> tuple[Store, Weights, int | None]:
    """Open the store and pin the weights in it; the last that is returned is their stride, where it is known.

    Raises a single problem with data, weights or store as its own error; several, also with the tracking server, as
    ConfigError (StorageError if all of them are outages).
    """
    with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
        errors, target, found = _check(config, source, store, Path(folder))
        if errors or target is None or found is None:
            refuse(errors, tracking.problems())
            raise AssertionError  # one of them was raised
        refuse([], tracking.known and tracking.problems())
        return target, weights.pin(found, target), found.stride


def asking(config: RunConfig) -> contextlib.AbstractContextManager[check.Check]:
    """Check the tracking server of the run in the background while the block runs."""
    return check.asking(address.tracking_uri(), config.register_)


def refuse(errors: Sequence[SightlineError], tracking: Sequence[str]) -> None:
    """Raise the problems, if there are any: a single one as its own error, several as one error."""
    if len(errors) == 1 and not tracking:
        raise errors[0]
    if len(tracking) == 1 and not errors:
        raise ConfigError(tracking[0])
    if errors or tracking:
        outage = errors and not tracking and all(error.exit_code == 1 for error in errors)
        kind = StorageError if outage else ConfigError
        raise kind("The run cannot start:", [*(str(error) for error in errors), *tracking])


def _check(
    config: RunConfig, source: str | None, store: str | None, folder: Path
) -> tuple[list[SightlineError], Store | None, weights.FoundWeights | None]:
    errors: list[SightlineError] = []

    @contextlib.contextmanager
    def collecting() -> Iterator[None]:
        try:
            yield
        except SightlineError as error:
            errors.append(error)

    target, found = None, None
    with collecting():
        target = open_store(store or default_store())
        _check_writable(target)
    with collecting():
        # Of this machine, where the stages of a run follow; a pod that validates does not train.
        if "SIGHTLINE_RUNS" in os.environ:
            work_root.check(work_root.work_root())
    with collecting():
        if config.train.hook and trains_here():
            hook.check(config.train.hook)
    with collecting():
        if source is not None:
            look(source)
    with collecting():
        if config.sample.pictures is not None:
            pictures.check(config.sample.pictures, config.sample.max_pictures)
    with collecting():
        if problem := too_much_shared_memory(config.train, shm_ceiling()):
            raise ConfigError(problem)
    with collecting():
        found = weights.find(config.weights, target, folder)
        errors += [ConfigError(problem) for problem in found.unsupported_settings(config)]
    return errors, target, found


def trains_here() -> bool:
    """Say whether training will see the modules that this process sees; a container of train has its own."""
    return "SIGHTLINE_RUNS" in os.environ and not provenance.container_image()


def train_code(config: RunConfig) -> str:
    """Return the digest of what trains; with a hook, where that is here, so that caches know when it changed.

    Raises ConfigError for a hook that is not there.
    """
    code, named = provenance.code_digest("train"), config.train.hook
    return (
        hashlib.sha256(f"{code} {hook.source_digest(named)}".encode()).hexdigest() if named and trains_here() else code
    )


def _check_writable(store: Store) -> None:
    """Raise StorageUsageError for a folder that cannot be written; a bucket fails at the first upload."""
    if isinstance(store, FileStore) and (blocked := unwritable(store.root)):
        raise StorageUsageError(
            f"The store {store.uri} cannot be written: {blocked} is not a writable folder. Choose another store with "
            "SIGHTLINE_STORE."
        )
