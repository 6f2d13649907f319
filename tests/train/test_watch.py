"""What is seen of the processes of a training from outside: real processes, found by what torchrun gives them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.documents.signs import Heartbeat
from sightline.train.heartbeats import Patience
from sightline.train.watch import GONE, Watch, state

RANKS = "RANK=0 sh -c 'sleep 60 & wait' & RANK=1 sleep 60 & wait"  # the first with a child, as loaders are


@pytest.fixture
def top() -> Iterator[subprocess.Popen[bytes]]:
    """A process with two ranks."""
    process = subprocess.Popen(["sh", "-c", RANKS], start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def leave(folder: Path, rank: int, ago: float) -> None:
    now = time.monotonic()
    values = {"time": now - ago, "rank": rank, "pid": 1, "phase": "train", "epoch": 1, "step": 1, "slowest": 0.01}
    (folder / f"heartbeat-{rank}.json").write_text(Heartbeat(**values, images=1).model_dump_json())  # type: ignore[arg-type]


def test_ranks_and_their_loaders_are_told_apart(top: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with Watch(top.pid, tmp_path) as watch:
        until(lambda: len(watch.seen) == 3)
        assert sorted((each.rank, each.loader) for each in watch.seen.values()) == [(0, False), (0, True), (1, False)]
        assert all(each.peak > 0 for each in watch.seen.values())
        ranks = watch.ranks()
        assert list(ranks) == [0, 1]
        os.kill(ranks[1], signal.SIGSTOP)
        until(lambda: state(ranks[1]) == "T")
        os.kill(ranks[1], signal.SIGKILL)
        until(lambda: state(ranks[1]) in GONE)
        assert watch.ranks() == {0: ranks[0]}
        assert watch.kills in (0, None)


def test_ranks_without_progress_hang_and_one_with_progress_is_enough(
    top: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    leave(tmp_path, 0, ago=100)
    leave(tmp_path, 1, ago=100)
    with Watch(top.pid, tmp_path, Patience(least=1.5)) as watch:
        until(lambda: watch.beats)
        assert not watch.hangs, "what was before the ranks were seen does not count"
        until(lambda: watch.hangs)
        leave(tmp_path, 1, ago=0)
        until(lambda: not watch.hangs)
        assert watch.pulse().newest == watch.beats[1]


def test_without_ranks_there_is_nothing_that_hangs(tmp_path: Path) -> None:
    """Torchrun waits for another node, for as long as it allows itself."""
    leave(tmp_path, 0, ago=1000)
    with Watch(os.getpid(), tmp_path, Patience(least=0.1, factor=1)) as watch:
        until(lambda: watch.beats)
        time.sleep(0.7)
        assert not watch.hangs


def test_a_pause_of_everything_is_no_hang(top: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """As `docker pause` does: the watcher stood still as long as what it watches."""
    leave(tmp_path, 0, ago=0)
    with Watch(top.pid, tmp_path, Patience(least=5.0)) as watch:
        until(lambda: watch.idle)
        looked = watch._looked
        watch._looked = looked - 60  # what it would find after a pause of a minute
        leave(tmp_path, 0, ago=60)
        until(lambda: watch._looked > looked)
        assert not watch.hangs
