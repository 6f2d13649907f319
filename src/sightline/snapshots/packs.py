"""Images in tar files of about 64 MB, each named by what is in it.

A pack's key is the sha256 over its members' names, which hold the images' sha256: the same images make the same pack
wherever they are packed, its size is known before it is made, and its names alone show that it is complete.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.errors import DataError

PACK_BYTES = 64 * 2**20
PACK_IMAGES = 8192  # so that a pack of tiny images is no crowded folder
BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE  # tar pads a file to blocks, and itself to records
MEMBER = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]+)?")


class Member(NamedTuple):
    """One image to be packed; `source` names it for the reader."""

    sha256: str
    suffix: str
    bytes: int
    image: str
    source: str


class BadPack(Exception):
    """What is wrong with a pack, to be reported with where it lies."""


def room(size: int) -> int:
    """Return the bytes that an image of `size` bytes takes up in a pack."""
    return BLOCK - (-size // BLOCK) * BLOCK


def pack_size(members: Iterable[Member]) -> int:
    """Return the bytes of the tar file."""
    return -(-(sum(room(member.bytes) for member in members) + 2 * BLOCK) // RECORD) * RECORD


def key_of(names: Iterable[str]) -> str:
    """Return the key of a pack with members of these names, in this order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def pack_key(members: Iterable[Member]) -> str:
    """Return the key of the pack of these images."""
    return key_of(member.sha256 + member.suffix for member in members)


def group_bits(images: int, size: int) -> int:
    """Return by how many leading bits of their sha256 to group images that take up `size` bytes in packs."""
    return max(0, round(math.log2(max(size / PACK_BYTES, images / PACK_IMAGES, 1))))


def group_of(sha256: str, bits: int) -> int:
    """Return the group of an image."""
    return int(sha256[:8], 16) >> (32 - bits)


def write_pack(path: Path, members: Sequence[Member]) -> None:
    """Write a tar file whose bytes depend only on its members. Raises DataError if an image is not what it was."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            data = _read(member)
            if data is None or hashlib.sha256(data).hexdigest() != member.sha256:
                raise DataError(f"{member.source} changed while it was being read. Validate again when it is at rest.")
            entry = tarfile.TarInfo(member.sha256 + member.suffix)  # its other fields are 0 or empty by default
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _read(member: Member) -> bytes | None:
    try:
        with open(member.image, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None


def unpack(path: Path, key: str, folder: Path) -> None:
    """Write a pack's images to `folder`, each under its sha256, which it is found to have. Raises BadPack.

    They cannot be written to: data sets hold hard links to them.
    """
    names = []
    limit = path.stat().st_size  # a sparse member claims any size
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                name = MEMBER.fullmatch(entry.name)
                if not entry.isreg() or entry.size > limit or not name:
                    raise BadPack(f"{entry.name!r} in it is no image")
                names.append(entry.name)
                data = tar.extractfile(entry).read()  # type: ignore[union-attr]  # a regular file has one
                if hashlib.sha256(data).hexdigest() != name[1]:
                    raise BadPack(f"{entry.name} in it has other bytes")
                with open(os.open(folder / name[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
                    file.write(data)
                tar.members = []  # type: ignore[attr-defined]  # tarfile remembers all it has seen
    except FileExistsError:
        raise BadPack("it holds an image twice") from None
    except tarfile.TarError as error:
        raise BadPack(f"it is no tar file, or not all of one: {error}") from None
    if key_of(names) != key:
        raise BadPack("it does not hold the images that its key names")
