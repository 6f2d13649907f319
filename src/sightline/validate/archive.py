"""Unpacks archives of strangers: nothing lands outside the folder, no link is made, no bomb goes off.

What an archive may unpack to is bounded by its own size and by the free disk. The bound is looser for pictures that are
not compressed themselves, which is told by their first bytes: drawn ones shrink as much as a bomb of zeros does.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from sightline.errors import DataError, StorageError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
KINDS = "a .zip or a .tar, .tar.gz, .tar.bz2 or .tar.xz archive"
MAX_RATIO = 100  # unpacked bytes per packed byte; photographs are near 1, label files near 10, drawn PNGs of one
# colour reach 50 in xz
MAX_RAW_RATIO = 2000  # the same for BMP and TIFF; drawn ones of a few shapes reach 360 in zip, 1,600 in bz2 and xz
RAW = (b"BM", b"II*\x00", b"MM\x00*")  # how these start
ALWAYS_ALLOWED = 64 * 2**20  # bytes that may be unpacked whatever the ratio
OVERHEAD = 512  # bytes that each member counts beside its content: a disk runs out of names too
SHARE = 0.9  # of the free disk that may be filled; the index and the snapshot need some as well
LARGEST_READ = 2**24  # bytes read at once, as a tar's headers are; of a sound archive they are far smaller
START_OF_ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX")  # how gzip, bzip2 and xz start
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, KeyError, ValueError)
OPENERS = (open, gzip.open, bz2.open, lzma.open)  # of tar files


@dataclass(frozen=True)
class Member:
    """One regular file in an archive; `size` is in bytes, 0 for a link."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


class _Budget:
    """What an archive may still unpack to, in bytes."""

    def __init__(self, name: str, packed: int, folder: Path) -> None:
        self.name, self.packed, self.folder = name, packed, folder
        self.limit = max(ALWAYS_ALLOWED, MAX_RATIO * packed)
        self.free = SHARE * shutil.disk_usage(folder).free
        self.cost, self.written = 0.0, 0

    def check(self, size: int, *, raw: bool) -> float:
        """Return what `size` bytes cost. Raises DataError or StorageError if they are too many."""
        cost = size * MAX_RATIO / MAX_RAW_RATIO if raw else float(size)
        if self.cost + cost > self.limit:
            raise DataError(
                f"{self.name}, of {_bytes(self.packed)}, unpacks to {_bytes(self.written + size)} or more, as archives "
                f"do that are made to fill a disk. Beyond {_bytes(ALWAYS_ALLOWED)} at most {MAX_RATIO} times the "
                f"packed size is allowed, {MAX_RAW_RATIO:,} times for BMP and TIFF. If you trust it, unpack it and "
                "pass the folder."
            )
        if self.written + size > self.free:
            raise no_space(self.name, self.written + size, self.folder)
        return cost

    def spend(self, size: int, *, raw: bool) -> None:
        """Count bytes that are about to be written."""
        self.cost += self.check(size, raw=raw)
        self.written += size


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


def no_space(name: str, needed: int, folder: Path) -> StorageError:
    """Return the error for what does not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    return StorageError(
        f"{name} needs {_bytes(needed)} or more on the disk of {folder.parent}, where {_bytes(free)} are free. "
        "Free some space, or point TMPDIR at a larger disk."
    )


def check_space(name: str, needed: int, folder: Path) -> None:
    """Raise StorageError if `needed` bytes would fill the disk of `folder`."""
    if needed > SHARE * shutil.disk_usage(folder).free:
        raise no_space(name, needed, folder)


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack `archive`, which the user knows as `name`, into `folder`.

    Raises DataError: not an archive, damaged, encrypted, a member outside the folder, a device, or a bomb. Raises
    StorageError for more than the disk has room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget = _Budget(name, archive.stat().st_size, folder)
    try:
        for member in _members(archive, folder, name, budget):
            _write(member, folder / member.name, name, budget)
    except DAMAGED as error:
        raise DataError(f"{name} is damaged: {error}. Make or download the archive again.") from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked: {error}. Pack it again, without a password.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(name, budget.written, folder) from None
        if error.errno is None:  # of gzip and bz2
            raise DataError(f"{name} is damaged: {error}. Make or download the archive again.") from None
        raise


def _write(member: Member, path: Path, name: str, budget: _Budget) -> None:
    try:
        source = member.open()
    except RecursionError:
        raise DataError(f"{name} is damaged: member '{member.name}' is a link that leads back to itself.") from None
    if source is None:
        raise DataError(f"{name}: member '{member.name}' is a link to a folder; expected files.")
    budget.spend(OVERHEAD, raw=False)
    with source:
        chunk = source.read(max(map(len, RAW)))
        raw = chunk.startswith(RAW)
        budget.check(member.size, raw=raw)
        with _created(member, path, name) as target:
            while chunk:
                budget.spend(len(chunk), raw=raw)
                target.write(chunk)
                chunk = source.read(2**20)


def _bytes(size: float) -> str:
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    place = min(int(max(size, 1)).bit_length() // 10, len(units) - 1)
    return f"{size / 1024**place:.4g} {units[place]}"


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


def _members(archive: Path, folder: Path, name: str, budget: _Budget) -> Iterator[Member]:
    with archive.open("rb") as file:
        start = file.read(len(START_OF_ZIP))
    # A tar file may hold a zip file, whose list of members then lies where that of a zip file itself would.
    tar = None if start in (START_OF_ZIP, EMPTY_ZIP) else _tar(archive, budget)
    if tar:
        return _tar_members(tar, folder, name)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive, name, budget)
    if start == START_OF_ZIP:
        message = "is cut short: the list of files at its end is missing. Make or download the archive again."
        raise DataError(f"{name} {message}")
    what = "is damaged, or holds no tar file" if start.startswith(COMPRESSED) else "is not a readable archive"
    raise DataError(f"{name} {what}; expected a folder, or {KINDS}.")


def _tar(archive: Path, budget: _Budget) -> tarfile.TarFile | None:
    """Open a tar file, however it is compressed; None if it is none."""
    for opener in OPENERS:
        stream = cast(IO[bytes], opener(archive, "rb"))
        try:
            bounded = _Bounded(stream, max(ALWAYS_ALLOWED, 2 * MAX_RAW_RATIO * budget.packed))
            return tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:")
        except (*DAMAGED, OSError):
            stream.close()
    return None


def _zip_members(archive: Path, name: str, budget: _Budget) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        budget.check(sum(info.file_size for info in file.infolist()), raw=True)  # before anything is written
        for info in file.infolist():
            check_name(name, info.filename)
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
                yield Member(info.name, 0, partial(_linked, tar, info, folder / base / info.linkname))
                continue
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{name}: member '{info.name}' is a device or a pipe; expected files and folders.")
            if not info.isdir():
                yield Member(info.name, info.size, partial(tar.extractfile, info))
        while stream.read(2**20):  # checksums lie behind the last member
            pass


def _linked(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> IO[bytes] | None:
    """Open what a link points to: what is unpacked already, or what comes later in the archive."""
    target = Path(os.path.normpath(target))
    return target.open("rb") if target.is_file() else tar.extractfile(info)


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
