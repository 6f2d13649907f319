"""What an archive may unpack to, so that none fills the disk: bounded by its own size, and by what is free."""

from __future__ import annotations

import shutil
from pathlib import Path

from sightline.errors import DataError, StorageError

MAX_RATIO = 100  # unpacked bytes per packed byte; photographs are near 1, label files near 10, drawn PNGs of one
# colour reach 50 in xz
MAX_RAW_RATIO = 2000  # the same for BMP and TIFF; drawn ones of a few shapes reach 360 in zip, 1,600 in bz2 and xz
ALWAYS_ALLOWED = 64 * 2**20  # bytes that may be unpacked whatever the ratio
OVERHEAD = 512  # bytes that each member counts beside its content: a disk runs out of names too
SHARE = 0.9  # of the free disk that may be filled; the index and the snapshot need some as well


class Budget:
    """What an archive may still unpack to, in bytes."""

    def __init__(self, name: str, packed: int, folder: Path) -> None:
        """Begin for the archive `name` of `packed` bytes, which is unpacked into `folder`."""
        self.name, self.packed, self.folder = name, packed, folder
        self.limit = max(ALWAYS_ALLOWED, MAX_RATIO * packed)
        self.free = SHARE * shutil.disk_usage(folder).free
        self.cost, self.written = 0.0, 0

    def check(self, size: int, *, raw: int = 0) -> float:
        """Return what `size` bytes cost, of which `raw` are pixels that may shrink well.

        Raises DataError or StorageError if they are too many.
        """
        cost = size - raw + raw * MAX_RATIO / MAX_RAW_RATIO
        if self.cost + cost > self.limit:
            raise DataError(
                f"{self.name}, of {_bytes(self.packed)}, unpacks to {_bytes(self.written + size)} or more, as archives "
                f"do that are made to fill a disk. Beyond {_bytes(ALWAYS_ALLOWED)} at most {MAX_RATIO} times the "
                f"packed size is allowed, {MAX_RAW_RATIO:,} times for pixels of BMP and TIFF. If you trust it, unpack "
                "it and pass the folder."
            )
        if self.written + size > self.free:
            raise no_space(self.name, self.written + size, self.folder)
        return cost

    def spend(self, size: int, *, raw: int = 0) -> None:
        """Count bytes that are about to be written."""
        self.cost += self.check(size, raw=raw)
        self.written += size

    def correct(self, size: int) -> None:
        """Count bytes in full that were written as pixels and are none."""
        self.cost -= size * MAX_RATIO / MAX_RAW_RATIO
        self.written -= size
        self.spend(size)


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


def _bytes(size: float) -> str:
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    place = min(int(max(size, 1)).bit_length() // 10, len(units) - 1)
    return f"{size / 1024**place:.4g} {units[place]}"
