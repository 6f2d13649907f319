"""A real control group that limits memory, whichever version of control groups this machine has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(size: int) -> Iterator[list[str]]:
    """Yield the words to put before a command that gets `size` bytes of memory; skips where this user may not."""
    first = ROOT / "memory"  # version 1 has a folder for each kind
    parent = first if first.is_dir() else ROOT
    group, limit = parent / f"sightline-fault-{os.getpid()}", f"memory.{'limit_in_bytes' if parent == first else 'max'}"
    try:
        if parent == ROOT:
            (parent / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
        (group / limit).write_text(str(size))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"needs the right to make control groups: {error}")
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        group.rmdir()
