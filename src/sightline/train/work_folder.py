"""The work folder of a training: one folder per training, used by one process at a time.

`<root>/<training key>/` is created by the first attempt and removed after success; a failed training keeps it until
the next attempt, which starts with an empty one. Beside it, `<training key>.lock` says which process works there. Other
processes that want the same training wait for that lock. After success its holder unlinks the lock file and then writes
into it where the result lies: only processes that already have it open can read that, and a later run trains again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import ValidationError

from sightline.config import TrainConfig
from sightline.documents import TrainDocument
from sightline.documents.base import Part, Sha256
from sightline.errors import FULL, ConfigError, DeviceError
from sightline.runtime import progress
from sightline.runtime.provenance import container_image
from sightline.runtime.stage_frame import moment
from sightline.storage import sha256_file, work_root
from sightline.storage.lock import Lock
from sightline.train.checkpoints import FOLDER, newest_epoch
from sightline.train.finished import FinishedElsewhere

UNKEYED = ("cache", "given", "max_hours", "sizing", "tensorboard")  # settings that change nothing of what is computed
START = "start.pt"  # what training starts from, where that is a file


class Holder(Part):
    """Who works in the folder: what a lock says while it is held."""

    run: str
    process: int | None  # null in a container, where its number means nothing to others
    since: str


class Finished(Part):
    """Where the result of a finished training lies: the last content of a lock."""

    run: str
    folder: str
    files: dict[str, Sha256]


class WorkFolder(NamedTuple):
    """A work folder held by this process; it is created with its first file."""

    folder: Path
    lock: Lock


def cache_folder(work: Path, snapshot: str) -> Path:
    """Return where a training keeps decoded images of a snapshot, by its digest, and what it knows of the labels."""
    return work / "cache" / snapshot


def training_key(*, snapshot: str, weights: str, config: TrainConfig, code: str) -> str:
    """Return the sha256 that equal trainings share.

    `snapshot` is the URI of a snapshot, of which only the digest counts; `weights` a sha256 or an architecture; `code`
    the digest of the code that trains. Where decoded images are kept is no part of it, nor is what chose sizes, what is
    written for those who watch, or how long a training may take: what it computes until then is the same, and one that
    was cut short stands for no other.
    """
    parts = [
        PurePosixPath(snapshot).name,
        weights,
        config.model_dump(mode="json", exclude={*UNKEYED}),
        code,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def claimed(
    key: str, out: Path, resume: bool = True, image_size: int | None = None
) -> Iterator[WorkFolder | TrainDocument]:
    """Hold a training for this process; the block must leave its document and all its files in `out`.

    Yields the work folder, with what a killed training kept in it, or empty if `resume` is false. If another process
    holds the same training, this one says so and waits; if that succeeds, its files are put into `out`, checked by
    their sha256, and its document is yielded, which the block has to write; but not of a training that ended with
    smaller images than `image_size`, or was cut short. Raises ConfigError or StorageUsageError for
    a work folder that cannot be used.
    """
    while True:
        lock, free = _lock(key)
        with lock:
            if not free:
                progress.notice(_waiting(lock.read()))
                lock.take()
            if document := _taken(lock.read(), out, image_size):
                yield document
                return
            if not lock.in_place():
                continue  # it was finished, and its result is gone or damaged
            process = None if container_image() else os.getpid()
            lock.write(Holder(run=_run(out), process=process, since=moment()).model_dump_json())
            with _clean(WorkFolder(lock.path.with_suffix(""), lock), out, resume) as work:
                yield work
            return


@contextlib.contextmanager
def _clean(work: WorkFolder, out: Path, resume: bool) -> Iterator[WorkFolder]:
    """Yield the folder, which remains after a training that crashed or was killed: the next one goes on in it."""
    finished = None
    for path in work.folder.glob("*") if resume else [work.folder]:
        if not resume or path.name.startswith("attempt-"):
            shutil.rmtree(path, ignore_errors=True)
    try:
        yield work
        files = {path.relative_to(out).as_posix(): sha256_file(path) for path in out.rglob("*") if path.is_file()}
        finished = Finished(run=_run(out), folder=str(out.resolve()), files=files)
        shutil.rmtree(work.folder, ignore_errors=True)
    except FinishedElsewhere:
        shutil.rmtree(work.folder, ignore_errors=True)
        raise
    except (ConfigError, DeviceError):  # before an epoch is kept, there is nothing to go on from
        if not newest_epoch(work.folder / FOLDER):
            shutil.rmtree(work.folder, ignore_errors=True)
        raise
    finally:
        if finished or not work.folder.exists():
            work.lock.path.unlink(missing_ok=True)
        if finished:
            with contextlib.suppress(OSError):  # on a full disk; then those who wait train themselves
                work.lock.write(finished.model_dump_json())


def _lock(key: str) -> tuple[Lock, bool]:
    """Open the lock of a training, and hold it if no other process does; returns whether that is so.

    Raises ConfigError or StorageUsageError where that is impossible.
    """
    root = work_root.work_root()
    work_root.check(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = Lock(root / f"{key}.lock")
        return lock, lock.take(wait=False)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise work_root.unusable(root, error) from None


def _run(out: Path) -> str:
    """Return how messages name a run: by its id, or by the folder of its result."""
    return f"run {os.environ['SIGHTLINE_RUN_ID']}" if "SIGHTLINE_RUN_ID" in os.environ else str(out.resolve())


def _waiting(text: str) -> str:
    try:
        holder = Holder.model_validate_json(text)
    except ValidationError:  # it has just begun, or just ended
        who = "in another process"
    else:
        where = f"{holder.run} (process {holder.process})" if holder.process else holder.run
        who = f"in {where} since {holder.since}"
    return f"the same training is going on {who}; this run waits for its result."


def _taken(text: str, out: Path, image_size: int | None) -> TrainDocument | None:
    """Put the result that a lock names into `out` and return its document; None if it is missing or incomplete."""
    try:
        finished = Finished.model_validate_json(text)
        folder, document = Path(finished.folder), TrainDocument.file_name()
        found = TrainDocument.model_validate_json((folder / document).read_bytes())
        if image_size not in (None, found.config.image_size) or found.cut_short:
            return None
        for name, digest in finished.files.items():
            if not _linked(folder / name, digest, out / name if name != document else None):
                return None
        for path in out.glob("*/*"):  # event files and pictures of an earlier training
            if path.relative_to(out).as_posix() not in finished.files:
                path.unlink()
    except (ValidationError, OSError):
        return None
    progress.emit("note", stage="train", note=f"taken from {finished.run}, which did the same training meanwhile")
    return found


def _linked(source: Path, sha256: str, target: Path | None) -> bool:
    """Link or copy `source` to `target` if it has this sha256; returns whether it does. Without a target only check."""
    if target is None:
        return sha256_file(source) == sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copy2(source, beside)
        if sha256_file(beside) != sha256:
            return False
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)  # it is still there where both are links to one file
    return True
