"""Who may write into a run's folder: a lock in it, held while the run lives. One whose lock is free has ended or died.

The lock belongs to the command's process and dies with it, however that ends. No child inherits it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightline.errors import ConfigError, shortened
from sightline.runtime.stage_frame import NAMES
from sightline.storage.lock import Lock

LOCK, SUMMARY, ARGUMENTS, TEMPORARY = ".lock", "summary.json", "arguments.json", "tmp"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What else lies in the folder of all runs; SQLite puts files beside the database (mlflow.db-journal, -wal, -shm).
RESERVED = re.compile(r"mlartifacts|mlflow\.db.*|store|work", re.IGNORECASE)
RESERVED_SHOWN = "mlartifacts, mlflow.db…, store, work"
MAX_PATH_BYTES = (
    300  # bytes of the path of all runs or of one; SQLite takes 512, of which a run's own folders need the rest
)
EVENTS, LOG, PAGE = "progress.jsonl", "pipeline.log", "report.html"


def usable(folder: Path, option: str) -> Path:
    """Return a folder that runs work in, absolute. Raises ConfigError if engine or runner cannot use such a path."""
    absolute = Path(os.path.expanduser(folder)).resolve()  # noqa: PTH111 - Path's raises for a user that does not exist
    if len(os.fsencode(absolute)) > MAX_PATH_BYTES:
        raise ConfigError(
            f"{option}: got a path of {len(str(absolute))} characters, expected at most {MAX_PATH_BYTES}."
        )
    if not str(absolute).isprintable() or "{{$" in str(absolute) or "?" in str(absolute):
        raise ConfigError(
            f"{option}: got '{absolute}'; the training engine and the pipeline's runner cannot use a path with '?', "
            "'{{$', line breaks, or anything else that cannot be printed. Choose another folder."
        )
    return absolute


def check_id(run_id: str) -> None:
    """Raise ConfigError for what cannot be the name of a run."""
    if not RUN_ID.fullmatch(run_id) or RESERVED.fullmatch(run_id):
        raise ConfigError(
            f"--run-id: got '{shortened(run_id)}', expected letters, digits, '.', '_' and '-', at most 128, the first "
            f"of them a letter or digit, and none of {RESERVED_SHOWN}."
        )


class Taken(ConfigError):
    """A run's folder that belongs to somebody else."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Be the only command that runs in `folder`, which is made if it is not there; yields whether it was there.

    A new folder is removed again if the block raises before anything ran in it. Raises Taken if a run is going on in
    it, or has ended in anything but failure, or if it was not made by a run.
    """
    missing = [parent for parent in folder.parents if not parent.exists()]
    lock = None
    try:
        lock = _create(folder)
        if lock is not None:
            yield False
            return
    except BaseException:
        if lock is not None and not (folder / LOG).exists():
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: another run began meanwhile
            for parent in missing:
                parent.rmdir()
        raise
    finally:
        if lock is not None:
            lock.close()
    if not folder.is_dir() or not (folder / LOCK).exists():
        raise Taken(
            f"{folder} is there already, and no `sightline run` made it. Choose another --run-id; the stage commands "
            "(`sightline train --run …`) go on with the folder of another stage."
        )
    with _locked(folder):
        _check_restartable(folder)
        yield True


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Keep runs out of `folder` while a stage command works in it; several of these may at the same time.

    Raises Taken if a run is going on in it.
    """
    with _locked(folder, shared=True) if (folder / LOCK).exists() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def dead(folder: Path) -> Iterator[bool]:
    """Yield whether the run in `folder` ended without summing up; if so, no other process sums up at the same time."""
    if not (folder / LOCK).exists() or (folder / SUMMARY).exists():
        yield False
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(folder))
        except (Taken, OSError):
            yield False
            return
        yield not (folder / SUMMARY).exists()


def clear(folder: Path) -> None:
    """Remove what a failed run left in its folder, but for the runner's own, which holds what is known by now."""
    shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
    for name in NAMES:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (EVENTS, LOG, PAGE, "error.json", SUMMARY):
        (folder / name).unlink(missing_ok=True)


def status(folder: Path) -> str | None:
    """Return what the run in `folder` ended as, by its summary; null without a summary that says so."""
    try:
        found = json.loads((folder / SUMMARY).read_bytes())["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if found else None


def _create(folder: Path) -> Lock | None:
    """Make the folder of a new run; returns its lock, held, or null if there is something in its place.

    It is made beside and renamed, so that it is never seen without its lock.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    lock = None
    try:
        beside.mkdir(parents=True)
        lock = Lock(beside / LOCK)
        lock.take()
        beside.rename(folder)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            lock.close()
        if folder.exists() and error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return None
        raise OSError(error.errno, error.strerror, str(folder)) from None
    return lock


def _check_restartable(folder: Path) -> None:
    """Raise Taken unless the run failed, or died before it could sum up."""
    ended = status(folder)
    if ended == "failed" or not (folder / SUMMARY).exists():
        return
    what = f"holds a run that ended as {ended}" if ended else f"holds a {SUMMARY} that does not say how its run ended"
    raise Taken(f"{folder} {what}; only a run that failed is started again. Choose another --run-id.")


@contextlib.contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a run's folder. Raises Taken if another process does."""
    with Lock(folder / LOCK) as lock:
        if not lock.take(shared=shared, wait=False):
            raise Taken(f"A run is going on in {folder}. Wait for its end, or choose another --run-id.")
        yield
