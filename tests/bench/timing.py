"""Runs a command and says how long it took and how much memory the largest of its processes had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
WATCHER = (  # a process of its own, so that the peak is of this command's children and of no earlier one's
    "import json, resource, subprocess, sys, time\n"
    "start = time.monotonic()\n"
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
    "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
    "print(json.dumps([done.stdout, time.monotonic() - start, peak, done.returncode]))\n"
)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a measured command: its cache and work in `folder`, and the code of this checkout."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "SIGHTLINE_CACHE": str(folder / "cache"),
        "SIGHTLINE_WORK": str(folder / "work"),
        "PYTHONPATH": os.pathsep.join(paths),
    }


def timed(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> tuple[str, float, int]:
    """Run a command; returns its output, its wall time in seconds, and the largest memory of any of its processes."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, *command],
        cwd=folder,
        env={**environment(folder), **(variables or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    output, seconds, peak, code = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, output
    return output, seconds, peak
