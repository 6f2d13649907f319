"""The heartbeats of a training's processes, and when their silence is a hang."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sightline.documents.signs import Heartbeat
from sightline.errors import ConfigError
from sightline.train.engine.beat import FILE

VARIABLE = "SIGHTLINE_TRAIN_SILENCE"  # seconds without progress that are a hang once there was a step


@dataclass(frozen=True)
class Patience:
    """Seconds that a training may take from one sign of progress to the next."""

    least: float = 120.0
    factor: float = 20.0  # times the slowest step
    first: float = 600.0  # until the first step has been made: models are built, images scanned, kernels chosen
    given: float | None = None  # instead of the first two; where it is more, of the third as well

    def allowed(self, beats: Sequence[Heartbeat]) -> float:
        """Return the seconds without progress after which this is a hang."""
        slowest = max((beat.slowest for beat in beats), default=0.0)
        training = any(beat.slowest and beat.phase != "setup" for beat in beats)
        if self.given is not None:
            return self.given if training else max(self.first, self.given)
        return max(self.least if training else self.first, self.factor * slowest)


def patience() -> Patience:
    """Return what the environment says. Raises ConfigError where that is no number of seconds."""
    text = os.environ.get(VARIABLE)
    if not text:
        return Patience()
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return Patience(given=seconds)
    raise ConfigError(
        f"{VARIABLE}: got '{text}', expected the seconds without progress after which a training hangs, such as 600."
    )


def idle(beats: Sequence[Heartbeat], since: float, now: float) -> float:
    """Return the seconds since any process made progress, or since the processes were started or woken up.

    One process is enough: rank 0 validates alone while the others wait. All times are monotonic.
    """
    return max(0.0, now - max([since, *(beat.time for beat in beats)]))


def read(folder: Path) -> list[Heartbeat]:
    """Return the heartbeats in a folder in order of rank."""
    beats = []
    for path in folder.glob(FILE.format(rank="*")):
        with contextlib.suppress(OSError, ValidationError):  # not there yet, or not ours
            beats.append(Heartbeat.model_validate_json(path.read_bytes()))
    return sorted(beats, key=lambda beat: beat.rank)
