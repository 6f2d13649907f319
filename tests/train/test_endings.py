"""How a training ended: the process, the signal, the memory, and what to do; with real kills."""

from __future__ import annotations

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
from sightline.errors import ConfigError, DataError
from sightline.runtime import machine
from sightline.train import failures
from sightline.train.decisions import Judgement, first
from sightline.train.endings import judge
from sightline.train.engine.group_check import LostPeer
from sightline.train.failures import Failure
from sightline.train.launch import Ended, Hang
from sightline.train.watch import ProcessMemory, Watch

pytestmark = pytest.mark.timeout(300)
SMALL = [
    "train.recover='off'",
    "train.epochs=300",
    "train.workers=1",
    "train.image_size=64",
    "train.batch=16",
    "train.augment.mosaic=0",
]
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


@pytest.mark.slow
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
    assert "lower train.batch (16), train.image_size (64) or train.workers (1), or give it more memory" in message
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
    larger = ("train.recover='off'", "train.image_size=320", "train.batch=32", "train.epochs=2")
    process = start(*enter, options=larger)
    output, _ = process.communicate(timeout=120)
    group.rmdir()
    message = " ".join(output.split())
    assert process.returncode == 1
    assert "was ended by SIGKILL. Memory ran out: meanwhile the kernel killed" in message
    assert "The container's limit is 3.0 GB, of which 3.0 GB were used at most" in message


# --- from what the processes leave behind: torch's own words, as they were seen


class Counted(Watch):
    """A watch that saw two processes, and a kernel that killed this many for memory."""

    def __init__(self, folder: Path, counted: int | None = 0) -> None:
        super().__init__(1, folder)
        self.counted = counted
        self.seen = {10960: ProcessMemory(0, False, 2 * 10**9), 10961: ProcessMemory(1, False, 3 * 10**9)}

    @property
    def kills(self) -> int | None:
        return self.counted


def failed(rank: int, code: int = 1, time: float = 1.0, stopped: bool = False) -> Failure:
    return Failure(rank, 10960 + rank, code, time=time, stopped=stopped)


def record(folder: Path, rank: int, error: BaseException, time: float = 1.0) -> None:
    failures.record(folder, rank, 10960 + rank, error, time)


def judged(
    folder: Path, *ends: Failure, printed: str = "", code: int = 1, kills: int | None = 0, hang: Hang | None = None,
    **config: int,
) -> Judgement:  # fmt: skip
    if ends:
        failures.write_ended(folder, None, ends)
    settings = TrainConfig(**{"cpu_processes": 2, **config} if "gpus" not in config else config)  # type: ignore[arg-type]
    return judge(Ended(code, 1.0, Counted(folder, kills), hang), folder, printed, settings, first(settings))


PEER = "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2839"


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class NotFinite(ArithmeticError):
    """Named as the trainer names its own."""


@pytest.mark.parametrize("code", [-9, 137], ids=["signal", "as a shell gives it"])
def test_the_lost_process_is_the_cause_not_those_that_missed_it(tmp_path: Path, code: int) -> None:
    record(tmp_path, 0, RuntimeError(PEER), 1.5)
    judgement = judged(tmp_path, failed(0, time=2.0, stopped=True), failed(1, code, time=1.8))
    assert judgement.ending == "killed"
    assert judgement.reason.startswith("process 1 of 2 (pid 10961) was ended by SIGKILL.")
    assert "It had used up to 3.0 GB, 1 other processes of the training up to 2.0 GB each." in judgement.reason
    assert "train.cpu_processes (2)" in judgement.reason
    assert judgement.evidence[0] == "torchrun: exit code 1"
    assert judgement.evidence[1].startswith("process 0 of 2 (pid 10960): exit code 1, RuntimeError: [../third_party")
    assert judgement.evidence[2] == "process 1 of 2 (pid 10961): SIGKILL"


def test_a_kill_that_the_kernel_counted_is_one_for_memory(tmp_path: Path) -> None:
    judgement = judged(tmp_path, failed(1, -9), failed(0, -15, stopped=True), kills=2)
    assert judgement.ending == "host_memory"
    assert "Memory ran out: meanwhile the kernel killed 2 processes" in judgement.reason
    assert "process 0 of 2 (pid 10960): SIGTERM, stopped by torchrun" in judgement.evidence


def test_the_first_of_several_errors_is_quoted_whole(tmp_path: Path) -> None:
    record(tmp_path, 0, ValueError("one\n  and two"), time=5.0)
    record(tmp_path, 1, KeyError("later"), time=6.0)
    judgement = judged(tmp_path)
    assert (judgement.ending, judgement.reason) == ("code", "ValueError: one and two (in process 0 of 2).")


def test_what_a_process_raises_while_torchrun_stops_it_is_no_cause(tmp_path: Path) -> None:
    record(tmp_path, 0, RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated."), 2.1)
    judgement = judged(tmp_path, failed(0, time=2.0, stopped=True), failed(1, -15, time=1.9))
    assert judgement.ending == "preempted"
    assert judgement.reason.startswith("process 1 of 2 (pid 10961) was ended by SIGTERM.")


def test_a_process_that_lost_a_peer_of_another_node_is_all_that_is_known_here(tmp_path: Path) -> None:
    record(tmp_path, 0, RuntimeError(PEER), 1.5)
    record(tmp_path, 1, RuntimeError("Timed out waiting 1800000ms for recv operation to complete"), 1.6)
    assert judged(tmp_path, failed(0), failed(1)).ending == "lost_peer"


def test_a_watchdog_that_aborts_its_process_has_lost_a_peer(tmp_path: Path) -> None:
    printed = "[rank1]: [E ProcessGroupNCCL.cpp:2057] NCCL watchdog thread terminated with exception: remote error\n"
    judgement = judged(tmp_path, failed(1, -6), printed=printed)
    assert judgement.ending == "lost_peer"
    assert "was ended by SIGABRT, after: [rank1]: [E ProcessGroupNCCL.cpp:2057] NCCL watchdog" in judgement.reason


LOADER = "DataLoader worker (pid 77) is killed by signal: {}."
CASES: list[tuple[str, BaseException, int | None, list[str]]] = [
    ("cuda_memory", OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 0,
     ["CUDA out of memory", "Lower train.batch (16) or train.image_size (640), or take a smaller model."]),
    ("cuda_memory", RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), 0, []),
    ("cuda_memory", RuntimeError("NCCL Error 1: unhandled cuda error, Cuda failure 2 'out of memory'"), 0, []),
    ("crashed", RuntimeError("CUDA error: an illegal memory access was encountered"), 0, []),
    ("host_memory", RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
     "memory: you tried to allocate 1258291200 bytes. Error code 12 (Cannot allocate memory)"), 0,
     ["It had used up to 2.0 GB", "train.workers (2)", "or give it more memory."]),
    ("host_memory", MemoryError(), 0, ["MemoryError. It had used up to 2.0 GB"]),
    ("host_memory", MemoryError("std::bad_alloc"), 0, []),
    ("host_memory", ImportError("libtorch_cpu.so: failed to map segment from shared object"), 0, []),
    ("host_memory", RuntimeError(LOADER.format("Killed")), 1,
     ["a process that loads images for process 0 of 1 (pid 77) was ended by SIGKILL. Memory ran out"]),
    ("loader_died", RuntimeError(LOADER.format("Killed")), 0, ["the kernel counted no such end", "train.workers (2)"]),
    ("loader_died", RuntimeError(LOADER.format("Segmentation fault")), 0, ["SIGSEGV. That is a crash in native code"]),
    ("loader_died", RuntimeError("DataLoader worker (pid(s) 77, 78) exited unexpectedly"), 0, ["ended unexpectedly"]),
    ("shared_memory", RuntimeError(LOADER.format("Bus error") + " It is possible that dataloader's workers are out of "
     "shared memory."), 0, ["was ended by SIGBUS. That usually means that shared memory", "--shm-size",
     "train.workers 0"]),
    ("shared_memory", RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most "
     "recent call last):\n  File \"worker.py\", line 374\nRuntimeError: unable to allocate shared memory(shm) for file "
     "</torch_20952_838270981_0>: No space left on device (28)"), 0,
     ["RuntimeError: unable to allocate shared memory(shm)", "838270981_0>. /dev/shm has", "--shm-size"]),
    ("disk_full", OSError(28, "No space left on device"), 0, ["No space left on device"]),
    ("disk_full", RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0"), 0, []),
    ("not_finite", NotFinite("the loss of epoch 3 is NaN"), 0, ["the loss of epoch 3 is NaN"]),
    ("data", FileNotFoundError("Image Not Found /work/data/images/a.jpg"), 0, []),
    ("data", DataError("labels/a.txt: no such class."), 0, ["labels/a.txt: no such class."]),
    ("configuration", ConfigError("train.freeze: got 99."), 0, ["train.freeze: got 99."]),
    ("configuration", RuntimeError("can't start new thread"), 0, ["`ulimit -u`", "train.workers (2)"]),
    ("configuration", OSError(24, "Too many open files"), 0, ["`ulimit -n`"]),
    ("lost_peer", ConnectionResetError("Connection reset by peer"), 0, []),
    ("lost_peer", LostPeer("rank 3 of 4 did not answer within 120 seconds"), 0, ["rank 3 of 4 did not answer"]),
    ("code", RuntimeError("one error\nin two lines"), 0, ["RuntimeError: one error in two lines."]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "error", "kills", "words"), CASES, ids=[str(number) for number in range(len(CASES))]
)
def test_an_exception_is_named(tmp_path: Path, ending: str, error: BaseException, kills: int, words: list[str]) -> None:
    record(tmp_path, 0, error)
    judgement = judged(tmp_path, failed(0), kills=kills, gpus=1)
    assert judgement.ending == ending
    for part in words:
        assert part in judgement.reason
    assert not judgement.reason.startswith("sightline.")


def test_advice_names_what_the_attempt_trained_with(tmp_path: Path) -> None:
    record(tmp_path, 0, MemoryError())
    config = TrainConfig(gpus=1, workers=4)
    settings = first(config).model_copy(update={"batch": 4, "workers": 1, "cache": "ram"})
    reason = judge(Ended(1, 1.0, Counted(tmp_path)), tmp_path, "", config, settings).reason
    assert (
        "Lower train.batch (16, 4 of them at a time), train.image_size (640), train.cache (ram) or "
        "train.workers (4, 1 in this attempt), or give it more memory."
    ) in reason


@pytest.mark.parametrize(
    ("code", "printed", "ending", "reason"),
    [
        (1, "Traceback:\n  File x\nRuntimeError: The server socket has failed to listen.\n", "unknown",
         "RuntimeError: The server socket has failed to listen. Run the same again."),
        (1, "nothing", "unknown", "torchrun ended with exit code 1. Run the same again."),
        (1, "torch.distributed.DistNetworkError: refused", "lost_peer", "torch.distributed.DistNetworkError: refused."),
        (1, "MemoryError\n", "host_memory", "MemoryError. 2 other processes of the training"),
        (-9, "", "killed", "torchrun, which looks after the training processes, was ended by SIGKILL."),
        (-15, "", "preempted", "torchrun, which looks after the training processes, was ended by SIGTERM."),
        (143, "", "preempted", "torchrun, which looks after the training processes, was ended by SIGTERM."),
    ],
)  # fmt: skip
def test_what_torchrun_itself_died_of_is_named(
    tmp_path: Path, code: int, printed: str, ending: str, reason: str
) -> None:
    judgement = judged(tmp_path, printed=printed, code=code)
    assert judgement.ending == ending
    assert judgement.reason.startswith(reason)


@pytest.mark.parametrize(
    ("code", "printed", "ending"),
    [
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "host_memory"),
        (-2, "OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 2: Resource temp…", "host_memory"),
        (1, "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", "host_memory"),
        (-6, "terminate called after throwing an instance of 'c10::Error'\n  what():  assertion", "crashed"),
        (-11, "", "crashed"),
    ],
)  # fmt: skip
def test_native_code_says_why_it_ends_its_process(tmp_path: Path, code: int, printed: str, ending: str) -> None:
    assert judged(tmp_path, failed(0, code), printed=printed).ending == ending


def test_what_a_network_cannot_follow_is_the_configurations_fault(tmp_path: Path) -> None:
    (tmp_path / "refused.txt").write_text("train.freeze: got 24\ntrain.image_size: got 33")
    judgement = judged(tmp_path, failed(0))
    assert (judgement.ending, judgement.reason) == ("configuration", "train.freeze: got 24\ntrain.image_size: got 33")


def test_a_hang_is_one_whatever_its_processes_left_when_they_were_ended(tmp_path: Path) -> None:
    hang = Hang(131.0, 120.0, (1,), (tmp_path / "stacks-0.txt",))
    judgement = judged(tmp_path, failed(1, -10), code=-9, hang=hang)
    assert judgement.ending == "hang"
    assert judgement.reason.startswith("No process made progress for 131 s (120 s are allowed): no process had begun.")
    assert "Somebody had stopped process 1 of 2 (SIGSTOP)." in judgement.reason


def test_the_exception_of_a_process_is_left_with_what_led_to_it(tmp_path: Path) -> None:
    try:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        except RuntimeError as cause:
            raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly") from cause
    except RuntimeError as error:
        record(tmp_path, 0, error, 1.5)
    assert "a process that loads images for process 0 of 2 (pid 7) was ended by SIGKILL" in judged(tmp_path).reason
