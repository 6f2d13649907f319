"""Whether all processes of a training answer and compute together, and how fast, before the model is built.

Two steps, so that a message can name who is missing: first a roll call over torchrun's store, which needs no other
connection than that to its agent, then sums over all processes with the backend that will train.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sightline.atomic import write_text

FILE = "group.json"  # what rank 0 measured, beside the job
LIMIT = 120.0  # seconds that a process is waited for
GPU_BYTES, CPU_BYTES = 64_000_000, 8_000_000  # of one sum; a nano model has gradients of 10 MB, x of 230 MB
REPEATS = 3  # sums that are timed, after one that is compared


class GroupError(RuntimeError):
    """Processes that do not make up one group, or do not compute the same."""


class LostPeer(GroupError):
    """A process that did not answer in time."""


def meet(limit: float = LIMIT) -> None:
    """Wait until every process that torchrun started is here; call it before the process group is made.

    Making a group of gloo waits for all of its processes too, but for the timeout of the group, and names none of them.
    `limit` is in seconds from now. Raises LostPeer that names who is missing.
    """
    from torch import distributed

    store, rank, ranks = next(iter(distributed.rendezvous("env://")))
    _roll_call(distributed.PrefixStore("meet", store), rank, ranks, limit)


def check(device: Any, folder: Path, limit: float = LIMIT) -> None:
    """Sum over all processes of the initialized process group, and leave what that took in `folder`, by rank 0.

    `device` is the torch device of this process, `limit` the seconds for which another process is waited for. The file
    `group.json` holds ranks, backend, bytes (of a sum), all_reduce_seconds (median of a few), all_reduce_gb_per_s
    (bytes / seconds, in 10^9 bytes: the "algorithm bandwidth" of nccl-tests) and seconds (of the whole check).

    Raises LostPeer if a process does not answer in time, GroupError if they do not make up one group or sum wrongly.
    """
    from torch import distributed

    begun = time.monotonic()
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    started = int(os.environ.get("WORLD_SIZE", ranks))
    if started != ranks:
        raise GroupError(f"rank {rank}: torchrun started {started} processes, and the process group has {ranks}")
    store = distributed.distributed_c10d._get_default_store()
    _roll_call(distributed.PrefixStore("group_check", store), rank, ranks, limit)
    size, seconds = _sum(device, rank, ranks, limit)
    measured = {
        "ranks": ranks,
        "backend": distributed.get_backend(),
        "bytes": size,
        "all_reduce_seconds": seconds,
        "all_reduce_gb_per_s": round(size / seconds / 1e9, 3),
        "seconds": round(time.monotonic() - begun, 3),
    }
    if rank == 0:
        write_text(folder / FILE, json.dumps(measured))
        print(
            f"all-reduce over {ranks} processes ({measured['backend']}): {size / 1e6:.0f} MB in "
            f"{1000 * seconds:.1f} ms, {measured['all_reduce_gb_per_s']:.2f} GB/s",
            flush=True,
        )


def _roll_call(store: Any, rank: int, ranks: int, limit: float) -> None:
    """Say that this process is here, and wait for all others to do so. Raises LostPeer, GroupError."""
    from torch import distributed

    store.set(str(rank), str(ranks))
    names = [str(other) for other in range(ranks)]
    try:
        store.wait(names, timedelta(seconds=limit))
    except distributed.DistStoreError:
        missing = [name for name in names if not store.check([name])]
        if missing:
            who = f"rank {missing[0]}" if len(missing) == 1 else f"ranks {', '.join(missing)}"
            raise LostPeer(
                f"{who} of {ranks} did not answer within {limit:g} seconds: it has not started, has ended, or its "
                "machine is not to be reached"
            ) from None
    answers = {other: int(store.get(str(other))) for other in range(ranks)}
    if odd := {other: answer for other, answer in answers.items() if answer != ranks}:
        words = ", ".join(f"rank {other} as one of {answer}" for other, answer in odd.items())
        raise GroupError(f"rank {rank} was started as one of {ranks} processes, {words}: start all with the same sizes")


def _sum(device: Any, rank: int, ranks: int, limit: float) -> tuple[int, float]:
    """Sum tensors over all processes; returns their bytes and the median seconds. Raises LostPeer, GroupError."""
    import torch

    size = GPU_BYTES if device.type == "cuda" else CPU_BYTES
    # Whole numbers, whose sum float32 holds exactly.
    values = torch.full((size // 4,), rank + 1.0, dtype=torch.float32, device=device)
    _all_reduce(values, ranks, limit)  # the first one also connects the processes
    expected = ranks * (ranks + 1) / 2
    low, high = values.min().item(), values.max().item()
    if (low, high) != (expected, expected):
        raise GroupError(
            f"rank {rank} of {ranks}: a sum over all processes gave {low:g} to {high:g} where {expected:g} is right: "
            "the connection between GPUs or machines is at fault, or different versions of torch run in them"
        )
    return size, statistics.median(_all_reduce(values.zero_(), ranks, limit) for _ in range(REPEATS))


def _all_reduce(values: Any, ranks: int, limit: float) -> float:
    """Sum in place over all processes; returns the seconds that it took. Raises LostPeer after `limit` seconds."""
    import torch
    from torch import distributed

    def synchronize() -> None:
        if values.is_cuda:
            torch.cuda.synchronize(values.device)

    synchronize()
    begun = time.perf_counter()
    done = distributed.all_reduce(values, async_op=True)
    try:
        done.wait(timedelta(seconds=limit))
    except RuntimeError as error:
        if time.perf_counter() - begun < limit:
            raise  # a process that ended: the backend says so at once
        raise LostPeer(
            f"a sum over all {ranks} processes was not done within {limit:g} seconds, though all had answered: one of "
            "them hangs, or they do not reach each other on the network that the backend chose "
            "(NCCL_SOCKET_IFNAME, GLOO_SOCKET_IFNAME)"
        ) from error
    synchronize()
    return time.perf_counter() - begun
