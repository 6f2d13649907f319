"""Starts torchrun and waits for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sightline.runtime import progress
from sightline.train.watch import Watch


class Ended(NamedTuple):
    """How a group of processes ended, and what was seen of them meanwhile."""

    exit_code: int
    seconds: float
    watch: Watch


def launch(job: Path, processes: int, log: Path, environment: Mapping[str, str]) -> Ended:
    """Run `processes` workers on this machine until they end; their output goes to `log`.

    An interruption of this process ends the workers before it goes on; without this process they end.
    """
    command = [
        *(sys.executable, "-m", "sightline.train.group", str(os.getpid())),
        *("--nnodes=1", f"--nproc_per_node={processes}"),
        # An address in numbers: with --standalone an unresolvable host name costs minutes.
        *("--master_addr=127.0.0.1", f"--master_port={_free_port()}"),
        *("-m", "sightline.train.worker", str(job)),
    ]
    start = time.monotonic()
    group = subprocess.Popen(
        command,
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
    """Copy the workers' output to the log; where nobody follows the progress, also to our own.

    That is what a cluster shows of a running task.
    """
    assert group.stdout
    alone = progress.VARIABLE not in os.environ
    log.unlink(missing_ok=True)  # another run may share the old one
    with log.open("w", encoding="utf-8") as file:
        for line in group.stdout:
            file.write(line)
            file.flush()
            if alone:
                print(line, end="", flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
