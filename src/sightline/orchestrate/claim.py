"""Who may write into a run's folder: the holder of the lock in it. A run whose lock is free has ended or died.

The lock belongs to the command's process and is freed when that ends, even by kill -9. No child inherits it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sightline.errors import ConfigError, shortened
from sightline.runtime.stage_frame import NAMES
from sightline.storage.lock import Lock

LOCK, SUMMARY, ARGUMENTS, TEMPORARY = ".lock", "summary.json", "arguments.json", "tmp"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Other names in the folder of all runs; SQLite puts files beside the database (mlflow.db-journal, -wal, -shm).
RESERVED = re.compile(r"mlartifacts|mlflow\.db.*|store|work", re.IGNORECASE)
RESERVED_SHOWN = "mlartifacts, mlflow.db…, store, work"
MAX_PATH_BYTES = 300  # of the folder of all runs, or of one; SQLite allows 512, and a run's own folders need the rest
EVENTS, LOG, PAGE = "progress.jsonl", "pipeline.log", "report.html"


def usable(folder: Path, option: str) -> Path:
    """Return a folder for runs as an absolute path. Raises ConfigError if the engine or the runner cannot use it."""
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
    """Raise ConfigError for a text that cannot be the id of a run."""
    if not RUN_ID.fullmatch(run_id) or RESERVED.fullmatch(run_id):
        raise ConfigError(
            f"--run-id: got '{shortened(run_id)}', expected letters, digits, '.', '_' and '-', at most 128, the first "
            f"of them a letter or digit, and none of {RESERVED_SHOWN}."
        )


def store_key(folder: Path) -> str:
    """Return the name under which a store knows the run in `folder`; others, on other machines, may share its id."""
    digest = hashlib.sha256(f"{platform.node()}\0{folder}".encode(errors="surrogateescape")).hexdigest()
    return f"{folder.name}-{digest[:12]}"


class Taken(ConfigError):
    """A run's folder that something else occupies."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold `folder` for one run, creating it where needed; yields whether it existed.

    A new folder is removed if the block raises before anything ran in it. Raises Taken if a run is going on in it, if
    its run ended in anything but failure, or if no run made it.
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
            f"{folder} already exists, and no `sightline run` made it. Choose another --run-id; the stage commands "
            "(`sightline train --run …`) work in the folder that another stage command made."
        )
    with _locked(folder):
        _check_restartable(folder)
        yield True


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Keep runs out of `folder` while a stage command works in it; several stage commands may share it.

    Raises Taken if a run is going on in it.
    """
    with _locked(folder, shared=True) if (folder / LOCK).exists() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def dead(folder: Path) -> Iterator[bool]:
    """Yield whether the run in `folder` died without a summary; if so, no other process writes one meanwhile."""
    if not (folder / LOCK).exists() or not (folder / ARGUMENTS).exists() or (folder / SUMMARY).exists():
        yield False  # other programs have a .lock too
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(folder))
        except (Taken, OSError):
            yield False
            return
        yield not (folder / SUMMARY).exists()


def clear(folder: Path) -> None:
    """Remove what a failed run left in its folder, except the runner's own files: finished results can be reused."""
    shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
    for name in NAMES:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (EVENTS, LOG, PAGE, "error.json", SUMMARY):
        (folder / name).unlink(missing_ok=True)


def status(folder: Path) -> str | None:
    """Return the status in the summary of the run in `folder`; None without a readable one."""
    try:
        found = json.loads((folder / SUMMARY).read_bytes())["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found) if found else None


def _create(folder: Path) -> Lock | None:
    """Create the folder of a new run and return its lock, held; None if the path is occupied.

    It is created under another name and renamed, so that it is never seen without its lock.
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
    """Raise Taken unless the run failed, or died without a summary."""
    ended = status(folder)
    if ended == "failed" or not (folder / SUMMARY).exists():
        return
    what = f"holds a run that ended as {ended}" if ended else f"holds a {SUMMARY} that does not say how its run ended"
    raise Taken(f"{folder} {what}; only a failed run can be started again. Choose another --run-id.")


@contextlib.contextmanager
def _locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a run's folder. Raises Taken if another process does."""
    with Lock(folder / LOCK) as lock:
        if not lock.take(shared=shared, wait=False):
            raise Taken(f"A run is going on in {folder}. Wait until it ends, or choose another --run-id.")
        yield
