"""What bound a training, by where its time went, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sightline.config import TrainConfig
from sightline.documents import Attempt, AttemptSettings, Bound, Epoch, Phase, Seconds, Split, Time
from sightline.documents.train_time import PHASES


class Limit(NamedTuple):
    """From which share on a part of the time binds a training."""

    share: float
    phases: tuple[Phase, ...]
    of: tuple[Phase, ...]  # what it is a share of; empty: of everything
    words: str


STEPS: tuple[Phase, ...] = ("data", "transfer", "compute")
# Below them compute binds: what else takes time is what training costs, and tuning it gains little.
LIMITS: dict[Bound, Limit] = {
    # With loaders that keep up it is a few percent. At a fifth, steps would be a quarter faster without it.
    "data": Limit(
        0.20, ("data", "transfer"), STEPS, "waiting for images and moving them took {} of the training steps"
    ),
    # Scoring is a forward pass and a search for overlapping boxes, about half of a step: a val split of a quarter of
    # the images comes to an eighth.
    "validation": Limit(0.30, ("validation",), (), "validation took {} of the epochs"),
    # One write an epoch. It stays below a hundredth where epochs take minutes.
    "checkpoint": Limit(0.10, ("checkpoint",), (), "writing checkpoints took {} of the epochs"),
    # Checks, tables and progress take a percent; more is somebody's callback.
    "other": Limit(0.20, ("other",), (), "what is neither training nor validation took {} of the epochs"),
}


class Circumstances(NamedTuple):
    """What advice depends on, besides where the time went."""

    config: TrainConfig
    settings: AttemptSettings  # of the last attempt
    cores: int  # of the machine, or of the container's quota
    images: Mapping[Split, int]  # of train and val

    @property
    def loaders(self) -> int:
        """Loader processes that each training process could have here."""
        return max(1, self.cores // self.config.node_processes)


def time(history: Sequence[Epoch], attempts: Sequence[Attempt], case: Circumstances) -> Time:
    """Return where the time of a training went over all attempts, and what bound it."""
    spent = total(epoch.spent for epoch in history)
    firsts = {attempt.resumed_from + 1 for attempt in attempts}
    judged = [epoch for epoch in history if epoch.epoch not in firsts] or list(history)
    shown = total(epoch.spent for epoch in judged)
    bound, reason = judge(shown)
    seconds, lost = sum(each.seconds for each in attempts), sum(each.seconds_lost for each in attempts)
    energy = [attempt.energy_joules for attempt in attempts]
    known = [joules for joules in energy if joules is not None]
    return Time(
        spent=spent,
        outside_seconds=round(max(0.0, seconds - lost - spent.total), 3),
        lost_seconds=round(lost, 3),
        judged_epochs=len(judged),
        shares={name: round(share(shown, (name,)), 4) for name in PHASES},
        bound=bound,
        reason=reason,
        advice=ADVICE[bound](shown, case),
        attempts_gpu_seconds=round(case.config.world_size * seconds, 3) if case.config.gpus else None,
        energy_joules=round(sum(known), 3) if len(known) == len(energy) else None,
    )


def total(parts: Iterable[Seconds]) -> Seconds:
    """Add up where the time of many epochs went."""
    every = list(parts)
    return Seconds(**{name: round(sum(getattr(each, name) for each in every), 3) for name in PHASES})


def share(spent: Seconds, phases: Sequence[Phase], of: Sequence[Phase] = ()) -> float:
    """Return the share of phases in others, or in everything; 0 of nothing."""
    whole = sum(getattr(spent, name) for name in of or PHASES)
    return sum(getattr(spent, name) for name in phases) / whole if whole else 0.0


def judge(spent: Seconds) -> tuple[Bound, str]:
    """Return what bound epochs, and why: of what passes its limit, that which took longest, else compute."""
    over = [bound for bound, limit in LIMITS.items() if share(spent, limit.phases, limit.of) > limit.share]
    if not over:
        return (
            "compute",
            f"computing took {share(spent, ('compute',)):.0%} of the epochs, and nothing else is over its limit",
        )
    bound = max(over, key=lambda name: share(spent, LIMITS[name].phases))
    limit = LIMITS[bound]
    found = share(spent, limit.phases, limit.of)
    return bound, f"{limit.words.format(f'{found:.0%}')}, and {limit.share:.0%} is the limit"


def _data(spent: Seconds, case: Circumstances) -> str:
    """Say how images come faster, by means that this training has not used up."""
    if spent.transfer > spent.data:
        return "Lower train.image_size, or move to a machine whose GPU has a faster connection: copying images binds."
    config, settings, ways = case.config, case.settings, []
    asked = min(config.workers, case.loaders)
    if settings.workers < asked:
        ways.append(f"give it more memory, for want of which {settings.workers} loaders are left of {asked}")
    elif settings.workers < case.loaders:
        cores = f"{case.cores} cores" + (f" for {config.node_processes} processes" * (config.node_processes > 1))
        ways.append(f"raise train.workers from {settings.workers} to {case.loaders}, which {cores} allow")
    if settings.cache == "off" and config.cache == "off":
        ways.append("keep decoded images with train.cache=ram, or disk where memory is short")
    elif settings.cache == "off":
        ways.append(f"give it memory for train.cache={config.cache}, for which there was no room")
    if not ways:
        augmented = " or less augmentation" * bool(
            config.augment.mosaic or config.augment.mixup or config.augment.cutmix
        )
        ways.append(f"train where there are more cores than {case.cores}, or with smaller image files{augmented}")
    said = ", and ".join(ways)
    return f"{said[0].upper()}{said[1:]}."


def _compute(spent: Seconds, case: Circumstances) -> str:
    """Say how to compute less, or faster."""
    less = "a smaller network or a smaller train.image_size"
    if not case.config.gpus:
        return f"Train on a GPU (train.gpus), or take {less}."
    if case.config.amp == "off":
        return f"Compute in fewer bits (train.amp=auto), or take a faster card or more of them (train.gpus), {less}."
    return f"Take a faster card or more of them (train.gpus), {less}."


def _validation(spent: Seconds, case: Circumstances) -> str:
    """Say how to score less, or faster."""
    val, train = case.images["val"], case.images["train"]
    fewer = f"Move images from val to train: {val:,} are scored after each epoch over {train:,}"
    if case.settings.workers < case.loaders:
        return (
            f"{fewer}; or raise train.workers from {case.settings.workers} to {case.loaders}, if loading them is slow."
        )
    return f"{fewer}."


def _checkpoint(spent: Seconds, case: Circumstances) -> str:
    """Say where checkpoints are written faster."""
    return "Set SIGHTLINE_WORK to a folder on a faster disk: the whole state is written there after each epoch."


def _other(spent: Seconds, case: Circumstances) -> str:
    """Say whose time that is."""
    if case.config.hook:
        return f"Look at the callbacks of train.hook ({case.config.hook}): they run in every training process."
    return "Look for what else uses this machine: Sightline itself takes a percent or two here."


ADVICE: dict[Bound, Callable[[Seconds, Circumstances], str]] = {
    "data": _data,
    "compute": _compute,
    "validation": _validation,
    "checkpoint": _checkpoint,
    "other": _other,
}
