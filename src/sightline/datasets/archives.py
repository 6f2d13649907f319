"""Unpacks archives of strangers: nothing lands outside the folder, no link is made, no bomb goes off.

What an archive may unpack to is bounded by its own size and by the free disk. The bound is looser for images that are
not compressed themselves: drawn ones shrink as much as a bomb of zeros does (see `pixels`).
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sightline.datasets.archive_budget import ALWAYS_ALLOWED, MAX_RAW_RATIO, OVERHEAD, Budget, no_space
from sightline.errors import DataError
from sightline.image_files import pixel_bytes

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
KINDS = "a .zip or a .tar, .tar.gz, .tar.bz2 or .tar.xz archive"
LARGEST_READ = 2**24  # bytes read at once, as a tar's headers are; of a sound archive they are far smaller
DRIVE = re.compile(r"[A-Za-z]:")  # how an absolute path starts on Windows
START_OF_ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX")  # how gzip, bzip2 and xz start
UNREAD = {  # how archives start that are not read, and their suffixes
    b"Rar!": ("RAR", (".rar",)),
    b"7z\xbc\xaf\x27\x1c": ("7z", (".7z",)),
    b"\x28\xb5\x2f\xfd": ("Zstandard", (".zst", ".tzst")),
    b"\x04\x22\x4d\x18": ("LZ4", (".lz4",)),
    b"LZIP": ("lzip", (".lz",)),
    b"\x1f\x9d": ("compress", (".z",)),
}
UNREAD_SUFFIXES = tuple(suffix for _, suffixes in UNREAD.values() for suffix in suffixes)
ENCRYPTED = 1  # the bit in the flags of a zip's member
METHODS = {0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
DEREFERENCE = "Pack the files themselves (tar --dereference)."
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, KeyError, ValueError)
OPENERS = (open, gzip.open, bz2.open, lzma.open)  # of tar files


@dataclass(frozen=True)
class Member:
    """One regular file in an archive; `size` is in bytes, 0 for a link."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


class _Bounded(io.RawIOBase):
    """The content of a tar file. Reads no header that is made to fill the memory, and ends after `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        data = self.stream.read(size)
        self._count(len(data))
        return data

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        before = self.stream.tell()
        after = self.stream.seek(place, whence)
        self._count(max(after - before, 0))
        return after

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise tarfile.ReadError("it goes on and on between its members")

    def tell(self) -> int:
        return self.stream.tell()

    def close(self) -> None:
        self.stream.close()
        super().close()


def names(archive: Path, folder: Path, name: str) -> list[str]:
    """Return the names of the files in `archive`, which is not unpacked into `folder`; raises like `unpack`."""
    found: list[str] = []

    def note(member: str) -> bool:
        found.append(member)
        return False

    unpack(archive, folder, name, note)
    return found


def unpack(archive: Path, folder: Path, name: str, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Unpack `archive`, which the user knows as `name`, into `folder`: the members whose names are `wanted`.

    Raises DataError: not an archive, damaged, encrypted, a member outside the folder, a device, or a bomb. Raises
    StorageError for more than the disk has room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget = Budget(name, archive.stat().st_size, folder)
    try:
        for member in _members(archive, folder, name, budget):
            if wanted(member.name):
                _write(member, folder / member.name, name, budget)
    except DAMAGED as error:
        raise DataError(f"{name} is damaged: {error}. Make or download the archive again.") from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked: {error}. Pack it again.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(name, budget.written, folder) from None
        if error.errno is None:  # of gzip and bz2
            raise DataError(f"{name} is damaged: {error}. Make or download the archive again.") from None
        raise


def _write(member: Member, path: Path, name: str, budget: Budget) -> None:
    try:
        source = member.open()
    except RecursionError:
        raise DataError(f"{name} is damaged: member '{member.name}' is a link that leads back to itself.") from None
    if source is None:
        raise DataError(f"{name}: member '{member.name}' is a link to a folder; expected files. {DEREFERENCE}")
    budget.spend(OVERHEAD)
    with source:
        chunk = source.read(pixel_bytes.HEAD)
        promised = pixel_bytes.promised(member.name, chunk)
        budget.check(member.size, raw=min(member.size, promised))
        written = 0
        with _created(member, path, name) as target:
            while chunk:
                budget.spend(len(chunk), raw=max(0, min(len(chunk), promised - written)))
                target.write(chunk)
                written += len(chunk)
                chunk = source.read(2**20)
    if promised == pixel_bytes.LATER and (more := min(written, promised) - pixel_bytes.in_file(path)) > 0:
        budget.correct(more)


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


def _members(archive: Path, folder: Path, name: str, budget: Budget) -> Iterator[Member]:
    with archive.open("rb") as file:
        start = file.read(max(map(len, UNREAD)))
    if not start:
        raise DataError(f"{name} is empty: a file of 0 bytes. Make or download the archive again.")
    # A tar file may hold a zip file, whose list of members then lies where that of a zip file itself would.
    tar = None if start.startswith((START_OF_ZIP, EMPTY_ZIP)) else _tar(archive, budget)
    if tar:
        return _tar_members(tar, folder, name)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive, name, budget)
    for kind, (called, _) in UNREAD.items():
        if start.startswith(kind):
            raise _unread(name, called)
    if start.startswith(START_OF_ZIP):
        message = "is cut short: the list of files at its end is missing. Make or download the archive again."
        raise DataError(f"{name} {message}")
    what = "is damaged, or holds no tar file" if start.startswith(COMPRESSED) else "is not a readable archive"
    raise DataError(f"{name} {what}; expected a folder, or {KINDS}.")


def _unread(name: str, kind: str) -> DataError:
    """Return the error for an archive of a kind that is not read."""
    return DataError(f"{name} is a {kind} archive, which is not read; expected a folder, or {KINDS}. Unpack it.")


def check_kind(uri: str) -> None:
    """Raise DataError for the name of an archive of a kind that is not read."""
    for called, suffixes in UNREAD.values():
        if uri.lower().endswith(suffixes):
            raise _unread(uri, called)


def _tar(archive: Path, budget: Budget) -> tarfile.TarFile | None:
    """Open a tar file, however it is compressed; None if it is none."""
    for opener in OPENERS:
        stream = cast(IO[bytes], opener(archive, "rb"))
        try:
            bounded = _Bounded(stream, max(ALWAYS_ALLOWED, 2 * MAX_RAW_RATIO * budget.packed))
            return tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:")
        except (*DAMAGED, OSError):
            stream.close()
    return None


def _zip_members(archive: Path, name: str, budget: Budget) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        size = sum(info.file_size for info in file.infolist())
        budget.check(size, raw=size)  # before anything is written
        for info in file.infolist():
            check_name(name, info.filename)
            _check_method(name, info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{name}: member '{info.filename}' is a link or a device; expected files and folders.")
            path = info.filename.replace("\\", "/")  # some packers on Windows write it so, against the standard
            if not path.endswith("/"):
                yield Member(path, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _tar_members(tar: tarfile.TarFile, folder: Path, name: str) -> Iterator[Member]:
    """Links become copies of what they point to, so that none exists on the disk."""
    with tar, cast(IO[bytes], tar.fileobj) as stream:
        for info in tar:
            check_name(name, info.name)
            if info.issym() or info.islnk():
                base = PurePosixPath(info.name).parent if info.issym() else PurePosixPath()
                _check_link(name, info.name, base, info.linkname)
                yield Member(info.name, 0, partial(_linked, tar, info, folder, base / info.linkname, name))
                continue
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{name}: member '{info.name}' is a device or a pipe; expected files and folders.")
            if not info.isdir():
                yield Member(info.name, info.size, partial(tar.extractfile, info))
        while stream.read(2**20):  # checksums lie behind the last member
            pass


def _linked(
    tar: tarfile.TarFile, info: tarfile.TarInfo, folder: Path, link: PurePosixPath, name: str
) -> IO[bytes] | None:
    """Open what a link points to: what is unpacked already, or what comes later in the archive; None for a folder."""
    inside = os.path.normpath(link)
    target = folder / inside
    if target.is_file():
        return target.open("rb")
    if target.is_dir():
        return None
    try:
        return tar.extractfile(info)
    except KeyError:
        if any(os.path.normpath(member).startswith(inside + "/") for member in tar.getnames()):
            return None
        message = f"member '{info.name}' is a link to '{info.linkname}', which is not in the archive"
        raise DataError(f"{name}: {message}. {DEREFERENCE}") from None


def _check_method(archive: str, info: zipfile.ZipInfo) -> None:
    """Refuse a member of a zip whose content cannot be read. Raises DataError."""
    if info.flag_bits & ENCRYPTED:
        raise DataError(
            f"{archive} is encrypted: member '{info.filename}' needs a password. Pack it again, without one."
        )
    if info.compress_type not in METHODS:
        method = zipfile.compressor_names.get(info.compress_type, f"number {info.compress_type}")  # type: ignore[attr-defined]
        raise DataError(
            f"{archive}: member '{info.filename}' is compressed by the method {method}, which is not read; expected "
            "deflate, bzip2 or LZMA. Pack it again, or unpack it and pass the folder."
        )


def check_name(archive: str, member: str) -> None:
    """Refuse a member (or an object key) that would land outside the folder. Raises DataError."""
    parts = member.replace("\\", "/").split("/")
    if member.startswith(("/", "\\")) or ".." in parts or DRIVE.match(member) or "\0" in member:
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
            f"{archive}: member '{member}' is a link that points outside the archive, to '{target}'. {DEREFERENCE}"
        )
