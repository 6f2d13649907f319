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

Attempts that keep no new epoch count: after `FRUITLESS` of them in a row the training has failed, however they ended.
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
PAUSES = (1.0, 5.0, 15.0, 60.0)  # seconds before an attempt, by how many before it kept no epoch
STOP: tuple[Ending, ...] = ("configuration", "data", "code", "disk_full")


@dataclass(frozen=True)
class Judgement:
    """How an attempt ended: the row of the table, a sentence or a few for people, and what shows it."""

    ending: Ending
    reason: str
    evidence: tuple[str, ...] = ()


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


def decide(config: TrainConfig, attempts: Sequence[Attempt]) -> Step | None:
    """Return how to go on after the last of `attempts`, in which `settings` are set; None to stop."""
    last = attempts[-1]
    assert last.settings
    if config.recover == "off" or last.ending in (*STOP, "finished") or _fruitless(attempts) >= FRUITLESS:
        return None
    changes = {"cuda_memory": _cuda, "host_memory": _host, "shared_memory": _shared, "not_finite": _rate}
    if change := changes.get(last.ending):
        return change(config, attempts)
    return Step(last.settings, pause=PAUSES[min(_fruitless(attempts), len(PAUSES)) - 1] if _fruitless(attempts) else PAUSES[0])


def _fruitless(attempts: Sequence[Attempt]) -> int:
    """Count the attempts at the end that kept no new epoch and changed nothing."""
    count = 0
    for attempt in reversed(attempts):
        if attempt.epochs > attempt.resumed_from or attempt.changed:
            break
        count += 1
    return count
