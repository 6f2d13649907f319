"""Unpacks archives of strangers: nothing lands outside the folder, no link is made, no bomb goes off."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sightline.errors import DataError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
KINDS = "a .zip or a .tar, .tar.gz, .tar.bz2 or .tar.xz archive"
MAX_RATIO = 100  # unpacked bytes per packed byte; photographs are near 1, label files near 10
ALWAYS_ALLOWED = 20 * 2**30  # bytes that may be unpacked whatever the ratio
START_OF_ZIP = b"PK\x03\x04"
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, KeyError, ValueError)


@dataclass(frozen=True)
class Member:
    """One regular file in an archive; `size` is in bytes."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack `archive`, which the user knows as `name`, into `folder`.

    Raises DataError: not an archive, damaged, encrypted, a member outside the folder, a device, or a bomb.
    """
    limit = max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)
    total = 0
    try:
        for member in _members(archive, name):
            if total + member.size > limit:
                raise DataError(
                    f"{name} unpacks to more than {limit / 2**30:.0f} GiB out of {archive.stat().st_size} bytes. "
                    f"That is no data set; at most {MAX_RATIO} times the packed size is allowed beyond 20 GiB."
                )
            total += _write(member, folder / member.name, name)
    except DAMAGED as error:
        raise DataError(f"{name} is damaged: {error}. Make or download the archive again.") from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked: {error}. Pack it again, without a password.") from None


def _write(member: Member, path: Path, name: str) -> int:
    """Return the bytes written, which for a link are not the size that the archive states."""
    try:
        source = member.open()
    except RecursionError:
        raise DataError(f"{name} is damaged: member '{member.name}' is a link that leads back to itself.") from None
    if source is None:
        raise DataError(f"{name}: member '{member.name}' is a link to a folder; expected files.")
    with source, _created(member, path, name) as target:
        shutil.copyfileobj(source, target, 2**20)
        return target.tell()


def _created(member: Member, path: Path, name: str) -> IO[bytes]:
    """Create the file of a member. Raises DataError, without a path of ours in it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except (FileExistsError, NotADirectoryError):
        what = "is in it twice" if path.is_file() else "is both a file and a folder in it"
        raise DataError(f"{name} is damaged: '{member.name}' {what}. Pack the files again.") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        long = f"'{member.name[:60]}…', of {len(os.fsencode(member.name))} bytes"
        message = "is too long a name for this disk; expected at most 255 bytes for a file or folder"
        raise DataError(f"{name}: member {long}, {message}.") from None


def _members(archive: Path, name: str) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        return _zip_members(archive, name)
    try:
        tar = tarfile.open(archive)  # noqa: SIM115 closed by the generator
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
        with archive.open("rb") as file:
            if file.read(len(START_OF_ZIP)) == START_OF_ZIP:
                message = "is cut short: the list of files at its end is missing. Make or download the archive again."
                raise DataError(f"{name} {message}") from None
        raise DataError(f"{name} is not a readable archive; expected a folder, or {KINDS}.") from None
    return _tar_members(tar, name)


def _zip_members(archive: Path, name: str) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            check_name(name, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{name}: member '{info.filename}' is a link or a device; expected files and folders.")
            path = info.filename.replace("\\", "/")  # some packers on Windows write it so, against the standard
            if not path.endswith("/"):
                yield Member(path, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _tar_members(tar: tarfile.TarFile, name: str) -> Iterator[Member]:
    """Links become copies of what they point to, so that none exists on the disk."""
    with tar:
        for info in tar:
            check_name(name, info.name)
            if info.issym() or info.islnk():
                base = PurePosixPath(info.name).parent if info.issym() else PurePosixPath()
                _check_link(name, info.name, base, info.linkname)
            elif not (info.isreg() or info.isdir()):
                raise DataError(f"{name}: member '{info.name}' is a device or a pipe; expected files and folders.")
            if not info.isdir():
                yield Member(info.name, info.size, lambda info=info: tar.extractfile(info))  # type: ignore[misc]


def check_name(archive: str, member: str) -> None:
    """Refuse a member (or an object key) that would land outside the folder. Raises DataError."""
    parts = member.replace("\\", "/").split("/")
    if member.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in member:
        raise DataError(
            f"{archive}: member '{member}' points outside the archive (an absolute path or '..'). "
            "Nothing was unpacked from it; get the archive from its author again."
        )


def _check_link(archive: str, member: str, base: PurePosixPath, target: str) -> None:
    depth = 0
    outside = target.startswith("/")
    for part in (base / target).parts:
        depth += -1 if part == ".." else 1
        outside = outside or depth < 0
    if outside:
        raise DataError(
            f"{archive}: member '{member}' is a link that points outside the archive, to '{target}'. "
            "Pack the files themselves (tar --dereference)."
        )
