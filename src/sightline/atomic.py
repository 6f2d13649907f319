"""Files that no reader ever sees half of: written beside their place, and renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from sightline.errors import FULL, no_space_left


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a path beside `path` to write to, which takes its place when the block ends without an error.

    `durable` waits until the bytes are on the disk, so that not even a power cut leaves half of them. The name gets a
    new file each time: runs share files by hard links, and the other name keeps the old bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid4().hex}.tmp")
    try:
        yield beside
        if durable:
            with open(beside, "rb") as file:
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file. Raises StorageError where the disk is full."""
    try:
        with replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        raise (no_space_left(path, len(data)) if error.errno in FULL else error) from None


def write_text(path: Path, text: str) -> None:
    """Like `write_bytes`, for UTF-8 text."""
    write_bytes(path, text.encode())
