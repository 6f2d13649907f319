"""What Kubeflow Pipelines fixes when a pipeline is compiled, and one may want otherwise: `make compile SHM=8Gi …`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kfp import dsl

from sightline.config.cluster_values import DOMAIN, NAME, amount, seconds
from sightline.config.presets import PRESETS
from sightline.runtime.shared_memory import shm_bytes

MIB = 1 << 20
HOUR, DAY = 3600, 86400  # seconds
LONGEST = 2**31 - 1  # seconds, in KFP's own terms
MOST_RETRIES = 10  # the pauses between them double, to 85 minutes in all


def presets_shm() -> int:
    """Return the shared memory that every preset can train with on GPUs, in bytes."""
    trainings = [preset().train for preset in PRESETS.values()]
    return max(shm_bytes(train.workers, train.batch, train.image_size) for train in trainings)


@dataclass(frozen=True)
class Options:
    """The options of `make compile`. Without any, the compiled pipeline is the committed one."""

    shm: int = presets_shm()  # bytes of /dev/shm that training may fill; validate refuses what needs more
    cache_claim: str | None = None  # a claim that all nodes can write, for the cache of all runs
    owner: str | None = None  # a label of every pod
    queue: str | None = None  # of Kueue, in which training waits for its GPUs
    pull_secret: str | None = None  # with which images are fetched
    train_timeout: int = 3 * DAY  # seconds of an attempt
    train_retries: int = 3  # attempts at training after the first, each in a new pod
    ttl: int = DAY  # seconds for which a cluster keeps the pods of a run after its end
    deadline: int | None = None  # seconds after which a run is ended, whatever it waits for

    @property
    def shm_text(self) -> str:
        """Return the shared memory in units of Kubernetes."""
        return f"{-(-self.shm // MIB)}Mi"

    def pipeline_config(self) -> dsl.PipelineConfig:
        """Return what concerns a run as a whole."""
        return dsl.PipelineConfig(ttl_seconds_after_finished=self.ttl, active_deadline_seconds=self.deadline)


def size(text: str) -> int:
    """Read an amount of memory such as 8Gi, in bytes. Raises ValueError."""
    found = amount(text)
    if found is None or text[-1:] == "m" or found < MIB:
        raise ValueError(f"got '{text}', expected an amount of memory such as 8Gi")
    return int(found)


def duration(text: str) -> int:
    """Read a time such as 90m, 12h or 3d, in seconds. Raises ValueError."""
    found = seconds(text) or 0
    if not 0 < found <= LONGEST:
        raise ValueError(f"got '{text}', expected a time such as 90m, 12h or 3d")
    return found


def retries(text: str) -> int:
    """Read a number of further attempts. Raises ValueError."""
    if not re.fullmatch(r"\d{1,2}", text) or int(text) > MOST_RETRIES:
        raise ValueError(f"got '{text}', expected a number from 0 to {MOST_RETRIES}")
    return int(text)


def label(text: str) -> str:
    """Check a label's value. Raises ValueError."""
    if not NAME.fullmatch(text):
        raise ValueError(f"got '{text}', expected up to 63 letters, digits, hyphens, dots and underscores")
    return text


def object_name(text: str) -> str:
    """Check the name of an object in the cluster. Raises ValueError."""
    if not DOMAIN.fullmatch(text):
        raise ValueError(f"got '{text}', expected the name of an object: lower-case letters, digits, hyphens and dots")
    return text
