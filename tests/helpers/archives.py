"""Archives: plain ones, hostile ones, and zeros without end."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from tests.helpers.content import MIB


def zip_with(path: Path, name: str, mode: int = 0o100644, size: int | None = None) -> Path:
    """Pack one member of this name and mode that claims to have this size."""
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, b"target")
        if size:
            file.infolist()[0].file_size = size
    return path


def tar_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    """Pack one member of this name and kind, a link to `link` perhaps."""
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = 6 if kind == tarfile.REGTYPE else 0
        file.addfile(info, io.BytesIO(b"target"))
    return path


class Zeros(io.RawIOBase):
    """As many zeros as are read."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


TARS = {"tar.gz": {"compresslevel": 1}, "tar.bz2": {"compresslevel": 1}, "tar.xz": {"preset": 0}}


def packed(path: Path, files: dict[str, bytes | int]) -> Path:
    """Pack files, given as bytes or as a number of zeros."""
    kind = path.name.partition(".")[2]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, content in files.items():
                with file.open(name, "w") as member:
                    chunks = [content] if isinstance(content, bytes) else [bytes(MIB)] * (content // MIB)
                    for chunk in chunks:
                        member.write(chunk)
        return path
    with tarfile.open(path, f"w:{kind.removeprefix('tar.')}", **TARS[kind]) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = content if isinstance(content, int) else len(content)
            file.addfile(info, Zeros() if isinstance(content, int) else io.BytesIO(content))
    return path


def zip_of(path: Path, *names: str) -> Path:
    """Pack small files of these names."""
    with zipfile.ZipFile(path, "w") as file:
        for number, name in enumerate(names):
            file.writestr(name, str(number))
    return path
