"""What failed processes of a training leave behind, and who reads it.

A process that an exception ends leaves `failed-<rank>.json`, and for torchrun its error file. Torchrun, in our wrapper,
leaves `ended.json`: every failed process with its exit code, in order of time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

RECORD, ENDED = "failed-{rank}.json", "ended.json"
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # environment variable in which torchrun names a process's error file


@dataclass(frozen=True)
class Failure:
    """How a process ended."""

    rank: int
    pid: int
    code: int | None = None  # its exit code, below 0 the signal; None where only its exception is known
    error: str = ""  # its exception
    causes: str = ""  # the exceptions that led to it
    classes: tuple[str, ...] = ()  # names of the exception's class and its bases
    time: float = 0.0  # seconds since 1970
    stopped: bool = False  # by torchrun from that time on, because another one had failed
    message: str = ""  # what torchrun says of it

    @property
    def signal(self) -> str | None:
        """Return the name of the signal that ended it."""
        return signal_name(-self.code) if self.code is not None and self.code < 0 else None


def record(folder: Path, rank: int, pid: int, error: BaseException, time: float) -> None:
    """Record the exception that ends a process, for `read`, and for torchrun in its own format."""
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    text, *causes = ["".join(traceback.format_exception_only(link)).strip() for link in chain]
    classes = tuple(base.__name__ for base in type(error).__mro__ if base not in (object, BaseException, Exception))
    failure = Failure(rank, pid, None, text, "\n".join(causes), classes, time)
    _write(folder / RECORD.format(rank=rank), asdict(failure))
    if path := os.environ.get(ERROR_FILE):
        details = {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time))}
        _write(Path(path), {"message": {"message": text, "extraInfo": details}})


def write_ended(folder: Path, number: int | None, failures: Sequence[Failure]) -> None:
    """Leave how torchrun ended: by which signal, if by one, and with which failed processes."""
    ordered = sorted(
        failures, key=lambda failure: (failure.stopped, failure.time)
    )  # of equal ones, as torchrun saw them
    described = [asdict(failure) | {"signal": failure.signal} for failure in ordered]
    _write(folder / ENDED, {"signal": signal_name(number) if number else None, "failures": described})


def read(folder: Path) -> list[Failure]:
    """Return every process that failed, in order of time; those that torchrun stopped stand last."""
    found: dict[int, Failure] = {}
    with contextlib.suppress(FileNotFoundError):
        for values in json.loads((folder / ENDED).read_text(encoding="utf-8"))["failures"]:
            del values["signal"]
            found[values["rank"]] = _failure(values)
    for path in folder.glob(RECORD.format(rank="*")):
        own = _failure(json.loads(path.read_text(encoding="utf-8")))
        seen = found.get(own.rank, own)
        found[own.rank] = replace(own, code=seen.code, stopped=seen.stopped and own.time >= seen.time)
    return sorted(found.values(), key=lambda failure: (failure.stopped, failure.time))


def exit_code(number: int) -> int:
    """Return an exit code, negative for a signal, which a shell in between reports as 128 plus its number."""
    return 128 - number if 128 < number <= 128 + 64 else number


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _failure(values: dict[str, Any]) -> Failure:
    code = values.get("code")
    classes = tuple(values.get("classes", ()))
    return Failure(**{**values, "classes": classes, "code": None if code is None else exit_code(code)})


def _write(path: Path, values: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a full disk must not hide the exception, which the log has too
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(values), encoding="utf-8")
        beside.replace(path)
