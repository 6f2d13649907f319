"""What all stores have in common: keys, transfers, verified and resumable downloads."""

from __future__ import annotations

import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sightline.errors import ELSEWHERE, FULL, StorageError, StorageUsageError, no_space_left
from sightline.storage.parallel import parallel

CHUNK = 1 << 20  # bytes held in memory per transfer


class MissingObject(StorageUsageError):
    """There is nothing under this key."""


class WrongBytes(StorageError):
    """A file or object whose sha256 is not the expected one."""


@dataclass(frozen=True)
class Transfer:
    """One file to move between `path` on this machine and `key` in a store."""

    key: str
    path: Path
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Something in a store: its size in bytes, and when it was last written, in seconds since 1970.

    `etag` is an S3 server's word for the content: another content has another one. A folder has none.
    """

    key: str
    size: int
    modified: float
    etag: str = ""


def _no_tick(count: int) -> None:
    """Count nothing: the default of `tick`."""


def go_on() -> None:
    """Let a transfer go on: the default of `check`."""


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file, as 64 lower-case hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_key(key: str) -> str:
    """Return the key if it stays inside its store. Raises StorageUsageError."""
    if "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise StorageUsageError(f"Key {key!r} is not allowed; expected names joined by single slashes, without . or ..")
    return key


@contextmanager
def disk_errors(path: Path, needed: Callable[[], int | None]) -> Iterator[None]:
    """Turn an operating-system error at `path` into a StorageError; `needed` tells the bytes that had to fit."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_space_left(path, needed(), instead=f"{ELSEWHERE}; what has been written is reused") from None
        kind = StorageUsageError if isinstance(error, PermissionError | FileNotFoundError) else StorageError
        raise kind(f"Cannot use {error.filename or path}: {error.strerror or error}.") from None


class Store(ABC):
    """Bytes under keys. Keys are relative, with slashes; `uri` has no trailing slash."""

    uri: str

    # --- what a kind of store provides

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the bytes under a key, or None if there is nothing."""

    @abstractmethod
    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data`; readers see the old bytes or the new ones, never a mixture."""

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data` where nothing lies under the key yet; tell whether it lies there now.

        Of several that put to one key at the same time one succeeds: no two may send the same bytes, so each sends a
        word of its own. Where a server knows no such condition, two can succeed if the second has seen nothing before
        the first had written; then the first finds other bytes under the key afterwards.
        """

    @abstractmethod
    def get_bytes(self, key: str) -> bytes:
        """Return the bytes under a key. Raises MissingObject."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Stored]:
        """Yield everything whose key starts with `prefix`, sorted by key."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove what lies under these keys; a key with nothing under it is no error, so it can be repeated."""

    @abstractmethod
    def put_file(self, key: str, path: Path, check: Callable[[], None] = go_on) -> None:
        """Store a file, whatever lies there; it appears whole or not at all.

        `check` is called every few megabytes, and ends the transfer by raising. Unlike `upload` this takes no thread
        that the end of the process would wait for.
        """

    @abstractmethod
    def _version(self, key: str) -> str:
        """Return a word, fit for a file name, that changes when the object does."""

    @abstractmethod
    def _append(self, key: str, file: BinaryIO, update: Callable[[bytes], None], version: str) -> None:
        """Write what lies behind position `file.tell()` of the object to `file` and give it to `update`.

        Nothing is written if the object ends there. `version`, if not empty, must still be the object's.
        """

    def impatient(self) -> Store:
        """Return this store for requests that are not tried again: for work that can wait for a better moment."""
        return self

    def _sound(self, item: Transfer) -> bool:
        """Tell whether what lies under the key in the right size is what it should be, if that is cheap to tell."""
        return True

    # --- what all stores do alike

    def exists(self, key: str) -> bool:
        """Tell whether there is something under a key."""
        return self.size(key) is not None

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the key and size in bytes of everything whose key starts with `prefix`, sorted by key."""
        return ((entry.key, entry.size) for entry in self.entries(prefix))

    def discard(self, key: str) -> bool:
        """Remove something damaged, so that whoever has the right bytes sends them again; tell whether it is gone."""
        try:
            self.delete([key])
        except StorageError:
            return False
        return True

    def upload(self, items: Sequence[Transfer], tick: Callable[[int], None] = _no_tick) -> int:
        """Store files, several at a time, and return the bytes sent; `tick(1)` follows every finished file.

        A key that is there with the same size is left alone, since keys are content addresses: an interrupted upload
        continues where it stopped. Raises WrongBytes for a file that is not what its sha256 says.
        """
        return parallel(self._upload, items, tick, (MissingObject, WrongBytes))

    def download(self, items: Sequence[Transfer], tick: Callable[[int], None] = _no_tick) -> int:
        """Fetch files, several at a time, and return the bytes received; `tick(1)` follows every finished file.

        A complete file with the right sha256 is left alone. A `.part` file that an interruption left behind is
        continued; if the whole then has the wrong sha256 it is fetched once more from the start. Processes that want
        the same file wait for each other. Raises MissingObject, WrongBytes, StorageError.
        """
        return parallel(self._download, items, tick, (MissingObject, WrongBytes))

    def _upload(self, item: Transfer) -> int:
        with disk_errors(item.path, lambda: None):
            size = item.path.stat().st_size
            if self.size(item.key) == size and self._sound(item):
                return 0
            if item.sha256 and (found := sha256_file(item.path)) != item.sha256:
                raise WrongBytes(f"{item.path} has sha256 {found}, expected {item.sha256}; it was not sent.")
            self.put_file(item.key, item.path)
        return size

    def _download(self, item: Transfer) -> int:
        check_key(item.key)
        with disk_errors(item.path, lambda: self.size(item.key)):
            # Without a digest the rest fits only if the source is unchanged: then the part's name holds its version.
            version = "" if item.sha256 else self._version(item.key)
            part = item.path.with_name(f"{item.path.name}.{version}.part" if version else f"{item.path.name}.part")
            file = _claim(item, part)
            if file is None:
                return 0
            with file:
                return self._complete(item, part, file, version)

    def _complete(self, item: Transfer, part: Path, file: BinaryIO, version: str) -> int:
        """Bring a part to its full length, check it, and move it to its place."""
        received = 0
        while True:
            digest = hashlib.sha256()
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            kept = file.tell()
            try:
                self._append(item.key, file, digest.update, version)
            except StorageError:
                if file.tell() == 0:
                    part.unlink()
                raise
            received += file.tell() - kept
            if item.sha256 in (None, digest.hexdigest()):
                file.flush()
                part.replace(item.path)
                return received
            file.seek(0)
            file.truncate()
            if not kept:
                part.unlink()
                wrong = f"{self.uri}/{item.key} has sha256 {digest.hexdigest()}, expected {item.sha256}"
                if item.sha256 in item.key and self.discard(item.key):
                    raise WrongBytes(f"{wrong}; it was deleted there: run again, and validate sends it once more.")
                raise WrongBytes(f"{wrong}; it was not kept.")


def _claim(item: Transfer, part: Path) -> BinaryIO | None:
    """Open the part for this process alone; None if the file is complete, perhaps since another one finished it.

    The lock dies with its process, so nothing has to be cleaned up after a kill.
    """
    while True:
        if item.sha256 and item.path.is_file() and sha256_file(item.path) == item.sha256:
            return None
        item.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(part, "a+b")  # noqa: SIM115  the caller closes it, which also ends the lock
        fcntl.flock(file, fcntl.LOCK_EX)
        if part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat()):
            file.seek(0)
            return file
        file.close()  # renamed to its place, or removed, while this one waited
