"""Starts torchrun and waits for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sightline.runtime import progress
from sightline.train.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Torchrun:
    """A group of workers as torchrun starts it on each node."""

    job: Path  # the file that says what each worker does
    processes: int  # workers on each node
    nodes: int = 1
    # Where the workers meet, on the first node. In numbers: with --standalone an unresolvable name costs minutes.
    address: str = "127.0.0.1"
    port: int

    def command(self) -> list[str]:
        """Return the command line; the group ends with this process."""
        return [
            *(sys.executable, "-m", "sightline.train.torchrun", str(os.getpid())),
            *(f"--nnodes={self.nodes}", f"--nproc_per_node={self.processes}"),
            *(f"--master_addr={self.address}", f"--master_port={self.port}"),
            *("-m", "sightline.train.engine.worker", str(self.job)),
        ]


class Ended(NamedTuple):
    """How the workers ended, and what was measured of them meanwhile."""

    exit_code: int
    seconds: float
    watch: Watch


def launch(torchrun: Torchrun, log: Path, environment: Mapping[str, str], held: Sequence[int] = ()) -> Ended:
    """Run the workers of this machine until they end; their output is appended to `log`.

    If this process is interrupted, it first ends the workers; if it dies, they end too. They inherit the file
    descriptors `held`, so that a lock lasts until the last of them is gone.
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
    try:
        with Watch(group.pid) as watch:
            _tee(group, log)
            code = group.wait()
    except BaseException:
        group.terminate()  # torchrun passes it on to its workers
        group.wait()
        raise
    return Ended(code, round(time.monotonic() - start, 3), watch)


def _tee(group: subprocess.Popen[str], log: Path) -> None:
    """Copy the workers' output to the log; without a file for progress events, also to standard output.

    That is what a cluster shows of a running task.
    """
    assert group.stdout
    alone = progress.VARIABLE not in os.environ
    with log.open("a", encoding="utf-8") as file:
        for line in group.stdout:
            file.write(line)
            file.flush()
            if alone:
                print(line, end="", flush=True)


def free_port() -> int:
    """Return a port on which nothing listens on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
