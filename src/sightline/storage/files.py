"""A store in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes
from uuid import uuid4

from sightline.atomic import replacing
from sightline.errors import StorageUsageError
from sightline.storage.base import (
    CHUNK,
    MissingObject,
    Store,
    Stored,
    Transfer,
    check_key,
    disk_errors,
    go_on,
    sha256_file,
)

SPECIAL = frozenset("%{}'\"\\`$?#")  # also means something to shells, templates or kfp


def file_uri(path: Path) -> str:
    """Return `file://` and the path, readable: only what URIs, shells and templates on its way stumble over is escaped.

    Bytes of a file name that are no UTF-8 are escaped too, so that the text can be stored and sent.
    """
    return "file://" + "".join(
        char if char not in SPECIAL and char.isprintable() else quote(os.fsencode(char), safe="") for char in str(path)
    )


def database_uri(folder: Path, name: str = "mlflow.db") -> str:
    """Return the address of the tracking database in a folder; SQLAlchemy and MLflow take `%` and `?` for their own."""
    return "sqlite:///" + f"{folder}/{name}".replace("%", "%25").replace("?", "%3F")


def local_path(uri: str) -> Path:
    """Return the absolute path that `file:///folder` or a plain path means. Raises StorageUsageError."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if not uri:
            raise StorageUsageError("The store's address is empty; expected a path, file:///folder or s3://bucket.")
        return Path(os.path.normpath(Path(os.path.expanduser(uri)).absolute()))  # noqa: PTH111 - Path's raises
    if scheme != "file":
        raise StorageUsageError(f"Scheme {scheme}:// is not supported; expected a path, file:// or s3://.")
    if not rest.startswith("/"):
        raise StorageUsageError(f"{uri!r} names a host; expected an absolute path: file:///{rest}")
    return Path(os.path.normpath(os.fsdecode(unquote_to_bytes(os.fsencode(rest)))))


def unwritable(folder: Path) -> Path | None:
    """Return what is there of a folder's path if nothing can be written in it; null where it is a writable folder.

    Found out by writing: permissions say nothing of read-only file systems, nor to an administrator.
    """
    there = next(part for part in (folder, *folder.parents) if part.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return there if error.errno not in (errno.ENOSPC, errno.EDQUOT) else None


class FileStore(Store):
    """Keys are paths below one folder, which appears with the first file."""

    def __init__(self, root: Path) -> None:
        """Take an absolute folder."""
        self.root = root
        self.uri = file_uri(root)

    def size(self, key: str) -> int | None:
        """Return the bytes under a key, or None if there is nothing."""
        path = self._path(key)
        with disk_errors(path, lambda: None):
            return path.stat().st_size if path.is_file() else None

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data`; readers see the old bytes or the new ones, never a mixture."""
        target = self._path(key)
        with disk_errors(target, lambda: len(data)), replacing(target, durable=True) as beside:
            beside.write_bytes(data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data` where nothing lies under the key yet; tell whether it lies there now."""
        target = self._path(key)
        beside = target.with_name(f".{uuid4().hex}.tmp")
        with disk_errors(target, lambda: len(data)):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_bytes(data)
                os.link(beside, target)  # whole at once, and refused where there is something
            except FileExistsError:
                return False
            finally:
                beside.unlink(missing_ok=True)
        return True

    def get_bytes(self, key: str) -> bytes:
        """Return the bytes under a key. Raises MissingObject."""
        with disk_errors(self._path(key), lambda: None), self._reading(key) as file:
            return file.read()

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        """Yield everything whose key starts with `prefix`, sorted by key."""
        folder, _, _ = prefix.rpartition("/")
        top = self._path(folder) if folder else self.root
        # Unlike pathlib's, this walk passes over folders that another process removes meanwhile.
        paths = (Path(place, name) for place, _, names in os.walk(top) for name in names)
        for key, path in sorted((path.relative_to(self.root).as_posix(), path) for path in paths):
            if not key.startswith(prefix) or (path.name.startswith(".") and path.name.endswith(".tmp")):
                continue
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                status = path.stat()
                yield Stored(key, status.st_size, status.st_mtime)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove what lies under these keys, and folders that are empty then; those at the top stay for writers."""
        for key in keys:
            path = self._path(key)
            with disk_errors(path, lambda: None):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or another process was faster
                for parent in list(path.relative_to(self.root).parents)[:-2]:
                    (self.root / parent).rmdir()

    def put_file(self, key: str, path: Path, check: Callable[[], None] = go_on) -> None:
        """Store a file, whatever lies there; it appears whole or not at all. On a disk `check` is called once."""
        check()
        # A copy, never a link: the sender may go on writing to its file.
        target = self._path(key)
        with disk_errors(target, lambda: path.stat().st_size), replacing(target, durable=True) as beside:
            shutil.copyfile(path, beside)

    def _sound(self, item: Transfer) -> bool:
        return not (item.sha256 and item.sha256 in item.key) or sha256_file(self._path(item.key)) == item.sha256

    def _version(self, key: str) -> str:
        with self._reading(key) as file:
            status = os.fstat(file.fileno())
        return f"{status.st_size:x}-{status.st_mtime_ns:x}"

    def _append(self, key: str, file: BinaryIO, update: Callable[[bytes], None], version: str) -> None:
        with self._reading(key) as source:
            source.seek(file.tell())
            while chunk := source.read(CHUNK):
                file.write(chunk)
                update(chunk)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        if not path.is_file():
            kind = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise MissingObject(f"{self.uri}/{key} {kind}.")
        with open(path, "rb") as file:
            yield file
