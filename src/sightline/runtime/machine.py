"""The cores, memory and shared memory that this process may use, container limits included.

A container's limits are control groups (cgroup v2, or v1 on older machines), which `os.cpu_count` and /proc/meminfo
ignore. `root` is the folder that stands for `/`. Needs the standard library only.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
SHM = Path("/dev/shm")
KILLS = ("memory.events", "memory.oom_control")  # of version 2 and 1
UNLIMITED = 1 << 62  # version 1 writes a number near 2**63 where there is no limit


@dataclass(frozen=True)
class MemoryEvents:
    """What the kernel has counted of memory that ran out, since this process's control group was made."""

    kills: int | None  # processes of this process's own group that it killed, whichever limit was hit; None: unknown
    # How often the tightest limit refused memory (version 2), or was reached at all (version 1, where cached files
    # that then make room count too); None without a limit.
    refusals: int | None


@dataclass(frozen=True)
class Memory:
    """Memory in bytes: the machine's, and the container's where one is limited."""

    total: int  # of the machine
    available: int  # of the machine, what could be had without swapping
    swap: int  # of the machine
    limit: int | None  # the tightest limit of the control groups that this process is in; None: there is none
    used: int | None  # within that limit, without cached files, which make room when asked
    peak: int | None  # most that was ever used within that limit, cached files included

    @property
    def most(self) -> int:
        """Return what all processes here could have together at best, without swapping."""
        return self.total if self.limit is None else min(self.total, self.limit)

    @property
    def room(self) -> int:
        """Return what is to be had now."""
        within = self.available if self.limit is None else max(0, self.limit - (self.used or 0))
        return min(self.available, within)


def cores(root: Path = ROOT) -> int:
    """Return how many cores this process may use: its affinity, and the CPU quota of its control groups, rounded up."""
    quotas = [math.ceil(quota) for folder in _groups("cpu", root) if (quota := _quota(folder))]
    return max(1, min(len(os.sched_getaffinity(0)), *quotas, 1 << 20))


def fewer_cores(root: Path = ROOT) -> int | None:
    """Return `cores` where they are fewer than the machine has, else None: then libraries choose well by themselves."""
    mine = cores(root)
    return mine if mine < os.sysconf("SC_NPROCESSORS_ONLN") else None


def limit_threads() -> None:
    """Keep numpy, in this process and its children, from starting a thread for each core of the machine.

    Must be called before numpy is imported. A number that the user set is kept.
    """
    if mine := fewer_cores():
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(mine))


def memory(root: Path = ROOT) -> Memory:
    """Return how much memory there is, and how much of it is free."""
    machine = _table(root / "proc/meminfo")
    total = machine.get("MemTotal:", 0) * 1024
    limit, folder = _tightest(root)
    used = peak = None
    if folder:
        held = _first(folder, "memory.current", "memory.usage_in_bytes")
        cached = _table(folder / "memory.stat")
        if held is not None:
            used = max(0, held - cached.get("total_inactive_file", cached.get("inactive_file", 0)))
        peak = _first(folder, "memory.peak", "memory.max_usage_in_bytes")
    available, swap = (machine.get(name, 0) * 1024 for name in ("MemAvailable:", "SwapTotal:"))
    return Memory(total, available, swap, limit, used, peak)


def memory_kills(root: Path = ROOT) -> int | None:
    """Return how many processes the kernel has killed since it booted because memory ran out; None if unknown.

    It counts those of the whole machine, whichever limit was hit.
    """
    return _table(root / "proc/vmstat").get("oom_kill")


def memory_events(root: Path = ROOT) -> MemoryEvents:
    """Return what the kernel counted in this process's own control group, and in the one with the tightest limit.

    In version 2 a group's counters include those of the groups within it.
    """
    counted = (_table(folder / name).get("oom_kill") for folder in _groups("memory", root) for name in KILLS)
    _, tightest = _tightest(root)
    refusals = None
    if tightest:
        refusals = _table(tightest / "memory.events").get("oom", _first(tightest, "memory.failcnt"))
    return MemoryEvents(next((kills for kills in counted if kills is not None), None), refusals)


def boot_id(root: Path = ROOT) -> str | None:
    """Return what names the time since this machine's start; all containers on it share it."""
    return next(iter(_lines(root / "proc/sys/kernel/random/boot_id")), None)


def shared_memory(folder: Path = SHM) -> tuple[int, int] | None:
    """Return size and free bytes of the file system behind shared memory; None where there is none."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.total, usage.free


def size_text(count: float) -> str:
    """Write a number of bytes for people: `512 MB`, `3.2 GB` (powers of ten, as disks are sold)."""
    if count < 999.5e6:
        return f"{math.ceil(count / 1e6)} MB"
    return f"{count / 1e9:.1f} GB"


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, its own first, then those around it.

    /proc/self/cgroup names the group, /proc/self/mountinfo the place where its files are: in a container that is often
    a part of the tree, mounted as if it were the whole.
    """
    names: dict[str, str] = {}  # controller -> group; the empty one is version 2
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        names |= dict.fromkeys(controllers.split(","), group)
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        top, point = mount.split()[3:5]
        kind, _, options = kind.split()[:3]
        wanted = "" if kind == "cgroup2" else controller
        if not kind.startswith("cgroup") or wanted not in (*options.split(","), "") or wanted not in names:
            continue
        base = root / point.lstrip("/")
        inside = PurePosixPath(names[wanted])
        inside = inside.relative_to(top) if inside.is_relative_to(top) else PurePosixPath()
        if not (base / inside).is_dir():
            inside = PurePosixPath()
        yield from (base / part for part in (inside, *inside.parents))


def _quota(folder: Path) -> float | None:
    """Return a group's CPU time in cores, if it is limited."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _first(folder, "cpu.cfs_quota_us"), _first(folder, "cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _tightest(root: Path) -> tuple[int | None, Path | None]:
    """Return the least memory limit in bytes of the groups that this process is in, and that group's folder."""
    limits = [(limit, folder) for folder in _groups("memory", root) if (limit := _limit(folder)) and limit < UNLIMITED]
    return min(limits, key=lambda found: found[0], default=(None, None))


def _limit(folder: Path) -> int | None:
    return _first(folder, "memory.max", "memory.limit_in_bytes")


def _first(folder: Path, *names: str) -> int | None:
    """Return the number in the first of these files that holds one."""
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return None


def _table(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
