"""A finished run of the whole pipeline: the quickstart."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# No routes: nothing but the loopback is within reach.
NO_NETWORK = "ip link set lo up && test $(wc -l < /proc/net/route) -le 1 && exec"


@dataclass(frozen=True)
class Finished:
    """A run of the whole pipeline: its directory, its result, and how the command ended."""

    folder: Path
    summary: dict[str, Any]
    exit_code: int
    stderr: str


def run_quickstart(folder: Path) -> Finished:
    """Run the quickstart in `folder`, in a network namespace without routes where that is allowed."""
    command = [sys.executable, "-m", "sightline", "run", "--json", "--run-id", "first"]
    allowed = network_can_be_cut()
    if allowed:
        command = ["unshare", "-rn", "sh", "-c", f"{NO_NETWORK} {shlex.join(command)} 2>stderr.txt"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))},
        "SIGHTLINE_CACHE": str(folder / "cache"),
        "HOME": str(folder / "home"),
    }
    environment.pop("SIGHTLINE_STORE", None)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    log = folder / "runs" / "first" / "pipeline.log"
    assert done.stdout, log.read_text() if log.exists() else "the run never started"
    stderr = (folder / "stderr.txt").read_text() if allowed else ""
    return Finished(folder / "runs" / "first", json.loads(done.stdout), done.returncode, stderr)


def network_can_be_cut() -> bool:
    """Say whether this user may make a network namespace."""
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(
            ["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
        ).returncode
    )
