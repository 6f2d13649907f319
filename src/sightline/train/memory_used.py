"""How much memory a training used, in words, where that explains its end."""

from __future__ import annotations

import resource

from sightline.documents import Ending
from sightline.runtime import machine
from sightline.runtime.machine import size_text
from sightline.train.failures import Failure
from sightline.train.watch import Watch


def text(ending: Ending, failure: Failure, watch: Watch) -> str:
    """Return sentences on the memory that such an end has to do with; none where it has to do with none."""
    if ending == "shared_memory":
        return _shared(watch)
    return _host(failure, watch) if ending in ("host_memory", "killed") else ""


def _shared(watch: Watch) -> str:
    shared = machine.shared_memory()
    if not shared:
        return ""
    least = size_text(watch.least_shared)
    return f"/dev/shm has {size_text(shared[0])}, of which {least} were free when it was tightest. "


def _host(failure: Failure, watch: Watch) -> str:
    memory = machine.memory()
    parts = []
    if (own := watch.seen.get(failure.pid)) and own.peak:
        parts.append(f"It had used up to {size_text(own.peak)}")
    others = [process.peak for pid, process in watch.seen.items() if pid != failure.pid and process.peak]
    if others:
        parts.append(f"{len(others)} other processes of the training up to {size_text(max(others))} each")
    said = ", ".join(parts) + ". " if parts else ""
    if memory.limit is not None:
        peak = f", of which {size_text(memory.peak)} were used at most" if memory.peak is not None else ""
        said += f"The container's limit is {size_text(memory.limit)}{peak}. "
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        said += f"`ulimit -v` allows {size_text(soft)} of address space per process. "
    least = size_text(watch.least_available)
    return f"{said}The machine has {size_text(memory.total)}, of which {least} were free when it was tightest. "
