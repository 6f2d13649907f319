"""What every stage does around its work: a folder, a clock, progress events, and an error document when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from sightline.atomic import write_text
from sightline.documents import ErrorReport
from sightline.errors import SightlineError, StageInputError, from_os_error
from sightline.runtime import progress

NAMES = ("validate", "train", "export", "evaluate", "sample", "report", "register")
LATE = "train"  # removes its earlier document when its work begins: hours of training are not lost to a wrong setting
ERROR_VARIABLE = "SIGHTLINE_ERROR"  # the file in which a pipeline task leaves its error document
REPORTED = "sightline_reported"  # attribute of an error that is reported already
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_on_signals() -> None:
    """Make SIGTERM and a closed terminal stop the work as Ctrl-C does, so that nothing is left running."""
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)


def ignore_signals() -> None:
    """Ignore signals from now on, so that none changes the exit code of a finished command while Python exits."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def moment(seconds: float | None = None) -> str:
    """Return a time (seconds since 1970, by default now) as ISO 8601 in UTC, with milliseconds."""
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds")


@contextlib.contextmanager
def running(stage: str, out: Path) -> Iterator[Callable[[], float]]:
    """Run the block as a stage that writes into `out`; yields a clock of the seconds since the start.

    The document of an earlier run of the stage is removed first, so that one that fails leaves none; the
    stage `LATE` calls `remove_document` itself. Raises StorageError where the disk is full.
    """
    start = time.monotonic()

    def seconds() -> float:
        return round(time.monotonic() - start, 3)

    progress.emit("start", stage=stage)
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            if stage != LATE:
                remove_document(stage, out)
            yield seconds
        except OSError as error:
            raise (from_os_error(error, out) or error) from None
    except BaseException as error:
        failed(stage, error, seconds())
        with contextlib.suppress(OSError):
            out.rmdir()  # only if the stage left nothing in it
        raise
    progress.emit("end", stage=stage, seconds=seconds())


def remove_document(stage: str, out: Path) -> None:
    """Remove what an earlier run of a stage left for others to read; its files without the document are no result."""
    (out / f"{stage}.json").unlink(missing_ok=True)


def failed(stage: str, error: BaseException, seconds: float = 0.0) -> None:
    """Report that a stage failed: as an event, and as an error document if `SIGHTLINE_ERROR` names a file for it.

    An error that passes several frames on its way out is reported by the innermost.
    """
    if getattr(error, REPORTED, False):
        return
    setattr(error, REPORTED, True)
    path = os.environ.get(ERROR_VARIABLE)
    if path:
        with contextlib.suppress(OSError, SightlineError):  # if even that finds no room, the message is still printed
            write_text(Path(path), json.dumps(error_report(stage, error).model_dump()))
    progress.emit("failed", stage=stage, seconds=seconds)


def error_report(stage: str, error: BaseException) -> ErrorReport:
    """Return what an error document says."""
    if isinstance(error, SightlineError):
        return ErrorReport(stage=stage, kind=error.kind, message=str(error), exit_code=error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return ErrorReport(stage=stage, kind="interrupted", message="Interrupted.", exit_code=130)
    return ErrorReport(stage=stage, kind="internal", message=f"{type(error).__name__}: {error}", exit_code=1)


def same_snapshot(made: str, snapshot: str, what: str) -> None:
    """Raise StageInputError if `what` was made from other data than `snapshot`."""
    if made != snapshot:
        raise StageInputError(
            f"{what} was made from {made}, but the data is {snapshot}. Repeat the stages from train on."
        )
