"""What the processes of `test_group_check.py` run: every way in which two processes may fail to make up a group."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from sightline.train.engine import group_check

CPU = torch.device("cpu")
RANK = int(os.environ["RANK"])
said: dict[str, str] = {}


def note(name: str, call: Callable[[], None]) -> None:
    """Keep how a call ended."""
    try:
        call()
        said[name] = "passed"
    except RuntimeError as error:
        said[name] = f"{type(error).__name__}: {error}"


@contextmanager
def group(name: str) -> Iterator[distributed.Store]:
    """Be in a process group whose store nothing was written to."""
    store = distributed.PrefixStore(name, next(iter(distributed.rendezvous("env://")))[0])
    distributed.init_process_group("gloo", store=store, rank=RANK, world_size=2, timeout=timedelta(seconds=60))
    try:
        yield distributed.PrefixStore("group_check", distributed.distributed_c10d._get_default_store())
    finally:
        distributed.destroy_process_group()


def main(folder: Path) -> None:
    """Go through the cases; both processes in the same order."""
    if RANK == 1:
        time.sleep(3)
    else:
        note("not started", lambda: group_check.meet(1))
    note("started", lambda: group_check.meet(30))
    with group("whole"):
        note("whole", lambda: group_check.check(CPU, folder))
    with group("absent"):
        if RANK == 0:
            note("absent", lambda: group_check.check(CPU, folder, 1))
    with group("sizes") as store:
        if RANK == 1:
            os.environ["WORLD_SIZE"] = "4"
            note("sizes", lambda: group_check.check(CPU, folder))
            os.environ["WORLD_SIZE"] = "2"
            store.set("1", "4")
        else:
            note("sizes", lambda: group_check.check(CPU, folder, 20))
    with group("sum") as store:
        if RANK == 1:
            store.set("1", "2")
            distributed.all_reduce(torch.zeros(group_check.CPU_BYTES // 4))
        else:
            note("sum", lambda: group_check.check(CPU, folder))
    with group("hang") as store:
        if RANK == 1:
            store.set("1", "2")
            time.sleep(4)
        else:
            note("hang", lambda: group_check.check(CPU, folder, 1.5))
    (folder / f"said-{RANK}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
