"""What a user can do where training lacks something, in the names of the settings and with their values."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings

MORE_SHARED = "Give the container more (docker: --shm-size; Kubernetes: a Memory volume at /dev/shm)"


def memory(config: TrainConfig, settings: AttemptSettings) -> str:
    """Say what to do where the machine's memory is too small."""
    cache = [f"train.cache ({settings.cache})"] if settings.cache == "ram" else []
    names = [*_sizes(config, settings), *cache, *_loaders(config, settings), *_ranks(config)]
    return f"Lower {_joined_by_or(names)}, or give it more memory."


def gpu(config: TrainConfig, settings: AttemptSettings) -> str:
    """Say what to do where a GPU's memory is too small."""
    lower = _joined_by_or(_sizes(config, settings))
    return f"The GPU's memory is too small for this. Lower {lower}, or take a smaller model."


def shared(config: TrainConfig, settings: AttemptSettings) -> str:
    """Say what to do where /dev/shm is too small."""
    names = _joined_by_or([*_sizes(config, settings), *_loaders(config, settings), *_ranks(config)])
    return f"{MORE_SHARED}, or lower {names}; with train.workers 0 none is needed."


def threads(config: TrainConfig, settings: AttemptSettings) -> str:
    """Say what to do where no more processes or threads are allowed."""
    names = _joined_by_or([*_loaders(config, settings), *_ranks(config)]) or "what else runs"
    limit = "The limit of processes and threads (`ulimit -u`, or the container's) is reached."
    return f"{limit} Lower {names}, or raise the limit."


def files(config: TrainConfig, settings: AttemptSettings) -> str:
    """Say what to do where no more files may be opened."""
    lower = _joined_by_or(_loaders(config, settings))
    return "The limit of open files (`ulimit -n`) is reached. Raise it" + (f", or lower {lower}." if lower else ".")


def processes(count: int) -> str:
    """Return `1 process` or `3 processes`."""
    return f"{count} process{'es' * (count != 1)}"


def _sizes(config: TrainConfig, settings: AttemptSettings) -> list[str]:
    """Name batch and image size; where an attempt took less than was asked for, both numbers."""
    batch = _with(config.batch, settings.batch, f"{settings.batch} of them at a time")
    side = _with(config.image_size, settings.image_size, f"{settings.image_size} in this attempt")
    return [f"train.batch ({batch})", f"train.image_size ({side})"]


def _loaders(config: TrainConfig, settings: AttemptSettings) -> list[str]:
    workers = _with(config.workers, settings.workers, f"{settings.workers} in this attempt")
    return [f"train.workers ({workers})"] if settings.workers else []


def _ranks(config: TrainConfig) -> list[str]:
    return [f"train.cpu_processes ({config.cpu_processes})"] if config.world_size > 1 and not config.gpus else []


def _with(asked: int, used: int, words: str) -> str:
    return str(asked) if asked == used else f"{asked}, {words}"


def _joined_by_or(names: Sequence[str]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)
