"""Names how an attempt at training ended, from what its processes left behind: a row of the table of decisions.

A process that lost another one, or that torchrun stopped, says so; that is never taken for the cause. The cause is the
first failure in time that is no such consequence.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings, Ending
from sightline.train import advice, failures, memory_used
from sightline.train.decisions import Judgement
from sightline.train.disk_full import FULL_DISK_MESSAGES
from sightline.train.failures import Failure
from sightline.train.job import REFUSED, RESULT
from sightline.train.launch import Ended, Hang

Advice = Callable[[TrainConfig, AttemptSettings], str]


class Row(NamedTuple):
    """What an exception means: by the names of its class and bases, or by words in it."""

    ending: Ending
    words: str = r"(?!)"  # nothing
    classes: tuple[str, ...] = ()
    advice: Advice | None = None


def _again(config: TrainConfig, settings: AttemptSettings) -> str:
    return "Run the same again."


EXCEPTIONS = (  # the first that fits
    Row("not_finite", classes=("NotFinite",)),
    Row("configuration", classes=("ConfigError", "DeviceError", "WeightsError", "StageInputError")),
    Row(
        "data",
        r"Image Not Found|cannot identify image file|image file is truncated|broken data stream|No images found in|"
        r"No such file or directory: .*\.(jpe?g|png|bmp|webp|tiff?|txt)\b",
        ("DataError", "DataRejected", "UnidentifiedImageError"),
    ),
    Row(
        "cuda_memory",
        r"CUDA out of memory|CUDA error: out of memory|CU(DNN|BLAS)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)|"
        r"Cuda failure 2|cudaErrorMemoryAllocation|unable to find an engine|CUDNN_STATUS_INTERNAL_ERROR",
        ("OutOfMemoryError",),
        advice.gpu,
    ),
    Row("shared_memory", r"shared memory|[Bb]us error|</torch_|/dev/shm", advice=advice.shared),
    Row(
        "host_memory",
        r"MemoryError|[Cc]an(no|')t allocate memory|[Uu]nable to allocate|bad_alloc|Insufficient memory|"
        r"[Ff]ailed to (allocate|map segment)|Memory allocation (still )?failed|pthread_create failed",
        ("MemoryError",),
        advice.memory,
    ),
    Row("configuration", r"can't start new thread|Resource temporarily unavailable", advice=advice.threads),
    Row("configuration", r"Too many open files", advice=advice.files),
    Row("configuration", r"received 0 items of ancdata", advice=advice.files),
    Row("disk_full", FULL_DISK_MESSAGES.pattern),
    Row("loader_died", r"Pin memory thread exited unexpectedly"),
    Row("code", r"device-side assert"),
    Row("configuration", r"no kernel image is available|driver version is insufficient"),
    Row("unknown", r"Input/output error|Stale file handle|Connection timed out \[Errno|Errno 110", advice=_again),
    Row(
        "crashed",
        r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|cudaError|uncorrectable ECC|fallen off the bus",
        ("AcceleratorError",),
    ),
    Row("hang", r"Timed out waiting \d+ ?ms|collective operation timeout|[Ww]ait timeout|Timed out after .* barrier"),
    Row(
        "lost_peer",
        r"\bgloo\b|NCCL|Connection (closed|reset|refused)|ProcessGroup|Broken pipe|TCPStore|store->|Dist(Net|Store)",
        ("LostPeer", "DistNetworkError", "DistStoreError", "DistBackendError", "RendezvousError"),
    ),
)
CODE, UNKNOWN = Row("code"), Row("unknown", advice=_again)  # where none fits: an exception; anything else
MEMORY = Row("host_memory", advice=advice.memory)
SHARED = Row("shared_memory", advice=advice.shared)
OUTSIDE = Row("preempted", advice=_again)
CRASH = Row("crashed")
SIGNALS = {
    "SIGBUS": SHARED,
    **dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"), OUTSIDE),
    "SIGKILL": Row("killed"),  # unless the kernel counted that it killed for memory
}
MEANINGS = {
    "shared_memory": "That usually means that shared memory (/dev/shm), through which loaders hand over images, is "
    "full.",
    "preempted": "That was sent from outside: by a person, a scheduler, or a machine that shuts down.",
    "crashed": "That is a crash in native code (torch, OpenCV, a driver) rather than a wrong setting; the log "
    "shows where.",
}
CONSEQUENCES: tuple[Ending, ...] = ("lost_peer", "hang")  # of another process's end
LOADER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.+?)\.|exited)")
# What native code prints before it ends its process, from C++ exceptions to OpenBLAS and the collectives' watchdogs.
NATIVE = re.compile(
    r"^.*(?:terminate called|what\(\): |OpenBLAS|libgomp: |ProcessGroup\w+\.cpp.*(?:[Tt]erminat|[Tt]imeout)).*$", re.M
)
OWN = re.compile(r"^sightline\.[\w.]+: ")  # in front of messages that are for the user as they are


@dataclass(frozen=True)
class Case:
    """All that is known of an attempt."""

    ended: Ended
    printed: str
    config: TrainConfig
    settings: AttemptSettings

    def process(self, rank: int) -> str:
        """Name a process for a message."""
        return f"process {rank} of {self.config.world_size}"

    def advice(self, row: Row) -> str:
        """Say what to do after such an end."""
        return row.advice(self.config, self.settings) if row.advice else ""

    def native(self) -> str:
        """Return the lines in which native code said why it ends its process."""
        return "\n".join(line.strip() for line in NATIVE.findall(self.printed))

    def row(self, failure: Failure) -> Row:
        """Return what the end of a process means by itself."""
        if failure.error:
            return row_of(_last_words(failure), failure.classes) or CODE
        # OpenBLAS ends its process by SIGINT, an exception in C++ or a watchdog by SIGABRT; they say why.
        if failure.signal not in ("SIGKILL", "SIGTERM") and (row := row_of(self.native())):
            return row
        return self.signalled(failure.signal) if failure.signal else UNKNOWN

    def signalled(self, name: str) -> Row:
        """Return what a signal means, with the kernel's own count where that is SIGKILL."""
        return MEMORY if name == "SIGKILL" and self.ended.watch.kills else SIGNALS.get(name, CRASH)


def judge(ended: Ended, folder: Path, printed: str, config: TrainConfig, settings: AttemptSettings) -> Judgement:
    """Name how an attempt in `folder` ended, of which torchrun and its processes `printed` these lines.

    The reason says which process ended it and by what, what memory was used where that matters, and what to do.
    """
    case = Case(ended, printed, config, settings)
    found = failures.read(folder)
    evidence = tuple(_evidence(case, found))
    if (folder / REFUSED).exists():
        return Judgement("configuration", (folder / REFUSED).read_text(encoding="utf-8"), evidence)
    if not ended.exit_code and (config.nodes > 1 or (folder / RESULT).exists()):  # which is on the first node
        return Judgement("finished", "finished", evidence)
    causes = [failure for failure in found if not failure.stopped and case.row(failure).ending not in CONSEQUENCES]
    if ended.hang and not any(failure.error for failure in causes):  # else one failed, and the others waited for it
        return Judgement("hang", _hang(ended.hang, case), evidence)
    if not found:
        ending, reason = _of_torchrun(case)
    elif loader := _loader((causes or found)[0]):
        ending, reason = _of_loader((causes or found)[0], loader, case)
    elif (causes or found)[0].error:
        ending, reason = _of_exception((causes or found)[0], case)
    else:
        ending, reason = _of_process((causes or found)[0], case)
    return Judgement(ending, reason.rstrip(), evidence)


def _of_exception(failure: Failure, case: Case) -> tuple[Ending, str]:
    row = case.row(failure)
    what = re.sub(r"\s*\n\s*", " ", OWN.sub("", _last_words(failure))).strip().rstrip(".")
    if row.ending == "shared_memory":  # it says that a device is full, as if that were a disk
        what = what.removesuffix(": No space left on device (28)")
    where = f" (in {case.process(failure.rank)})" if case.config.world_size > 1 else ""
    return row.ending, f"{what}{where}. {memory_used.text(row.ending, failure, case.ended.watch)}{case.advice(row)}"


def _of_process(failure: Failure, case: Case) -> tuple[Ending, str]:
    """Explain a process that ended without an exception: by a signal, or by its own hand."""
    row, name = case.row(failure), failure.signal
    who = f"{case.process(failure.rank)} (pid {failure.pid})"
    used = memory_used.text(row.ending, failure, case.ended.watch)
    if row is UNKNOWN:
        return row.ending, f"{who} ended with exit code {failure.code} and left no exception. {case.advice(row)}"
    if name is None or row not in (MEMORY, CRASH, *SIGNALS.values()):
        said = case.native().splitlines()[-1].rstrip(".")
        end = f"was ended by {name}" if name else f"ended with exit code {failure.code}"
        return row.ending, f"{who} {end}, after: {said}. {used}{case.advice(row)}"
    return row.ending, f"{who} was ended by {name}. {_meaning(name, row, case)}{used}{_after_signal(name, row, case)}"


def _loader(failure: Failure) -> re.Match[str] | None:
    return LOADER.search(f"{failure.causes}\n{failure.error}")  # the cause names the signal


def _of_loader(failure: Failure, found: re.Match[str], case: Case) -> tuple[Ending, str]:
    """Explain the end of a process that loads images; it reaches its rank as an exception in the system's words."""
    known = {signal.strsignal(number): number.name for number in signal.Signals}
    pids, words = found[1].strip(), (found[2] or "").partition(" (")[0]
    name = known.get(words) or ("SIGKILL" if case.ended.watch.kills else None)
    row = case.signalled(name) if name else CRASH
    ending: Ending = row.ending if row in (MEMORY, SHARED) else "loader_died"
    end = f"was ended by {name}. {_meaning(name, row, case)}" if name else "ended unexpectedly. "
    used = memory_used.text(row.ending, Failure(failure.rank, int(pids.split(",")[0])), case.ended.watch)
    who = f"a process that loads images for {case.process(failure.rank)} (pid {pids})"
    return ending, f"{who} {end}{used}{_after_signal(name, row, case) if name else _again(case.config, case.settings)}"


def _of_torchrun(case: Case) -> tuple[Ending, str]:
    """Explain an end of which no process left anything."""
    code = failures.exit_code(case.ended.exit_code)
    if code < 0:
        name = failures.signal_name(-code)
        row = case.signalled(name)
        what = f"torchrun, which looks after the training processes, was ended by {name}. "
        return row.ending, f"{what}{_meaning(name, row, case)}{_after_signal(name, row, case)}"
    # Where the disk is full, processes cannot leave their exceptions.
    error = _line(case.printed, FULL_DISK_MESSAGES) or _last_error(case.printed)
    row = row_of(f"{error}\n{case.native()}") or UNKNOWN
    what = error or f"torchrun ended with exit code {code}" + ("" if code else ", but its processes left no result")
    used = memory_used.text(row.ending, Failure(0, case.ended.watch.top), case.ended.watch)
    return row.ending, f"{what}. {used}{case.advice(row)}"


def _hang(hang: Hang, case: Case) -> str:
    where = "; ".join(map(str, case.ended.watch.beats)) or "no process had begun"
    what = f"No process made progress for {hang.idle:.0f} s ({hang.allowed:.0f} s are allowed): {where}. "
    if hang.stopped:
        names = " and ".join(case.process(rank) for rank in hang.stopped)
        what += f"Somebody had stopped {names} (SIGSTOP). "
    if hang.stacks:
        what += f"Where each process stood is in the log, and in {', '.join(map(str, hang.stacks))}. "
    return f"{what}The processes were ended."


def _meaning(name: str, row: Row, case: Case) -> str:
    """Say what a signal usually means; for SIGKILL, the kernel's own count tells more."""
    if name != "SIGKILL":
        return f"{MEANINGS[row.ending]} "
    if kills := case.ended.watch.kills:
        return (
            f"Memory ran out: meanwhile the kernel killed {advice.processes(kills)} {case.ended.watch.place} for it. "
        )
    if kills == 0:
        return (
            "That usually means that memory ran out, but here the kernel counted no such end: something else sent it, "
            "such as `kill -9` or a supervisor that watches memory. "
        )
    return "That usually means that memory ran out. "


def _after_signal(name: str, row: Row, case: Case) -> str:
    if name == "SIGKILL" and row is not MEMORY:
        lower = advice.memory(case.config, case.settings)
        return f"Run the same again; if memory was short, {lower[0].lower()}{lower[1:]}"
    return case.advice(row)


def row_of(text: str, classes: tuple[str, ...] = ()) -> Row | None:
    """Return what an exception's words and classes mean; None where no row knows them."""
    return next((row for row in EXCEPTIONS if {*row.classes} & {*classes} or re.search(row.words, text)), None)


def _last_words(failure: Failure) -> str:
    """Return an exception, of one that a loader handed on the last line."""
    return failure.error.splitlines()[-1] if "Original Traceback" in failure.error else failure.error


def _last_error(printed: str) -> str:
    """Return the last line that names an exception: the one that ended torchrun itself."""
    return _line(printed, re.compile(r"^\s*[\w.]+(Error|Exception|Interrupt)\b"))


def _line(printed: str, words: re.Pattern[str]) -> str:
    """Return the last line with such words; empty without one."""
    return next((line.strip().rstrip(".") for line in reversed(printed.splitlines()) if words.search(line)), "")


def _evidence(case: Case, found: list[Failure]) -> Iterator[str]:
    """Yield what shows the end, one fact a line."""
    code = failures.exit_code(case.ended.exit_code)
    yield f"torchrun: {failures.signal_name(-code) if code < 0 else f'exit code {code}'}"
    for failure in found:
        end = failure.signal or (f"exit code {failure.code}" if failure.code is not None else "")
        error = re.sub(r"\s*\n\s*", " ", failure.error)[:300]
        parts = [end, error, "stopped by torchrun" if failure.stopped else ""]
        yield f"{case.process(failure.rank)} (pid {failure.pid}): {', '.join(part for part in parts if part)}"
    watch = case.ended.watch
    if watch.kills:
        yield f"the kernel killed {advice.processes(watch.kills)} {watch.place} for memory"
    if watch.refusals:
        yield f"the container's memory limit was reached {watch.refusals} times"
    yield from (f"last heartbeat of {beat}" for beat in watch.beats)
