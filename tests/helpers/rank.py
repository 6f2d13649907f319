"""A training process without an engine, for tests of what starts, watches and ends it: `rank.py JOB.json`.

The job says for each rank what it does after its heartbeat and after the file `go` is there.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sightline.train import failures

FOLDER = Path(sys.argv[-1]).parent
RANK = int(os.environ.get("RANK", 0))


def beat(step: int) -> None:
    """Leave a heartbeat as a training does."""
    values = {"time": time.monotonic(), "rank": RANK, "pid": os.getpid(), "phase": "train", "epoch": 1}
    beside = FOLDER / f".beat-{RANK}"
    beside.write_text(json.dumps({**values, "step": step, "slowest": 0.1, "images": 4 * step}))
    beside.replace(FOLDER / f"heartbeat-{RANK}.json")


def train() -> None:
    """Make progress for ever."""
    step = 0
    while True:
        step += 1
        beat(step)
        print(f"rank {RANK} step {step}", flush=True)
        time.sleep(0.1)


def act(what: str) -> None:
    """Do what the job says."""
    name, _, argument = what.partition(":")
    beat(1)
    print(f"rank {RANK} acts", flush=True)
    if name == "train":
        train()
    elif name == "signal":
        os.kill(os.getpid(), int(argument))
        time.sleep(60)
    elif name == "raise":
        kind, _, text = argument.partition(":")
        raise getattr(sys.modules["builtins"], kind)(text)
    elif name == "allocate":
        block = mmap.mmap(-1, int(argument))
        for place in range(0, len(block), mmap.PAGESIZE):
            block[place] = 1
    elif name == "limit":  # as `ulimit -v` does
        resource.setrlimit(resource.RLIMIT_AS, (int(argument), int(argument)))
        print(len(bytearray(int(argument))))
    elif name == "exit":
        os._exit(int(argument))
    elif name == "ignore":  # as a process does that waits in a collective
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(f"rank {RANK} ignores", flush=True)
        time.sleep(600)


def main(job: dict[str, Any]) -> None:
    """Run as one rank."""
    import faulthandler

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with open(FOLDER / f"stacks-{RANK}.txt", "w") as stacks:
        faulthandler.register(signal.SIGUSR1, file=stacks)
        try:
            act(job["ranks"][RANK])
        except Exception as error:
            failures.record(FOLDER, RANK, os.getpid(), error, time.time())
            raise


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[-1]).read_text()))
