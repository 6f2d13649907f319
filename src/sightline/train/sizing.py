"""How many images pass at a time, and how many loaders work: chosen where training runs, by what is there.

The optimizer sees the batch of the configuration whatever is chosen here, so a training is the same on every card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from sightline.atomic import write_text
from sightline.config import TrainConfig
from sightline.config.sizing import TIERS, Tier, tier_of
from sightline.documents import Attempt, AttemptSettings
from sightline.documents.sizing import Card, Sizing
from sightline.errors import ConfigError, DeviceError
from sightline.runtime import devices, machine, progress
from sightline.runtime.machine import size_text
from sightline.runtime.shared_memory import TRAIN_AHEAD, VAL_AHEAD
from sightline.train import needs, passes, probe
from sightline.train.decisions import Step, first, with_pass

if TYPE_CHECKING:
    from sightline.train.supervisor import Training

FILE = "sizing.json"  # in the work folder: what was chosen on this machine
LOADER_ENDINGS = ("host_memory", "shared_memory")


class Loaders(NamedTuple):
    """Loader processes of each training process, and what set their number."""

    number: int
    by: str


class Choice(NamedTuple):
    """Images of a pass over all processes, and what set their number."""

    batch: int
    reason: str
    found: probe.Found | None = None


def loaders(config: TrainConfig, size: str | None = None) -> Loaders:
    """Return the loaders that this machine takes; `size` is the model's, n to x, None if unknown.

    What a person gave is only limited by the cores. Otherwise the CPU quota, /dev/shm and memory limit the number of
    the preset or the tier.
    """
    return limited(config, size or "n", machine.cores(), machine.memory(), machine.shared_memory())


def limited(
    config: TrainConfig, size: str, cores: int, memory: machine.Memory, shared: tuple[int, int] | None
) -> Loaders:
    """Return the loaders for so many cores, and so much memory; `shared` is the size and the free part of /dev/shm."""
    processes = config.node_processes
    share = max(1, cores // processes)
    limits = [(config.workers, "train.workers"), (share, f"{_count(cores, 'core')} for {_processes(processes)}")]
    if config.sizing == "auto" and "workers" not in config.given:
        limits[0] = (config.workers, "the most that the preset or its tier takes")
        batch = needs.batch(config)
        if shared:
            fit = shared[1] // (processes * (TRAIN_AHEAD + VAL_AHEAD) * batch)
            limits.append((fit, f"{size_text(shared[1])} free in /dev/shm"))
        without = config.model_copy(update={"workers": 0})
        passing = passes.held(without, size, cores, memory.room) if passes.by_memory(config) else None
        room = memory.room - needs.memory(without, size, cores, passing)
        fit = max(0, room // (processes * (needs.LOADER + TRAIN_AHEAD * batch)))
        limits.append((fit, f"{size_text(memory.room)} of memory free"))
    return Loaders(*min(limits, key=lambda limit: limit[0]))


def planned(config: TrainConfig, found: Loaders) -> TrainConfig:
    """Return the configuration with the loaders that will be started, for what has to know what a training needs."""
    if config.sizing == "off" or "workers" in config.given:
        return config
    return config.model_copy(update={"workers": found.number})


def settle(training: Training, step: Step, attempts: Sequence[Attempt]) -> tuple[Step, Sizing | None]:
    """Return the first step of a supervisor with pass and loaders that this machine holds, and what chose them.

    `attempts` are those that came before. Whoever goes on with a training on the same card takes what was chosen there.
    Raises ConfigError for a batch that a person gave and the card does not hold, DeviceError where it does not hold one
    image, and what `probe.run` does.
    """
    config, work = training.config, training.work.folder
    if config.sizing == "off":
        return step, None
    settings = _with_loaders(step.settings, training.loaders, attempts)
    used = devices.visible()[: config.gpus]
    whole, tightest = devices.smallest(len(used)), devices.smallest(len(used), free=True)
    tier: Tier | None = tier_of(whole[1]) if whole else None if used else "cpu"
    measured = tightest[0] if tightest else used[0] if used else None
    card = Card(name=measured.name, memory_bytes=devices.memory([measured])[0]) if measured else None
    if attempts and (known := _known(work / FILE)) and known.card == card and (known.probed or not card):
        return replace(step, settings=settings), known
    ceiling = settings.batch if any(attempt.ending == "cuda_memory" for attempt in attempts) else None
    if measured is None:
        choice = _by_memory(training, settings)
    else:
        sizes = passes.candidates(config, training.images, ceiling)
        choice = _measured(training, settings, measured, tier or "low", sizes, attempts)
    sizing = _document(training, tier, card, choice, settings)
    work.mkdir(parents=True, exist_ok=True)
    write_text(work / FILE, sizing.model_dump_json())
    progress.notice(f"sizes: {sizing.sentence}.")
    if choice.batch != settings.batch:
        settings = with_pass(config, settings, choice.batch)
    return replace(step, settings=settings), sizing


def _by_memory(training: Training, settings: AttemptSettings) -> Choice:
    """Choose on CPUs, where nothing is measured."""
    config = training.config
    if not passes.by_memory(config):
        return Choice(settings.batch, "as train.batch asks for; on CPUs nothing is measured")
    cores, room = machine.cores(), machine.memory().room
    sizes = passes.candidates(config, training.images, settings.batch)
    planned_ = planned(config, training.loaders)
    batch = passes.held(planned_, training.size, cores, room, sizes)
    need = size_text(needs.memory(planned_, training.size, cores, batch))
    return Choice(
        batch, f"the largest that fits: {need} or more of {size_text(room)} free; on CPUs nothing is measured"
    )


def _measured(
    training: Training,
    settings: AttemptSettings,
    card: devices.Card,
    tier: Tier,
    sizes: list[int],
    attempts: Sequence[Attempt],
) -> Choice:
    """Probe the card, and take the largest pass that fits."""
    config, ranks = training.config, training.config.world_size
    given = "batch" in config.given
    strict = given and not attempts  # what a person gave is refused rather than divided, before there is an epoch
    progress.notice(f"measuring on {card.name} how many images pass at a time.")
    found = probe.run(training, settings, [size // ranks for size in sizes], card=card.uuid, to_the_end=strict)
    if isinstance(found, str):
        guess = sizes[-1] if given else max([size for size in sizes if size <= TIERS[tier].batch * ranks] or sizes[:1])
        return Choice(guess, f"not measured, as the tier's table has it: {found.rstrip('.')}")
    return choose(config, card.name, found, sizes, strict=strict)


def choose(config: TrainConfig, card: str, found: probe.Found, sizes: Sequence[int], *, strict: bool) -> Choice:
    """Return the largest pass of `sizes`, over all processes, that a probe has found to fit.

    With `strict` the largest of them was asked for: it has to pass, if only with more than its share of the memory.
    Raises ConfigError where it does not, and DeviceError where not even one image does.
    """
    ranks = config.world_size
    passed = [one.images * ranks for one in found.probed if one.memory_bytes is not None]
    fitting = [one.images * ranks for one in found.probed if one.fits]
    allowed = f"{size_text(found.allowed_bytes)}, 85 % of {size_text(found.free_bytes)} free on {card}"
    if not passed and (strict or config.recover != "all"):
        raise DeviceError(
            f"{card} has {size_text(found.free_bytes)} free, which do not hold a single image of {found.side} pixels "
            "in training. Lower train.image_size, take a smaller model (weights.source), or end what else uses it."
        )
    best = max(fitting or passed or [ranks])
    held = next((one.memory_bytes for one in found.probed if one.images * ranks == best), None)
    if strict and sizes[-1] not in passed:
        raise ConfigError(
            f"train.batch: got {config.batch}, and {card} with {size_text(found.free_bytes)} free does not hold a pass "
            f"of {sizes[-1]} images of {found.side} pixels{_shared(ranks)}; {best} fit. Set train.batch to {best}, or "
            f"leave it out: then {best} or fewer pass at a time, and the optimizer sees "
            f"train.nominal_batch ({config.nominal_batch}) whatever that is."
        )
    if strict:
        asked = (
            "as train.batch asks for" if sizes[-1] == config.batch else "as train.batch and the images of train allow"
        )
        return Choice(sizes[-1], f"{asked}; measured on {card}", found)
    if not fitting:
        return Choice(best, f"the least; it holds more than the {allowed}", found)
    return Choice(best, f"the largest that fits: {size_text(held or 0)} of {allowed}", found)


def _document(
    training: Training, tier: Tier | None, card: Card | None, choice: Choice, settings: AttemptSettings
) -> Sizing:
    config, found = training.config, choice.found
    return Sizing(
        tier=tier,
        card=card,
        free_bytes=found and found.free_bytes,
        allowed_bytes=found and found.allowed_bytes,
        boxes=found and found.boxes,
        side=found and found.side,
        probed=found.probed if found else [],
        batch=choice.batch,
        effective_batch=config.batch * first(config).accumulation,
        workers=settings.workers,
        workers_by=training.loaders.by if training.loaders.number == settings.workers else "an earlier attempt",
        reason=choice.reason,
    )


def _with_loaders(settings: AttemptSettings, loaders: Loaders, attempts: Sequence[Attempt]) -> AttemptSettings:
    """Take the loaders that this machine holds; after an end by too many of them no more than then."""
    failed = any(attempt.ending in LOADER_ENDINGS for attempt in attempts)
    count = min(settings.workers, loaders.number) if failed else loaders.number
    return settings.model_copy(update={"workers": count})


def _known(path: Path) -> Sizing | None:
    """Return what was chosen on this machine before; None if nothing, or by another version."""
    try:
        return Sizing.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _processes(number: int) -> str:
    return f"{number} process{'es' * (number != 1)}"


def _shared(ranks: int) -> str:
    return f" over {ranks} processes" if ranks > 1 else ""
