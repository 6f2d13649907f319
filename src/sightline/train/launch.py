"""Starts torchrun, watches its processes, and ends them: when they hang, and when this process is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sightline.documents.signs import Pulse
from sightline.runtime import progress
from sightline.train.engine.beat import STACKS
from sightline.train.heartbeats import Patience
from sightline.train.watch import Watch, state

WORKER = "sightline.train.engine.worker"
GRACE = 3  # seconds that torchrun gives its processes to end; one that waits in a collective ignores SIGTERM
LOOK, TICK = 0.2, 2.0  # seconds between looks at the processes, and between pulses
STACKS_SECONDS = 3.0  # for all ranks to write their stacks
INTERRUPTED_SECONDS = 0.5  # to end by themselves when this process must: a container lives for about one second then
DRAINED_SECONDS = 5.0  # for the last lines to arrive


@dataclass(frozen=True, kw_only=True)
class Torchrun:
    """A group of training processes as torchrun starts it on each node."""

    job: Path  # the file that says what each process does; beside it they leave how they ended
    processes: int  # on each node
    nodes: int = 1
    node_rank: int = 0
    # Where the processes meet, on the first node. In numbers: with --standalone an unresolvable name costs minutes.
    address: str = "127.0.0.1"
    port: int
    worker: str = WORKER  # the module that each process runs

    def command(self) -> list[str]:
        """Return the command line; the group ends with this process. Whether to try again is not torchrun's affair."""
        folder = self.job.parent
        return [
            *(sys.executable, "-m", "sightline.train.torchrun", str(os.getpid()), str(folder)),
            *(f"--nnodes={self.nodes}", f"--node_rank={self.node_rank}", f"--nproc_per_node={self.processes}"),
            *(f"--master_addr={self.address}", f"--master_port={self.port}"),
            *("--max_restarts=0", f"--shutdown_timeout={GRACE}", f"--log_dir={folder / 'torchrun'}"),
            *("-m", self.worker, str(self.job)),
        ]


class Hang(NamedTuple):
    """Processes that made no progress, and were ended for it."""

    idle: float  # seconds without progress
    allowed: float  # seconds
    stopped: tuple[int, ...]  # ranks that somebody had stopped (SIGSTOP)
    stacks: tuple[Path, ...]  # of all ranks that could still write them


class Ended(NamedTuple):
    """How the processes ended, and what was measured of them meanwhile."""

    exit_code: int  # of torchrun, negative for a signal
    seconds: float
    watch: Watch
    hang: Hang | None = None


def launch(
    torchrun: Torchrun,
    log: Path,
    environment: Mapping[str, str],
    held: Sequence[int] = (),
    *,
    patience: Patience | None = None,
    on_tick: Callable[[Pulse], None] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Ended:
    """Run the processes of this machine until they end; their output is appended to `log`, and handed to `on_line`.

    Torchrun inherits the file descriptors `held`, so that a lock lasts until the last of them is gone. `on_tick` is
    called about every two seconds, in this thread: while it works, no hang is noticed. Whatever it raises, and what
    else interrupts this function, ends the processes within a second and is raised.
    """
    start = time.monotonic()
    group = subprocess.Popen(
        torchrun.command(),
        pass_fds=held,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        text=True,
        errors="replace",
    )
    output = Output(group, log, on_line)
    with Watch(group.pid, torchrun.job.parent, patience) as watch:
        hang = None
        try:
            if _follow(group, watch, output, on_tick):
                hang = _examine(watch)
            else:
                group.wait()
        except BaseException as error:
            if isinstance(error, Exception):  # no interrupt, which leaves no time: another node may hang in these
                _log_stacks(_examine(watch), log)
            _end(group, INTERRUPTED_SECONDS)
            raise
        finally:
            _kill(group, watch)
    output.finish()
    if hang:
        _log_stacks(hang, log)
    return Ended(group.returncode, round(time.monotonic() - start, 3), watch, hang)


def _follow(
    group: subprocess.Popen[str], watch: Watch, output: Output, on_tick: Callable[[Pulse], None] | None
) -> bool:
    """Wait until the group has ended, or hangs; returns whether it does."""
    due = time.monotonic() + TICK
    while not watch.hangs:
        with contextlib.suppress(subprocess.TimeoutExpired):
            group.wait(LOOK)
            return False
        output.check()
        if on_tick and time.monotonic() >= due:
            on_tick(watch.pulse())
            due = time.monotonic() + TICK
    return True


def _examine(watch: Watch) -> Hang:
    """Ask every rank for the stacks of its threads. One that was stopped must go on to answer."""
    ranks = watch.ranks()
    stopped = tuple(rank for rank, pid in ranks.items() if state(pid) == "T")
    for number in (signal.SIGCONT, signal.SIGUSR1):
        for pid in ranks.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    paths = [watch.folder / STACKS.format(rank=rank) for rank in ranks]
    deadline, before = time.monotonic() + STACKS_SECONDS, [0 for _ in paths]
    while time.monotonic() < deadline:
        sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
        if all(sizes) and sizes == before:
            break
        before = sizes
        time.sleep(LOOK)
    written = tuple(path for path, size in zip(paths, before, strict=True) if size)
    return Hang(round(watch.idle, 1), watch.patience.allowed(watch.beats), stopped, written)


def _log_stacks(hang: Hang, log: Path) -> None:
    """Append the stacks to the log, which outlives the attempt's folder."""
    with log.open("a", encoding="utf-8") as file:
        for path in hang.stacks:
            file.write(f"--- {path.name}, when no process had made progress for {hang.idle:.0f} s\n")
            file.write(path.read_text(encoding="utf-8", errors="replace"))


def _end(group: subprocess.Popen[str], seconds: float) -> None:
    """Give torchrun, which passes SIGTERM on to its processes, some seconds to end."""
    group.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        group.wait(seconds)


def _kill(group: subprocess.Popen[str], watch: Watch) -> None:
    """End what is left: torchrun first, which else would judge the ends of its ranks, then each with its loaders."""
    ranks = watch.ranks()
    group.kill()
    for pid in ranks.values():
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)  # torchrun starts each rank in a session of its own
    group.wait()


class Output:
    """Copies what the processes print to the log; without a file for progress events, also to standard output.

    That is what a cluster shows of a running task.
    """

    def __init__(self, group: subprocess.Popen[str], log: Path, on_line: Callable[[str], None] | None = None) -> None:
        """Begin to copy; `on_line` gets each line too."""
        self._log, self._on_line = log, on_line
        self._group = group
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise OSError if the log could not be written, as on a full disk."""
        if self._error:
            raise self._error

    def finish(self) -> None:
        """Wait for the last lines, unless a process that nobody knows still holds the pipe open."""
        self._thread.join(DRAINED_SECONDS)
        self.check()

    def _copy(self) -> None:
        assert self._group.stdout
        alone = progress.VARIABLE not in os.environ
        try:
            with self._group.stdout as lines, self._log.open("a", encoding="utf-8") as file:
                for line in lines:
                    file.write(line)
                    file.flush()
                    if self._on_line:
                        self._on_line(line)
                    if alone:
                        print(line, end="", flush=True)
        except OSError as error:
            self._error = error


def free_port() -> int:
    """Return a port on which nothing listens on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
