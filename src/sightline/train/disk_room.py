"""Whether disks have room for what a training will write; several folders may lie on one disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.errors import StorageError, no_space_left
from sightline.storage import work_root


class Room(NamedTuple):
    """What will be written to a folder."""

    folder: Path
    needed: int  # bytes
    what: str
    instead: str = work_root.ELSEWHERE  # what a user can do other than making room


def full_disks(rooms: Sequence[Room]) -> list[StorageError]:
    """Return an error for each disk that cannot take what will be written to it."""
    errors = []
    for free, together in by_disk(rooms):
        needed = sum(room.needed for room in together)
        if free < needed:
            largest = max(together, key=lambda room: room.needed)
            what = " and ".join(dict.fromkeys(room.what for room in together))
            errors.append(no_space_left(largest.folder, needed, what, instead=largest.instead))
    return errors


def by_disk(rooms: Sequence[Room]) -> list[tuple[int, list[Room]]]:
    """Return the free bytes of each disk, and what will be written to it."""
    disks: dict[int, tuple[int, list[Room]]] = {}
    for room in rooms:
        there = next(parent for parent in (room.folder, *room.folder.absolute().parents) if parent.exists())
        usage = shutil.disk_usage(there)
        if usage.total:  # /proc and the like have no size; writing there fails by itself
            disks.setdefault(there.stat().st_dev, (usage.free, []))[1].append(room)
    return list(disks.values())


def tightest(rooms: Sequence[Room]) -> tuple[int | None, int]:
    """Return free and needed bytes of the disk that has least to spare."""
    disks = [(free, sum(room.needed for room in together)) for free, together in by_disk(rooms)]
    return min(disks, key=lambda disk: disk[0] - disk[1], default=(None, 0))
