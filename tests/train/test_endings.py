"""Why a training stopped: the process, the signal, the memory, and what to do; with real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sightline.config import TrainConfig
from sightline.datasets.synthetic import draw
from sightline.runtime import machine
from sightline.train import fault
from sightline.train.watch import ProcessMemory, Watch

pytestmark = pytest.mark.timeout(300)
SMALL = ["train.epochs=300", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0"]
LAUNCHER = "sightline.train.torchrun"


@pytest.fixture
def start(command: Callable, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a training of hundreds of epochs, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def started(*before: str, options: Sequence[str] = SMALL) -> subprocess.Popen[str]:
        draw(tmp_path / "data")
        settings = ["--weights", "yolo12n.yaml", *(text for value in options for text in ("--set", value))]
        done = command("validate", "--data", "data", "--run", "run", *settings, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        processes.append(
            subprocess.Popen(
                [*before, sys.executable, "-m", "sightline", "train", "--run", "run"],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
        return processes[0]

    yield started
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def trained(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the first epoch is over."""
    log = folder / "run" / "train" / "train.log"
    deadline = time.monotonic() + 120
    while not (log.exists() and "epoch 1/" in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(1)  # long enough to be looked at


def below(pid: int) -> dict[str, int]:
    """The processes of a training: `launcher`, `rank 0` …"""
    found = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                words = (each / "cmdline").read_text().split("\0")
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if LAUNCHER in words and str(pid) in words:
                found["launcher"] = int(each.name)
            elif "sightline.train.engine.worker" in words and LAUNCHER not in words:
                found[f"child of {parent}"] = int(each.name)
    return {"launcher": found["launcher"], "rank": found[f"child of {found['launcher']}"]}


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_a_killed_process_is_named_with_its_signal_and_its_memory(start: Callable, tmp_path: Path) -> None:
    process = start()
    trained(tmp_path, process)
    rank = below(process.pid)["rank"]
    os.kill(rank, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    message = " ".join(output.partition("error: ")[2].split())
    assert process.returncode == 1
    assert f"process 0 of 1 (pid {rank}) was ended by SIGKILL. That usually means that memory ran out" in message
    assert "It had used up to" in message
    assert f"The machine has {machine.size_text(machine.memory().total)}" in message
    assert "lower train.batch (16) or train.image_size (64), or give it more memory" in message
    assert "run/train/train.log" in message
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "number", "words"),
    [
        ("rank", signal.SIGSEGV, "was ended by SIGSEGV. That is a crash in native code"),
        ("rank", signal.SIGTERM, "was ended by SIGTERM. That was sent from outside"),
        ("launcher", signal.SIGKILL, "torchrun, which looks after the training processes, was ended by SIGKILL."),
    ],
)
def test_what_else_can_be_killed_is_named(
    start: Callable, tmp_path: Path, victim: str, number: int, words: str
) -> None:
    process = start()
    trained(tmp_path, process)
    processes = below(process.pid)
    os.kill(processes[victim], number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words in " ".join(output.split())
    assert all(gone(pid) for pid in processes.values()), "no process outlives the training"


@pytest.mark.slow
def test_no_process_outlives_a_killed_stage(start: Callable, tmp_path: Path) -> None:
    process = start()
    trained(tmp_path, process)
    processes = below(process.pid)
    process.kill()
    process.communicate()
    assert all(gone(pid) for pid in processes.values())


@pytest.mark.slow
def test_a_container_without_enough_memory_is_named_with_its_limit(start: Callable) -> None:
    """A real control group (version 1), and the kernel's own kill."""
    group = Path("/sys/fs/cgroup/memory") / f"sightline-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(3_000_000_000))
    except OSError as error:
        pytest.skip(f"needs the right to make control groups: {error}")
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    # About 2.9 GB by the least that is known of a nano model, which lets it start, and 3.9 GB in truth.
    larger = ("train.image_size=320", "train.batch=32", "train.epochs=2")
    process = start(*enter, options=larger)
    output, _ = process.communicate(timeout=120)
    group.rmdir()
    message = " ".join(output.split())
    assert process.returncode == 1
    assert "was ended by SIGKILL. Memory ran out: meanwhile the kernel killed" in message
    assert "The container's limit is 3.0 GB, of which 3.0 GB were used at most" in message


# --- from what the processes leave behind: torch's and torchrun's own words, as they were seen

TORCHRUN = """
E1128 16:00:26.885000 10957 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: -9) local_rank: 1
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
======================================================
Failures:
[1]:
  time      : 2026-11-28_16:00:27
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 10960)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-28_16:00:26
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 10961)
  error_file: <N/A>
"""


def record(folder: Path, rank: int, error: str, causes: str = "", time: float = 1.0) -> None:
    values = {"rank": rank, "pid": 10960 + rank, "error": error, "causes": causes, "time": time}
    (folder / f"failed-{rank}.json").write_text(json.dumps(values))


def explained(folder: Path, log: str = "", code: int = 1, **config: int) -> str:
    watch = Watch(1)
    watch.seen = {10960: ProcessMemory(0, False, 2 * 10**9), 10961: ProcessMemory(1, False, 3 * 10**9)}
    return fault.explain(code, log, folder, watch, TrainConfig(**config))


@pytest.mark.parametrize("code", [-9, 137], ids=["signal", "as a shell gives it"])
def test_the_lost_process_is_the_cause_not_those_that_missed_it(tmp_path: Path, code: int) -> None:
    record(tmp_path, 0, "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2839")
    message = explained(tmp_path, TORCHRUN.format(code=code), cpu_processes=2)
    assert message.startswith("process 1 of 2 (pid 10961) was ended by SIGKILL.")
    assert "It had used up to 3.0 GB, 1 other processes of the training up to 2.0 GB each." in message
    assert "train.cpu_processes (2)" in message


def test_the_first_of_several_errors_is_quoted_whole(tmp_path: Path) -> None:
    record(tmp_path, 0, "ValueError: one\n  and two", time=5.0)
    record(tmp_path, 1, "KeyError: 'later'", time=6.0)
    assert explained(tmp_path, cpu_processes=2) == "ValueError: one and two (in process 0 of 2). "


@pytest.mark.parametrize(
    ("error", "causes", "words"),
    [
        ("RuntimeError: DataLoader worker (pid(s) 77) exited unexpectedly",
         "RuntimeError: DataLoader worker (pid 77) is killed by signal: Killed.",
         ["a process that loads images for process 0 of 1 (pid 77) was ended by SIGKILL", "train.workers (2)"]),
        ("RuntimeError: DataLoader worker (pid(s) 77) exited unexpectedly",
         "RuntimeError: DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that dataloader's "
         "workers are out of shared memory. Please try to raise your shared memory limit.",
         ["was ended by SIGBUS. That usually means that shared memory (/dev/shm)", "--shm-size", "train.workers 0"]),
        ("RuntimeError: DataLoader worker (pid(s) 77) exited unexpectedly",
         "RuntimeError: DataLoader worker (pid 77) is killed by signal: Segmentation fault.",
         ["was ended by SIGSEGV. That is a crash in native code"]),
        ("RuntimeError: Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
         "last):\n  File \"worker.py\", line 374\nRuntimeError: unable to allocate shared memory(shm) for file "
         "</torch_20952_838270981_0>: No space left on device (28)", "",
         ["RuntimeError: unable to allocate shared memory(shm)", "838270981_0>. /dev/shm has", "--shm-size"]),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "",
         ["CUDA out of memory", "Lower train.batch (16) or train.image_size (640), or take a smaller model."]),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
         "tried to allocate 1258291200 bytes. Error code 12 (Cannot allocate memory)", "",
         ["can't allocate memory", "It had used up to 2.0 GB", "train.workers (2), or give it more memory."]),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 4.69 GiB for an array", "",
         ["Unable to allocate 4.69 GiB", "or give it more memory."]),
        ("MemoryError", "", ["MemoryError. It had used up to 2.0 GB"]),
        ("RuntimeError: can't start new thread", "", ["`ulimit -u`", "train.workers (2)"]),
        ("OSError: [Errno 24] Too many open files", "", ["`ulimit -n`"]),
        ("RuntimeError: one error\nin two lines", "", ["RuntimeError: one error in two lines."]),
    ],
)  # fmt: skip
def test_an_error_is_explained(tmp_path: Path, error: str, causes: str, words: list[str]) -> None:
    record(tmp_path, 0, error, causes)
    message = explained(tmp_path, gpus=1)
    for part in words:
        assert part in message


def test_what_torchrun_itself_died_of_is_quoted(tmp_path: Path) -> None:
    log = "Traceback (most recent call last):\n  File x\nRuntimeError: The server socket has failed to listen.\n"
    assert explained(tmp_path, log) == "RuntimeError: The server socket has failed to listen."
    assert explained(tmp_path, "nothing") == "torchrun ended with exit code 1."


def test_the_exception_of_a_process_is_left_with_what_led_to_it(tmp_path: Path) -> None:
    try:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        except RuntimeError as cause:
            raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly") from cause
    except RuntimeError as error:
        fault.record(tmp_path, 0, 5, error, 1.5)
    assert "a process that loads images for process 0 of 1 (pid 7) was ended by SIGKILL" in explained(tmp_path)
