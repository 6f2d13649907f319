"""What starts the processes of a training and how they end: real torchrun and signals, no engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sightline.config import TrainConfig
from sightline.documents.signs import Pulse
from sightline.train.decisions import Judgement, first
from sightline.train.endings import judge
from sightline.train.heartbeats import Patience
from sightline.train.launch import Ended, Torchrun, free_port, launch
from sightline.train.watch import GONE, state

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]
QUICK = Patience(least=2.0, factor=1.0, first=30.0)


def job(folder: Path, ranks: Sequence[str], **options: int) -> Torchrun:
    path = folder / "job.json"
    path.write_text(json.dumps({"ranks": ranks}))
    return Torchrun(job=path, processes=len(ranks), port=free_port(), worker="tests.helpers.rank", **options)


def run(folder: Path, *ranks: str, **options: object) -> Ended:
    """Let each rank do what it is told."""
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return launch(job(folder, ranks), folder / "log", {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, **options)  # type: ignore[arg-type]


def judged(ended: Ended, folder: Path) -> Judgement:
    config = TrainConfig(cpu_processes=max(1, len(json.loads((folder / "job.json").read_text())["ranks"])))
    return judge(ended, folder, (folder / "log").read_text(), config, first(config))


def when(ready: str, act: Callable[[Pulse], None]) -> Callable[[Pulse], None]:
    """Act once, on the first pulse after all ranks have shown a phase."""
    done = []

    def on_tick(pulse: Pulse) -> None:
        if not done and len([beat for beat in pulse.beats if beat.phase == ready]) == 2:
            done.append(True)
            act(pulse)

    return on_tick


def test_torchrun_learns_how_many_processes_there_are_where_they_meet_and_what_they_do() -> None:
    torchrun = Torchrun(job=Path("/work/job.json"), processes=4, nodes=2, node_rank=1, address="10.0.0.7", port=29500)
    assert torchrun.command() == [
        *(sys.executable, "-m", "sightline.train.torchrun", str(os.getpid()), "/work"),
        *("--nnodes=2", "--node_rank=1", "--nproc_per_node=4", "--master_addr=10.0.0.7", "--master_port=29500"),
        *("--max_restarts=0", "--shutdown_timeout=3", "--log_dir=/work/torchrun"),
        *("-m", "sightline.train.engine.worker", "/work/job.json"),
    ]


def test_a_killed_process_ends_the_other_within_seconds_and_is_named_as_the_cause(tmp_path: Path) -> None:
    killed: list[float] = []

    def kill(pulse: Pulse) -> None:
        os.kill(pulse.beats[0].pid, signal.SIGKILL)
        killed.append(time.monotonic())

    ended = run(tmp_path, "train", "ignore", on_tick=when("train", kill))
    assert time.monotonic() - killed[0] < 8, "a process that ignores SIGTERM is not waited for"
    assert ended.exit_code == 1
    described = json.loads((tmp_path / "ended.json").read_text())
    assert described["signal"] is None
    assert [(each["rank"], each["signal"], each["stopped"]) for each in described["failures"]] == [
        (0, "SIGKILL", False),
        (1, "SIGKILL", True),
    ]
    assert described["failures"][0]["message"].startswith("Signal 9 (SIGKILL) received by PID")
    judgement = judged(ended, tmp_path)
    assert judgement.ending == "killed"
    assert judgement.reason.startswith(f"process 0 of 2 (pid {described['failures'][0]['pid']}) was ended by SIGKILL.")
    assert "here the kernel counted no such end" in judgement.reason
    assert "last heartbeat of process 0: train, epoch 1, step" in " ".join(judgement.evidence)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "ending", "words"),
    [
        (
            f"signal:{signal.SIGTERM}",
            "preempted",
            "process 1 of 2 (pid {pid}) was ended by SIGTERM. That was sent from",
        ),
        (f"signal:{signal.SIGSEGV}", "crashed", "was ended by SIGSEGV. That is a crash in native code"),
        (f"signal:{signal.SIGBUS}", "shared_memory", "shared memory (/dev/shm)"),
        ("raise:ValueError:a hook failed", "code", "ValueError: a hook failed (in process 1 of 2)."),
        ("exit:3", "unknown", "ended with exit code 3 and left no exception"),
    ],
    ids=["SIGTERM", "SIGSEGV", "SIGBUS", "exception", "exit code"],
)
def test_what_ends_a_process_is_named(tmp_path: Path, act: str, ending: str, words: str) -> None:
    ended = run(tmp_path, "train", act)
    judgement = judged(ended, tmp_path)
    [own] = [each for each in json.loads((tmp_path / "ended.json").read_text())["failures"] if not each["stopped"]]
    assert own["rank"] == 1
    assert judgement.ending == ending
    assert words.format(pid=own["pid"]) in judgement.reason


def test_torchrun_knows_the_exception_of_a_process(tmp_path: Path) -> None:
    run(tmp_path, "raise:KeyError:lost")
    [failure] = json.loads((tmp_path / "ended.json").read_text())["failures"]
    assert (failure["code"], failure["error"], failure["message"]) == (1, "KeyError: 'lost'", "KeyError: 'lost'")


def test_processes_that_end_well_leave_no_account_of_failures(tmp_path: Path) -> None:
    ended = run(tmp_path, "rest", "rest")
    assert (ended.exit_code, ended.hang) == (0, None)
    assert "ended with exit code 0, but its processes left no result" in judged(ended, tmp_path).reason
    (tmp_path / "result.json").touch()
    assert judged(ended, tmp_path).ending == "finished"
    assert "Warning" not in (tmp_path / "log").read_text()
    assert not (tmp_path / "ended.json").exists()
    assert "rank 1 acts" in (tmp_path / "log").read_text()


def test_processes_without_progress_show_their_stacks_and_are_ended(tmp_path: Path) -> None:
    """One was stopped, the other waits for it: here, by doing nothing."""
    pids: list[int] = []

    def stop(pulse: Pulse) -> None:
        pids.extend(beat.pid for beat in pulse.beats)
        os.kill(pids[0], signal.SIGSTOP)

    ended = run(tmp_path, "ignore", "ignore", patience=QUICK, on_tick=when("train", stop))
    assert ended.hang
    assert ended.seconds < 30
    assert ended.hang.stopped == (0,)
    assert [path.name for path in ended.hang.stacks] == ["stacks-0.txt", "stacks-1.txt"]
    assert all("in act" in path.read_text() for path in ended.hang.stacks)
    log = (tmp_path / "log").read_text()
    assert all(path.read_text() in log.partition(f"--- {path.name}")[2] for path in ended.hang.stacks)
    assert gone(pids, 10)
    judgement = judged(ended, tmp_path)
    assert judgement.ending == "hang"
    assert "Somebody had stopped process 0 of 2 (SIGSTOP)" in judgement.reason
    assert f"{tmp_path}/stacks-1.txt" in judgement.reason


@pytest.mark.slow
def test_one_process_that_makes_progress_is_no_hang(tmp_path: Path) -> None:
    ticks: list[Pulse] = []

    def on_tick(pulse: Pulse) -> None:
        ticks.append(pulse)
        if len(ticks) == 4 and pulse.newest:
            os.kill(pulse.newest.pid, signal.SIGTERM)

    patience = Patience(least=5.0, factor=1.0, first=30.0)  # torchrun takes 3 s to end the one that ignores it
    ended = run(tmp_path, "train", "ignore", patience=patience, on_tick=on_tick)
    assert ended.hang is None
    assert judged(ended, tmp_path).ending == "preempted"


INTERRUPTED = """
import json, signal, sys, time
from pathlib import Path
from sightline.runtime.stage_frame import stop_on_signals
from sightline.train.launch import Torchrun, free_port, launch
stop_on_signals()
folder = Path(sys.argv[1])
def tick(pulse):
    if len(pulse.beats) == 2:
        (folder / "pids.part").write_text(json.dumps([beat.pid for beat in pulse.beats]))
        (folder / "pids.part").rename(folder / "pids")
torchrun = Torchrun(job=folder / "job.json", processes=2, port=free_port(), worker="tests.helpers.rank")
try:
    launch(torchrun, folder / "log", {}, on_tick=tick)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that launches two ranks which ignore SIGTERM, and the ranks' processes."""
    job(tmp_path, ["ignore", "ignore"])
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(tmp_path)], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    yield process, json.loads((tmp_path / "pids").read_text())
    process.kill()
    process.wait()


def gone(pids: Sequence[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(state(pid) in GONE for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_supervisor_takes_its_processes_along_within_a_second(
    supervisor: tuple[subprocess.Popen[bytes], list[int]], number: int
) -> None:
    process, pids = supervisor
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 130
    assert time.monotonic() - begun < 1.5, "a container is killed a second after it is told to end"
    assert gone(pids, 0.5)


@pytest.mark.slow
def test_a_killed_supervisor_takes_its_processes_along(
    supervisor: tuple[subprocess.Popen[bytes], list[int]],
) -> None:
    process, pids = supervisor
    process.kill()
    assert gone(pids, 10)


@pytest.mark.slow
def test_what_the_callback_raises_ends_the_processes(tmp_path: Path) -> None:
    pids: list[int] = []

    def lose(pulse: Pulse) -> None:
        pids.extend(beat.pid for beat in pulse.beats)
        raise LookupError("the lease is lost")

    with pytest.raises(LookupError):
        run(tmp_path, "train", "train", on_tick=when("train", lose))
    assert gone(pids, 0.5)


def test_a_process_over_its_address_space_is_told_from_a_fault_in_the_code(tmp_path: Path) -> None:
    ended = run(tmp_path, f"limit:{1 << 30}")
    judgement = judged(ended, tmp_path)
    assert judgement.ending == "host_memory"
    assert "MemoryError" in judgement.reason


def test_a_control_group_that_kills_is_named_with_its_counters(tmp_path: Path) -> None:
    """A real control group, and the kernel's own kill."""
    group = Path("/sys/fs/cgroup/memory") / f"sightline-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(1 << 30))
    except OSError as error:
        pytest.skip(f"needs the right to make control groups (version 1): {error}")
    job(tmp_path, [f"allocate:{2 << 30}"])
    code = f"""
        import dataclasses, json, os
        from pathlib import Path
        Path("{group}/cgroup.procs").write_text(str(os.getpid()))
        from sightline.config import TrainConfig
        from sightline.train.decisions import first
        from sightline.train.endings import judge
        from sightline.train.launch import Torchrun, free_port, launch
        folder = Path("{tmp_path}")
        torchrun = Torchrun(job=folder / "job.json", processes=1, port=free_port(), worker="tests.helpers.rank")
        ended = launch(torchrun, folder / "log", {{}})
        judgement = judge(ended, folder, "", TrainConfig(), first(TrainConfig()))
        (folder / "judged").write_text(json.dumps(dataclasses.asdict(judgement)))
    """
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "PYTHONPATH": paths}, capture_output=True
    )
    with contextlib.suppress(OSError):
        group.rmdir()
    assert done.returncode == 0, done.stderr
    judgement = json.loads((tmp_path / "judged").read_text())
    assert judgement["ending"] == "host_memory"
    # The kernel may kill torchrun too while it still takes down the process that used the memory.
    killed = r"the kernel killed (1 process|\d processes) in its control group for"
    assert re.search(f"Memory ran out: meanwhile {killed} it\\.", judgement["reason"]), judgement["reason"]
    assert "The container's limit is 1.1 GB, of which 1.1 GB were used at most" in judgement["reason"]
    assert any(re.search(f"{killed} memory", line) for line in judgement["evidence"]), judgement["evidence"]
