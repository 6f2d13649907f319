"""Starts torchrun, waits for it, and says why it stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sightline import progress
from sightline.artifacts import Attempt


def launch(job: Path, processes: int, log: Path, environment: Mapping[str, str]) -> Attempt:
    """Run `processes` workers on this machine until they end; their output goes to `log`.

    An interruption of this process ends the workers before it goes on.
    """
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc_per_node={processes}"),
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
        _tee(group, log)
        code = group.wait()
    except BaseException:
        group.terminate()  # torchrun passes it on to its workers
        group.wait()
        raise
    return Attempt(number=1, exit_code=code, seconds=round(time.monotonic() - start, 3), reason=_reason(code, log))


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


def _reason(code: int, log: Path) -> str:
    """Return the first exception line of the workers' log, or a word on the exit code."""
    if code == 0:
        return "finished"
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip().removeprefix("[rank0]: ")
        name = text.split(":", 1)[0]
        if name.endswith(("Error", "Exception")) and " " not in name:
            return text
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
