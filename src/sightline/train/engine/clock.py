"""Where the time of an epoch goes, measured on each of its steps.

The loop says what begins (`enter`); until it says so again, time goes there. On CPUs that is the host's clock. On a GPU
the host only queues work and runs ahead, so its clock would say little. There each border is an event in the device's
own queue: the device notes when it passes it, and the note is read when it has. Nothing waits for the device for that.

What this means on a GPU:

- Waiting for data is the time that the device had nothing to do, from the end of a step on, while the host waited for
  the next batch. A border that the host sets while the device still works lies at the end of that work, so loaders that
  are slower than the host, but not than the device, cost nothing, and show as nothing.
- Compute has the gaps in which the host did not queue kernels fast enough, as with small networks: they are no lack of
  data.
- All borders lie in one queue, and the host waits for the device before and after validation anyway; so validation and
  checkpoints, whose work is the host's too, have their whole time.

With several processes each measures. The numbers are those of the first, which also writes; but where another process
waited longer for data, the first one waited for that in its sums of gradients, so that much is moved from compute to
data. The parts still add up to the epoch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from sightline.documents.train_time import PHASES, Phase, Seconds

Batch = TypeVar("Batch")


class Moment(Protocol):
    """A border between two phases, on some clock."""

    def passed(self) -> bool:
        """Tell whether its time can be read; must not wait."""

    def wait(self) -> None:
        """Wait until it can be read."""

    def since(self, earlier: Any) -> float:
        """Return the seconds from an earlier moment on the same clock; both have passed."""


class HostMoment:
    """Now, on the host's clock."""

    def __init__(self) -> None:
        self.seconds = time.perf_counter()

    def passed(self) -> bool:
        """Tell that it has passed."""
        return True

    def wait(self) -> None:
        """Do nothing."""

    def since(self, earlier: HostMoment) -> float:
        """Return the seconds from an earlier moment."""
        return self.seconds - earlier.seconds


class DeviceMoment:
    """When the work that is queued now is done, on a GPU's clock."""

    def __init__(self, device: Any) -> None:
        import torch

        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record(torch.cuda.current_stream(device))

    def passed(self) -> bool:
        """Tell whether the device has come so far."""
        return bool(self.event.query())

    def wait(self) -> None:
        """Wait until it has."""
        self.event.synchronize()

    def since(self, earlier: DeviceMoment) -> float:
        """Return the seconds from an earlier moment."""
        return float(earlier.event.elapsed_time(self.event)) / 1000


class Clock:
    """Adds up where time goes, from when it is made."""

    def __init__(self, now: Callable[[], Moment]) -> None:
        """Take what returns the present moment; time goes to `other` first."""
        self._now = now
        self._borders: deque[tuple[Phase, Moment]] = deque([("other", now())])  # the first one begins what is unread
        self._seconds: dict[Phase, float] = {}

    def enter(self, phase: Phase) -> None:
        """Give the time from here on to a phase."""
        self._borders.append((phase, self._now()))
        while len(self._borders) > 1 and self._borders[1][1].passed():
            self._read()

    def waited(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches; what it takes to get them counts as waiting for data."""
        self.enter("data")
        loading = iter(batches)
        while (batch := next(loading, None)) is not None:
            self.enter("other")
            yield batch
            self.enter("data")
        self.enter("other")

    def take(self) -> Seconds:
        """Return where the time went since the last call, or since the start; `other` begins.

        It waits for the device, so call it where that has no work.
        """
        self.enter("other")
        self._borders[-1][1].wait()
        while len(self._borders) > 1:
            self._read()
        found, self._seconds = self._seconds, {}
        return Seconds(**{name: found.get(name, 0.0) for name in PHASES})

    def _read(self) -> None:
        phase, begin = self._borders.popleft()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + self._borders[0][1].since(begin)


def of_device(device: Any) -> Clock:
    """Return the clock of a training on a torch device."""
    return Clock(lambda: DeviceMoment(device)) if device.type == "cuda" else Clock(HostMoment)


def of_group(mine: Seconds, world_size: int) -> Seconds:
    """Return the seconds of an epoch for all processes, each of which has to call it with its own."""
    from torch import distributed

    if world_size < 2:
        return rounded(mine)
    waits: list[Any] = [None] * world_size
    distributed.all_gather_object(waits, mine.data)
    return rounded(with_longest_wait(mine, max(waits)))


def with_longest_wait(first: Seconds, longest: float) -> Seconds:
    """Return the first process's seconds, with the time that a process waited longest for data out of its compute."""
    moved = min(max(longest - first.data, 0.0), first.compute)
    return first.model_copy(update={"data": first.data + moved, "compute": first.compute - moved})


def rounded(seconds: Seconds) -> Seconds:
    """Return them in milliseconds, as they are kept."""
    return seconds.model_copy(update={name: round(value, 3) for name, value in seconds})
