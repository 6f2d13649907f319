"""The errors that a user sees, and helpers for their messages.

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

FULL = (errno.ENOSPC, errno.EDQUOT)  # no space on the device, no space within the user's quota

ELSEWHERE = "choose another folder, and run again"
# Causes of an OSError that a user can correct: a wrong path, missing permissions, a read-only file system.
USER_MISTAKES = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP),
)


class SightlineError(Exception):
    """Base of all errors that Sightline raises on purpose."""

    kind = "internal"
    exit_code = 1

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        """Create an error from one sentence and, for several mistakes of one kind, one line for each of them."""
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
    """A source that was read, but whose labels or images the data gate rejects."""

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
    """A store that answers that the request is wrong: no such bucket or key, refused credentials."""

    exit_code = 2


class DeviceError(SightlineError):
    """A requested device that cannot be used."""

    kind = "device"
    exit_code = 2


class ModelFileError(SightlineError):
    """An ONNX file that carries no Sightline contract, or a damaged one."""

    kind = "model"
    exit_code = 2


class TrainError(SightlineError):
    """Training stopped before its last epoch."""

    kind = "train"


class NodesMissing(TrainError):
    """Not all nodes of a training came in time, or some went and did not come back."""

    kind = "nodes"


class ExportError(SightlineError):
    """The exported file does not compute what the checkpoint computes, or could not be written."""

    kind = "export"


class SampleError(SightlineError):
    """The ONNX file's detections in an image differ from the predictions that were scored."""

    kind = "sample"


class TrackingError(SightlineError):
    """The tracking server or model registry refused, or did not answer."""

    kind = "tracking"


class ClusterError(SightlineError):
    """A Kubeflow Pipelines server that does not answer, or fails."""

    kind = "cluster"


class ClusterUsageError(ClusterError):
    """A Kubeflow Pipelines server that answers that the request is wrong: no such thing, refused credentials."""

    exit_code = 2


class StageInputError(SightlineError):
    """A stage was pointed at a folder that does not hold the document it needs."""

    kind = "usage"
    exit_code = 2


def no_space_left(path: Path, needed: int | None, what: str | None = None, *, instead: str = ELSEWHERE) -> StorageError:
    """Return the error for a full disk.

    `path` is the file or folder that was written, `needed` the bytes that it takes (None if unknown), and `what` names
    the content (by default the path). `instead` is what a user can do other than making room there.
    """
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    device = next(parent for parent in (folder, *folder.parents) if os.path.ismount(parent) or parent == parent.parent)
    free = shutil.disk_usage(folder).free
    need = f"it needs {_size(needed)}, {_size(free)} are free" if needed else f"{_size(free)} are free, not enough,"
    return StorageError(
        f"No space left for {what or path}: {need} in {folder}. Free some space on its device (mounted at "
        f"{device}), or of your quota there, or {instead}."
    )


def _size(count: int) -> str:
    """Write a number of bytes for people, in powers of ten as disks are sold."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"


def from_os_error(error: OSError, *folders: Path) -> SightlineError | None:
    """Return an error of the operating system as an error for the user; None if a user cannot correct it.

    `folders` are those that the work wrote into. When the disk is full, the system does not say which file did not fit;
    then the error names the fullest of these folders and the folder for temporary files.
    """
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    if error.errno in FULL:
        written = [folder for folder in (*folders, Path(tempfile.gettempdir())) if folder.is_dir()]
        fullest = min(written, key=lambda folder: shutil.disk_usage(folder).free)
        return no_space_left(Path(where) if where else fullest, None)
    if error.errno in USER_MISTAKES:
        return StageInputError(f"{shortened(where or 'the device')}: {(error.strerror or str(error)).lower()}.")
    return None


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest allowed word, or an empty string if none is close.

    Among equally close words, the one with the longest common prefix wins. The result ends a sentence:
    `did_you_mean(…) or '.'`.
    """
    close = difflib.get_close_matches(word, list(allowed), n=5, cutoff=0.5)
    if not close:
        return ""
    nearest = max(close, key=lambda other: (_similarity(word, other), _common_prefix(word, other)))
    return f"; did you mean '{nearest}'?"


def _common_prefix(word: str, other: str) -> int:
    """Return the length of the common prefix of two words."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False)))


def _similarity(word: str, other: str) -> float:
    """Return the ratio, 0 to 1, by which `difflib.get_close_matches` sorts."""
    return difflib.SequenceMatcher(None, other, word).ratio()


def shortened(text: object) -> str:
    """Return a path or name for a message; a very long one as its beginning and its length."""
    text = str(text)
    return text if len(text) <= 300 else f"{text[:80]}… ({len(text)} characters)"


def shown(value: object) -> str:
    """Return a wrong value for a message, cut to 80 characters; Python cannot print integers of thousands of digits."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return f"a value of type {type(value).__name__}"
