"""Worker processes of a scan: how many, and none that outlives or hangs a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sightline.errors import SightlineError
from sightline.validate import worker_pool
from tests.helpers.gate import look, rest
from tests.helpers.sets import picture


def big(root: Path, images: int = 1500) -> Path:
    """A set that is checked by several processes for a while."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    several = [picture(root / "one.jpg", n, (640, 480)).read_bytes() for n in range(8)]  # or there are no splits
    for n in range(images):
        data = several[n % len(several)]
        (root / f"images/{n:05}.jpg").write_bytes(data[:-2] + b"\xff\xfe\x00\x06" + f"{n:04x}".encode() + data[-2:])
        (root / f"labels/{n:05}.txt").write_text("0 0.5 0.45 0.5 0.5\n")
    (root / "one.jpg").unlink()
    (root / "data.yaml").write_text("train: images\nnames: [cat]\n")
    return root


def started(root: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sightline", "validate", "--data", str(root), "--report", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int, least: int = 1) -> list[int]:
    """Wait for a process to have children, and return them."""
    for _ in range(3000):
        own = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        if len(own) >= least:
            return own
        time.sleep(0.01)
    raise AssertionError("started no processes")


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def two_cores() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores: with one, nothing runs in other processes")


def test_many_cores_in_little_memory_get_few_processes():
    """A container with a limit of memory and none of cores, on a large machine."""
    assert worker_pool.pool_size(cores=96, room=4 * 10**9) == 26
    assert worker_pool.pool_size(cores=4, room=4 * 10**9) == 4
    assert worker_pool.pool_size(cores=4, room=10**8) == 1


@pytest.mark.usefixtures("two_cores")
def test_a_killed_run_leaves_no_process_behind_and_the_next_one_is_right(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    root = big(tmp_path / "set")
    rest()
    process = started(root, tmp_path / "out")
    workers = children(process.pid)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    for _ in range(100):
        if not any(map(alive, workers)):
            break
        time.sleep(0.05)
    assert [pid for pid in workers if alive(pid)] == []
    warm = look(root, tmp_path / "out")
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "empty"))
    fresh = look(root, tmp_path / "out")
    assert warm.model_copy(update={"seconds": 0}) == fresh.model_copy(update={"seconds": 0})
    assert warm.images == 1500


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, r"SIGKILL, most likely for want of memory: .*[\d.]+ [MG]B of [\d.]+ [MG]B are free now"),
        (signal.SIGSEGV, "SIGSEGV, a crash in the code that decodes them"),
    ],
)
def test_a_killed_worker_is_one_clear_message(tmp_path, number, words):
    process = started(big(tmp_path / "set"), tmp_path / "out")
    victim = children(process.pid)[0]
    os.kill(victim, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(rf"\(pid {victim}\) was killed by {words}", " ".join(errors.split()))
    assert "Traceback" not in errors


@pytest.mark.usefixtures("two_cores")
def test_ending_a_run_ends_its_processes(tmp_path):
    process = started(big(tmp_path / "set"), tmp_path / "out")
    workers = children(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode != 0
    time.sleep(0.5)
    assert [pid for pid in workers if alive(pid)] == []


def dies_in_the_middle_of_its_result(batch: int) -> bytes:
    def half(self: Connection, data: memoryview) -> None:
        os.write(self.fileno(), data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    if batch == 7:
        Connection._send = half  # in this process alone: the pipe's other end waits for the rest
    return bytes(200_000)


@pytest.mark.usefixtures("two_cores")
def test_a_worker_killed_while_it_hands_over_a_result_does_not_hang_the_run():
    with pytest.raises(SightlineError, match="was killed by SIGKILL"):
        list(worker_pool.map_batches(dies_in_the_middle_of_its_result, iter(range(40)), 1))


def test_a_process_that_is_ended_before_it_has_begun_does_not_wait_forever():
    with worker_pool._signals_deferred():
        if not (child := os.fork()):
            os.kill(os.getpid(), signal.SIGTERM)  # as the pool does when another process is gone
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, worker_pool.END_SIGNALS)
            os._exit(0)  # not reached
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
