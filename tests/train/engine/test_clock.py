"""Where the time of an epoch goes, on clocks that are wound by hand: a host's, and that of a device behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sightline.documents.train_time import PHASES, Seconds
from sightline.train.engine.clock import Clock, HostMoment, with_longest_wait


class Host:
    """A host whose time is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def moment(self) -> HostMoment:
        made = HostMoment()
        made.seconds = self.now
        return made


class Queue:
    """A device as CUDA's events show it: it does what the host has queued, in order, and later than the host."""

    def __init__(self) -> None:
        self.now = 100.0  # the host's
        self.done = 100.0  # when the device has done all that is queued
        self.waits = 0

    def work(self, seconds: float) -> None:
        """Queue work."""
        self.done = max(self.done, self.now) + seconds

    def moment(self) -> Event:
        """Record an event: it passes when all before it is done, and not before it was recorded."""
        return Event(self, max(self.done, self.now))


class Event:
    def __init__(self, queue: Queue, at: float) -> None:
        self.queue, self.at = queue, at

    def passed(self) -> bool:
        return self.queue.now >= self.at

    def wait(self) -> None:
        self.queue.waits += not self.passed()
        self.queue.now = max(self.queue.now, self.at)

    def since(self, earlier: Event) -> float:
        assert self.passed()
        return self.at - earlier.at


def test_on_a_host_each_phase_has_the_time_until_the_next_begins() -> None:
    host = Host()
    clock = Clock(host.moment)

    def loader() -> Iterator[str]:
        for name in ("first", "second"):
            host.now += 0.5
            yield name

    host.now += 1.0  # other
    for _ in clock.waited(loader()):
        host.now += 0.25  # other
        for _ in range(2):  # in two passes
            clock.enter("transfer")
            host.now += 0.125
            clock.enter("compute")
            host.now += 2.0
        clock.enter("other")
        host.now += 0.25
    clock.enter("validation")
    host.now += 3.0
    taken = clock.take()
    assert taken == Seconds(data=1.0, transfer=0.5, compute=8.0, validation=3.0, checkpoint=0.0, other=2.0)
    assert taken.total == host.now - 100
    clock.enter("checkpoint")
    host.now += 0.5
    clock.enter("other")
    host.now += 0.5
    assert clock.take().model_dump(exclude_defaults=True) == {
        "data": 0, "transfer": 0, "compute": 0, "validation": 0, "checkpoint": 0.5, "other": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("load", "waited"),
    [
        (0.3, 0.3 + 0.0),  # hidden behind the second that the device computes: only the first batch is waited for
        (1.5, 1.5 + 3 * (1.5 - 1.1)),  # the device runs dry for what is left of each wait
    ],
)
def test_a_device_waits_for_data_only_where_it_has_run_dry(load: float, waited: float) -> None:
    queue = Queue()
    clock = Clock(queue.moment)

    def loader() -> Iterator[int]:
        for number in range(4):
            queue.now += load
            yield number

    for _ in clock.waited(loader()):
        clock.enter("transfer")
        queue.work(0.1)
        clock.enter("compute")
        queue.work(1.0)
        clock.enter("other")
    assert queue.waits == 0, "no step waits for the device"
    queue.now = max(queue.now, queue.done)  # as a check of the weights does
    clock.enter("validation")
    queue.now += 2.0
    taken = clock.take()
    assert taken.data == pytest.approx(waited)
    assert taken.transfer == pytest.approx(0.4)
    assert taken.compute == pytest.approx(4.0)
    assert taken.validation == pytest.approx(2.0)
    assert taken.total == pytest.approx(queue.now - 100)


def test_what_is_not_done_when_an_epoch_is_taken_is_waited_for() -> None:
    queue = Queue()
    clock = Clock(queue.moment)
    clock.enter("compute")
    queue.work(5.0)
    assert (clock.take().compute, queue.waits) == (5.0, 1)


def test_borders_are_forgotten_as_soon_as_the_device_has_passed_them() -> None:
    queue = Queue()
    clock = Clock(queue.moment)
    for _ in range(1000):
        clock.enter("compute")
        queue.work(1.0)
        queue.now += 1.0
    assert len(clock._borders) < 5


def test_a_process_that_waited_longer_for_data_made_the_first_one_wait_in_its_sum_of_gradients() -> None:
    first = Seconds(data=1.0, transfer=0.5, compute=10.0, validation=3.0, checkpoint=1.0, other=0.5)
    moved = with_longest_wait(first, 4.0)
    assert (moved.data, moved.compute, moved.total) == (4.0, 7.0, first.total)
    assert with_longest_wait(first, 0.5) == first
    assert with_longest_wait(first, 99.0).compute == 0.0


def test_a_border_costs_the_host_less_than_a_tenth_of_a_millisecond() -> None:
    code = (
        "import time\n"
        "from sightline.train.engine.clock import Clock, HostMoment\n"
        "clock, begin = Clock(HostMoment), time.perf_counter()\n"
        "for _ in range(20000):\n"
        "    clock.enter('compute')\n"
        "print((time.perf_counter() - begin) / 20000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 1e-4  # a step has six of them, and takes tens of milliseconds


ON_A_GPU = """
import json, time, torch
from sightline.train.engine.clock import of_device

device, cycles = torch.device("cuda", 0), 200_000_000
torch.cuda._sleep(cycles)
torch.cuda.synchronize()
begin = time.perf_counter()
torch.cuda._sleep(cycles)
torch.cuda.synchronize()
step = time.perf_counter() - begin


def loader(seconds):
    for number in range(5):
        time.sleep(seconds)
        yield number


found = []
for load in (0.3, 2.0):
    clock = of_device(device)
    begin = time.perf_counter()
    for _ in clock.waited(loader(load * step)):
        clock.enter("compute")
        torch.cuda._sleep(cycles)
        clock.enter("other")
    torch.cuda.synchronize()
    clock.enter("validation")
    time.sleep(step)
    taken = clock.take()
    found.append({**taken.model_dump(), "whole": time.perf_counter() - begin})
print(json.dumps([step, found]))
"""


@pytest.mark.gpu
def test_events_of_a_gpu_show_what_the_queue_by_hand_shows() -> None:
    done = subprocess.run([sys.executable, "-c", ON_A_GPU], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    step, (ahead, behind) = json.loads(done.stdout)
    for taken in (ahead, behind):
        assert taken["compute"] == pytest.approx(5 * step, rel=0.1)
        assert taken["validation"] == pytest.approx(step, rel=0.1)
        assert sum(taken[name] for name in PHASES) == pytest.approx(taken["whole"], rel=0.05)
    assert ahead["data"] == pytest.approx(0.3 * step, abs=0.15 * step)  # before the first step alone
    assert behind["data"] == pytest.approx((2.0 + 4 * 1.0) * step, rel=0.15)
