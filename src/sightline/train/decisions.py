"""The table of decisions: what follows from the way in which an attempt at training ended.

    ending              what follows
    finished            the training is done
    configuration, data, code, disk_full      stop: another attempt would end in the same way
    cuda_memory         half the images per pass, down to 1; the optimizer sees the same batch
    host_memory         half the loaders, down to 0; then no image cache; on CPUs then half the images per pass
    shared_memory       half the loaders, down to 0
    not_finite          back to the last finite checkpoint with half the learning rate, at most three times
    loader_died, hang, preempted, lost_peer, killed, crashed, unknown
                        resume from the newest good checkpoint after a pause that doubles

Who resumes `FRUITLESS` times in a row without a new epoch stops; a ladder ends with its last rung.
With `train.recover` off, every end but `finished` stops the training; with all, a smaller image is the last step of the
memory ladders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.config import TrainConfig
from sightline.documents import Attempt, AttemptSettings, Ending
from sightline.runtime import machine

FRUITLESS = 5  # attempts in a row that keep no new epoch, after which a training has failed
LOWERED = 3  # times that the learning rate is halved
SIDE = 64  # pixels: an image's side stays a multiple of this, the stride of the deepest networks
PAUSES = (1.0, 5.0, 15.0, 60.0)  # seconds before an attempt, by how many before it kept no epoch
STOP: tuple[Ending, ...] = ("configuration", "data", "code", "disk_full")


@dataclass(frozen=True)
class Judgement:
    """How an attempt ended: the row of the table, a sentence or a few for people, and what shows it."""

    ending: Ending
    reason: str
    evidence: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()  # where it was, if on other nodes than the first


@dataclass(frozen=True)
class Step:
    """What the next attempt does differently, and how many seconds to wait before it."""

    settings: AttemptSettings
    changed: tuple[str, ...] = ()
    pause: float = 0.0


def first(config: TrainConfig) -> AttemptSettings:
    """Return what the first attempt trains with."""
    return AttemptSettings(
        batch=config.batch,
        accumulation=max(round(config.nominal_batch / config.batch), 1),  # as the engine computes it
        workers=loaders(config),
        cache=config.cache,
        image_size=config.image_size,
        lr0=config.lr0,
    )


def loaders(config: TrainConfig) -> int:
    """Return the loader processes of each training process: no more than its share of the cores."""
    return min(config.workers, max(1, machine.cores() // config.node_processes))


def with_pass(config: TrainConfig, settings: AttemptSettings, batch: int) -> AttemptSettings:
    """Return settings in which so many images pass at a time, over all processes; the optimizer sees the same."""
    passes = -(-config.batch * first(config).accumulation // batch)
    return settings.model_copy(update={"batch": batch, "accumulation": passes})


def decide(config: TrainConfig, attempts: Sequence[Attempt]) -> Step | None:
    """Return how to go on after the last of `attempts`, all of which have their settings; None to stop."""
    last = attempts[-1]
    assert last.settings
    if config.recover == "off" or last.ending in (*STOP, "finished"):
        return None
    if last.ending == "cuda_memory":
        return _smaller_pass(config, last.settings) or _smaller_image(config, last.settings)
    if last.ending == "host_memory":
        lighter = _fewer_loaders(last.settings) or _no_cache(last.settings)
        # On CPUs the network's own memory is the host's.
        network = None if config.gpus else _smaller_pass(config, last.settings)
        return lighter or network or _smaller_image(config, last.settings)
    if last.ending == "shared_memory":
        return _fewer_loaders(last.settings)
    if last.ending == "not_finite":
        return _lower_rate(config, last.settings)
    fruitless = _fruitless(attempts)
    return Step(last.settings, pause=PAUSES[min(fruitless, len(PAUSES) - 1)]) if fruitless < FRUITLESS else None


def _fruitless(attempts: Sequence[Attempt]) -> int:
    """Count the attempts at the end that began alike and kept no new epoch."""
    count = 0
    for attempt in reversed(attempts):
        if attempt.epochs > attempt.resumed_from:
            break
        count += 1
        if attempt.changed:
            break
    return count


def _smaller_pass(config: TrainConfig, settings: AttemptSettings) -> Step | None:
    """Halve the images of a pass in each process; what the optimizer sees stays, so it takes more passes."""
    images = settings.batch // config.world_size
    if images <= 1:
        return None
    smaller = with_pass(config, settings, images // 2 * config.world_size)
    passes = f"passes per step {settings.accumulation} → {smaller.accumulation}"
    return Step(smaller, (f"images per pass {settings.batch} → {smaller.batch}, {passes}",))


def _fewer_loaders(settings: AttemptSettings) -> Step | None:
    if not settings.workers:
        return None
    workers = settings.workers // 2
    return Step(
        settings.model_copy(update={"workers": workers}), (f"loaders per process {settings.workers} → {workers}",)
    )


def _no_cache(settings: AttemptSettings) -> Step | None:
    if settings.cache == "off":
        return None
    return Step(settings.model_copy(update={"cache": "off"}), (f"image cache {settings.cache} → off",))


def _smaller_image(config: TrainConfig, settings: AttemptSettings) -> Step | None:
    """Take three quarters of the image's side, but no less than half of what was asked for: another model."""
    side = settings.image_size * 3 // 4 // SIDE * SIDE
    if config.recover != "all" or side < max(config.image_size // 2, SIDE):
        return None
    return Step(settings.model_copy(update={"image_size": side}), (f"image size {settings.image_size} → {side}",))


def _lower_rate(config: TrainConfig, settings: AttemptSettings) -> Step | None:
    rate = settings.lr0 / 2
    if rate < config.lr0 / 2**LOWERED * 0.99:
        return None
    words = f"learning rate {settings.lr0:g} → {rate:g}"
    if config.optimizer == "auto":  # whose own rate is known to the engine alone
        words = f"learning rate that auto chose × {rate / config.lr0:g}"
    return Step(settings.model_copy(update={"lr0": rate}), (words,))
