"""Locks between processes: one holder, several together, and none that a dead process still holds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sightline.storage.lock import Lock

HOLD = """
import pathlib, subprocess, sys, time
from sightline.storage.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
lock.take(shared=sys.argv[2] == "shared")
lock.write("held by a test")
if sys.argv[2] == "handed on":
    subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor])
else:
    subprocess.Popen(["sleep", "60"])
print("held", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def held(path: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock and has a child; both die with the block."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def test_a_lock_is_held_by_one_process_which_it_names(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock") as lock:
        with held(tmp_path / "lock"):
            assert not lock.take(wait=False)
            assert not lock.take(wait=False, shared=True)
            assert lock.read() == "held by a test"
        assert lock.take(wait=False)
        lock.write("mine")
        assert (tmp_path / "lock").read_text() == "mine"


def test_shared_locks_keep_out_only_who_wants_it_alone(tmp_path: Path) -> None:
    with held(tmp_path / "lock", "shared"), Lock(tmp_path / "lock") as lock:
        assert not lock.take(wait=False)
        assert lock.take(wait=False, shared=True)


def test_a_killed_process_holds_nothing_unless_it_handed_the_lock_on(tmp_path: Path) -> None:
    for how, free in (("alone", True), ("handed on", False)):
        with held(tmp_path / how, how) as process, Lock(tmp_path / how) as lock:
            process.kill()
            process.wait()
            assert lock.take(wait=False) == free


def test_a_removed_lock_is_noticed_and_still_says_what_its_holder_wrote(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock") as late:
        with Lock(tmp_path / "lock") as lock:
            lock.take()
            (tmp_path / "lock").unlink()
            lock.write("done")
            assert not late.take(wait=False)
        assert late.take()
        assert late.read() == "done"
        assert not late.in_place()
        with Lock(tmp_path / "lock") as other:
            assert other.in_place()
            assert not late.in_place()
