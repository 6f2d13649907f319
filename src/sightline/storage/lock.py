"""Locks between processes: a file that one of them holds, or several at the same time (flock).

A lock belongs to its process and dies with it, however that ends, so nothing has to be cleaned up after a kill. A child
holds it too only if the descriptor is handed on to it; then the lock lasts until the last of them is gone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Lock:
    """A lock file; what its holder writes into it says who that is."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is made where it is missing; nothing is held yet. Raises OSError."""
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go."""
        os.close(self.descriptor)

    def take(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Hold the lock, alone or `shared`; returns false if another process does, and `wait` is false."""
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def in_place(self) -> bool:
        """Tell whether the file still lies under its path: a holder may have removed it while this process waited."""
        return self.path.exists() and os.path.samestat(os.fstat(self.descriptor), self.path.stat())

    def read(self) -> str:
        """Return what a holder wrote, also of a file that was removed."""
        return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0).decode(errors="replace")

    def write(self, text: str) -> None:
        """Replace what the file says. Raises OSError."""
        data = text.encode()
        os.pwrite(self.descriptor, data, 0)
        os.ftruncate(self.descriptor, len(data))
