"""Errors meant for the person who runs Sightline.

Every message says what was found, what is allowed, where, and what to do. The command line prints the message
(never a traceback) and exits with `exit_code`:

    0 done · 1 our fault or an outage · 2 usage, configuration or bad input · 3 rejected by a gate
"""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)

ELSEWHERE = "name another folder, and run again"
USERS_MISTAKES = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP),
)


class SightlineError(Exception):
    """Base of all errors that Sightline raises on purpose."""

    kind = "internal"
    exit_code = 1

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        """Take one sentence and, where there are several mistakes of one kind, one line for each of them."""
        self.message = message
        self.problems = tuple(problems)
        super().__init__("\n".join((message, *(f"  - {problem}" for problem in self.problems))))


class ConfigError(SightlineError):
    """A setting that does not exist, has the wrong type, or contradicts another."""

    kind = "configuration"
    exit_code = 2


class DataError(SightlineError):
    """A source that cannot be read as a detection set at all: no such path, unknown format, broken data.yaml."""

    kind = "data"
    exit_code = 2


class DataRejected(SightlineError):
    """A source that was read, and whose labels or images break the contract: the data gate says no."""

    kind = "data-rejected"
    exit_code = 3


class WeightsError(SightlineError):
    """Starting weights that are missing, of the wrong task, unpinned, or not the bytes that were pinned."""

    kind = "weights"
    exit_code = 2


class StorageError(SightlineError):
    """A file or object store that cannot be used: out of space, not answering, or returning wrong bytes."""

    kind = "storage"
    exit_code = 1


class StorageUsageError(StorageError):
    """A store that answers, and says that the request is wrong: no such bucket or key, refused credentials."""

    exit_code = 2


class DeviceError(SightlineError):
    """A device that was asked for and cannot be used."""

    kind = "device"
    exit_code = 2


class ModelFileError(SightlineError):
    """An ONNX file that carries no Sightline contract, or a damaged one."""

    kind = "model"
    exit_code = 2


class TrainError(SightlineError):
    """Training stopped before its last epoch."""

    kind = "train"


class ExportError(SightlineError):
    """The exported file does not compute what the checkpoint computes, or could not be written."""

    kind = "export"


class SampleError(SightlineError):
    """The file does not find in an image what was scored of it."""

    kind = "sample"


class TrackingError(SightlineError):
    """The tracking server or model registry refused, or did not answer."""

    kind = "tracking"


class StageInputError(SightlineError):
    """A stage was pointed at a folder that does not hold the document it needs."""

    kind = "usage"
    exit_code = 2


def no_room(path: Path, needed: int | None, what: str | None = None, *, instead: str = ELSEWHERE) -> StorageError:
    """Say that a disk is full: at `path`, where `needed` bytes of `what` had to fit, as far as that is known.

    `instead` is what else than making room there a user can do.
    """
    folder = next(place for place in (path, *path.absolute().parents) if place.is_dir())
    device = next(place for place in (folder, *folder.parents) if os.path.ismount(place) or place == place.parent)
    free = shutil.disk_usage(folder).free
    need = f"it needs {_size(needed)}, {_size(free)} are free" if needed else f"{_size(free)} are free, not enough,"
    return StorageError(
        f"No space left for {what or path}: {need} in {folder}. Free some on its device (mounted at {device}), or of "
        f"your quota there, or {instead}."
    )


def _size(count: int) -> str:
    """Write a number of bytes for people, in powers of ten as disks are sold."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"


def of_system(error: OSError, *places: Path) -> SightlineError | None:
    """Say an error of the operating system as one for the user, if it is one that a user can correct.

    `places` are folders that the work wrote into. A full disk does not say which file it had no room for; then it is
    the fullest of these and of the folder for temporary files.
    """
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if error.errno in FULL:
        there = [place for place in (*places, Path(tempfile.gettempdir())) if place.is_dir()]
        return no_room(Path(where) if where else min(there, key=lambda place: shutil.disk_usage(place).free), None)
    if error.errno in USERS_MISTAKES:
        return StageInputError(f"{shortened(where or 'the device')}: {(error.strerror or str(error)).lower()}.")
    return None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest allowed word, or an empty string.

    Of words that are equally close it is the one that begins like `word`. It ends a sentence: `did_you_mean(…) or '.'`.
    """
    close = difflib.get_close_matches(word, list(allowed), n=5, cutoff=0.5)
    if not close:
        return ""
    nearest = max(close, key=lambda other: (_likeness(word, other), _shared(word, other)))
    return f"; did you mean '{nearest}'?"


def _shared(word: str, other: str) -> int:
    """Return how many letters two words have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False)))


def _likeness(word: str, other: str) -> float:
    """Return what `difflib.get_close_matches` sorts by."""
    return difflib.SequenceMatcher(None, other, word).ratio()


def shortened(text: object) -> str:
    """Show a path or name in a message: a very long one by its beginning and its length."""
    text = str(text)
    return text if len(text) <= 300 else f"{text[:80]}… ({len(text)} characters)"


def shown(value: object) -> str:
    """Show a wrong value in a message; Python does not write a number of thousands of digits."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return f"a value of type {type(value).__name__}"
