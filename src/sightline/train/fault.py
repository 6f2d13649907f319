"""Says why a training stopped: which process, by which signal or error, what that usually means, and what to do."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import traceback
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from sightline.config import TrainConfig
from sightline.runtime import machine
from sightline.runtime.machine import size_text
from sightline.train.decisions import Judgement
from sightline.train.job import REFUSED, RESULT
from sightline.train.launch import Ended
from sightline.train.watch import Watch

RECORD = "failed-{rank}.json"  # written by a process that an exception ends


class About(Enum):
    """What the end of a process has to do with."""

    MEMORY, SHARED, GPU, OUTSIDE, CRASH, THREADS, FILES, OTHER = range(8)


SIGNALS = {
    "SIGKILL": About.MEMORY,
    "SIGBUS": About.SHARED,
    **dict.fromkeys(("SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE"), About.CRASH),
    **dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"), About.OUTSIDE),
}
WORDS = (  # of an exception, and what it is about; the first that fits
    (r"CUDA out of memory|CUDA error: out of memory|CU(DNN|BLAS)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)", About.GPU),
    (r"shared memory|bus error|</torch_|/dev/shm", About.SHARED),
    (r"MemoryError|[Cc]an(no|')t allocate memory|[Uu]nable to allocate|bad_alloc|Insufficient memory", About.MEMORY),
    (r"can't start new thread|Resource temporarily unavailable", About.THREADS),
    (r"Too many open files", About.FILES),
)
# torchrun's list of failures; the one that it saw first stands last.
FAILURE = re.compile(r"^\s*rank\s*: (\d+) .*\n\s*exitcode\s*: (-?\d+) \(pid: (\d+)\)", re.MULTILINE)
LOADER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.+?)\.|exited)")
# A process that lost another one says so; the loss itself is the cause.
CONSEQUENCE = re.compile(r"gloo|NCCL|Connection (closed|reset) by peer|ProcessGroup|Broken pipe|store->", re.IGNORECASE)


class Failure(NamedTuple):
    """How a process ended."""

    rank: int
    pid: int
    code: int | None = None  # below 0: the signal
    error: str = ""  # its exception
    causes: str = ""  # the exceptions that led to it
    time: float = 0.0


def record(folder: Path, rank: int, pid: int, error: BaseException, time: float) -> None:
    """Record the exception that ends a process, for `explain` to read."""
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    text, *causes = ["".join(traceback.format_exception_only(link)).strip() for link in chain]
    record = {"rank": rank, "pid": pid, "error": text, "causes": "\n".join(causes), "time": time}
    path = folder / RECORD.format(rank=rank)
    with contextlib.suppress(OSError):  # a full disk must not hide the exception, which the log has too
        path.with_suffix(".part").write_text(json.dumps(record), encoding="utf-8")
        path.with_suffix(".part").replace(path)


def judge(ended: Ended, folder: Path, printed: str, config: TrainConfig) -> Judgement:
    """Name how an attempt ended."""
    if not ended.exit_code and (folder / RESULT).exists():
        return Judgement("finished", "finished")
    if (folder / REFUSED).exists():
        return Judgement("configuration", (folder / REFUSED).read_text(encoding="utf-8"))
    return Judgement("unknown", explain(ended.exit_code, printed, folder, ended.watch, config).rstrip())


def explain(code: int, log: str, folder: Path, watch: Watch, config: TrainConfig) -> str:
    """Return a sentence or a few: the cause, what memory was used where that matters, and what to do."""
    failures = [Failure(int(rank), int(pid), _code(number)) for rank, number, pid in FAILURE.findall(log)]
    records = [Failure(**json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("failed-*.json")]
    killed = [failure for failure in failures if (failure.code or 0) < 0]
    causes = [record for record in records if not CONSEQUENCE.search(record.error)]
    if killed and not causes:
        return _of_signal(killed[-1], config, watch)
    if records:
        return _of_error(min(causes or records, key=lambda record: record.time), config, watch)
    if _code(code) < 0:
        name = _signal(-_code(code))
        return f"torchrun, which looks after the training processes, was ended by {name}. {_meaning(name, watch)}"
    return f"{_last_error(log) or f'torchrun ended with exit code {code}'}."


def _of_signal(failure: Failure, config: TrainConfig, watch: Watch) -> str:
    name = _signal(-(failure.code or 0))
    where = f"process {failure.rank} of {config.world_size} (pid {failure.pid}) was ended by {name}"
    used, advice = _measured(_about(name), failure, watch), _advice_after_signal(name, config, watch)
    return f"{where}. {_meaning(name, watch)}{used}{advice}"


def _of_error(failure: Failure, config: TrainConfig, watch: Watch) -> str:
    """Explain an exception. The end of a loader reaches its rank as one."""
    if found := LOADER.search(f"{failure.causes}\n{failure.error}"):  # the cause names the signal
        return _of_loader(failure.rank, found[1], found[2], config, watch)
    error = failure.error.splitlines()[-1] if "Original Traceback" in failure.error else failure.error
    about = next((about for words, about in WORDS if re.search(words, error)), About.OTHER)
    what = re.sub(r"\s*\n\s*", " ", error).strip().rstrip(".")
    if about == About.SHARED:  # it says that a device is full, as if that were a disk
        what = what.removesuffix(": No space left on device (28)")
    where = f" (in process {failure.rank} of {config.world_size})" if config.world_size > 1 else ""
    return f"{what}{where}. {_measured(about, failure, watch)}{_advice(about, config)}"


def _of_loader(rank: int, pids: str, words: str | None, config: TrainConfig, watch: Watch) -> str:
    """Explain the end of a process that loads images; torch names its signal in the system's words."""
    known = {signal.strsignal(number): number.name for number in signal.Signals}
    name = known.get((words or "").partition(" (")[0])
    about = _about(name) if name else About.MEMORY if watch.kills else About.CRASH
    end = f"was ended by {name}. {_meaning(name, watch)}" if name else "ended unexpectedly. "
    what = f"a process that loads images for process {rank} of {config.world_size} (pid {pids.strip()}) {end}"
    advice = _advice_after_signal(name, config, watch) if name else _advice(about, config)
    return f"{what}{_measured(about, Failure(rank, int(pids.split(',')[0])), watch)}{advice}"


def _about(name: str) -> About:
    return SIGNALS.get(name, About.CRASH)


def _meaning(name: str, watch: Watch) -> str:
    """Say what a signal usually means; for SIGKILL, the kernel's own count tells more."""
    if name == "SIGKILL" and watch.kills:
        ended = f"{watch.kills} process{'es' * (watch.kills > 1)}"
        return f"Memory ran out: meanwhile the kernel killed {ended} on this machine to free some. "
    if name == "SIGKILL" and watch.kills == 0:
        return (
            "That usually means that memory ran out, but here the kernel counted no such end: something else sent it, "
            "such as `kill -9` or a supervisor that watches memory. "
        )
    return {
        About.MEMORY: "That usually means that memory ran out. ",
        About.SHARED: "That usually means that shared memory (/dev/shm), through which loaders hand over images, is "
        "full. ",
        About.OUTSIDE: "That was sent from outside: by a person, a scheduler, or a machine that shuts down. ",
        About.CRASH: "That is a crash in native code (torch, OpenCV, a driver) rather than a wrong setting; the log "
        "shows where. ",
    }[_about(name)]


def _advice_after_signal(name: str, config: TrainConfig, watch: Watch) -> str:
    """Say what to do after a signal."""
    advice = _advice(_about(name), config)
    if name == "SIGKILL" and watch.kills == 0:
        return f"Run the same again; if memory was short, {advice[0].lower()}{advice[1:]}"
    return advice


def _measured(about: About, failure: Failure, watch: Watch) -> str:
    """Say how much memory was used, where that explains the end."""
    if about == About.SHARED and (shared := machine.shared_memory()):
        least = size_text(watch.least_shared)
        return f"/dev/shm has {size_text(shared[0])}, of which {least} were free when it was tightest. "
    if about != About.MEMORY:
        return ""
    memory = machine.memory()
    parts = []
    if (own := watch.seen.get(failure.pid)) and own.peak:
        parts.append(f"It had used up to {size_text(own.peak)}")
    others = [process.peak for pid, process in watch.seen.items() if pid != failure.pid and process.peak]
    if others:
        parts.append(f"{len(others)} other processes of the training up to {size_text(max(others))} each")
    text = ", ".join(parts) + ". " if parts else ""
    if memory.limit is not None:
        peak = f", of which {size_text(memory.peak)} were used at most" if memory.peak is not None else ""
        text += f"The container's limit is {size_text(memory.limit)}{peak}. "
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        text += f"`ulimit -v` allows {size_text(soft)} of address space per process. "
    least = size_text(watch.least_available)
    return f"{text}The machine has {size_text(memory.total)}, of which {least} were free when it was tightest. "


def _advice(about: About, config: TrainConfig) -> str:
    sizes = [f"train.batch ({config.batch})", f"train.image_size ({config.image_size})"]
    # On a CPU the engine loads images in the training process itself.
    loaders = [f"train.workers ({config.workers})"] if config.workers and config.gpus else []
    ranks = [f"train.cpu_processes ({config.cpu_processes})"] if config.world_size > 1 and not config.gpus else []
    lower = f"Lower {_joined_by_or([*sizes, *loaders, *ranks])}"
    return {
        About.MEMORY: f"{lower}, or give it more memory.",
        About.GPU: f"The GPU's memory is too small for this. Lower {_joined_by_or(sizes)}, or take a smaller model.",
        About.SHARED: "Give the container more (docker: --shm-size; Kubernetes: a Memory volume at /dev/shm), or "
        f"{lower[0].lower()}{lower[1:]}; with train.workers 0 none is needed.",
        About.THREADS: f"The limit of processes and threads (`ulimit -u`, or the container's) is reached. "
        f"Lower {_joined_by_or([*loaders, *ranks]) or 'what else runs'}, or raise the limit.",
        About.FILES: "The limit of open files (`ulimit -n`) is reached. Raise it"
        + (f", or lower {_joined_by_or(loaders)}." if loaders else "."),
        About.OUTSIDE: "Run the same again.",
    }.get(about, "")


def _joined_by_or(names: Sequence[str]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _code(number: int | str) -> int:
    """Return an exit code, negative for a signal, which a shell in between reports as 128 plus its number."""
    code = int(number)
    return 128 - code if 128 < code <= 128 + 64 else code


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_error(log: str) -> str:
    """Return the last line of a log that names an exception: the one that ended torchrun itself."""
    names = (line.strip() for line in reversed(log.splitlines()))
    return next((line for line in names if re.match(r"[\w.]+(Error|Exception|Interrupt): \S", line)), "").rstrip(".")
