"""Ends a process when another one ends, even by kill -9.

There are two ways, because neither is enough. The kernel's signal (prctl) reaches a process that is stuck in native
code, but follows only the parent. The command of a run is not the parent of its tasks, since a runner and a shell stand
in between: following it takes a thread that waits for a process descriptor.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import threading
import time

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)
COMMAND_VARIABLE = "SIGHTLINE_COMMAND"  # the process that a pipeline task on this machine must not outlive
GRACE_SECONDS = 40.0  # to end by itself, with what it writes and uploads


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal once `parent`, which started it, is gone."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), number)


def end_with_command() -> None:
    """End this process soon after the command that `SIGHTLINE_COMMAND` names.

    Without the variable, as on a cluster, there is nothing to wait for.
    """
    command = os.environ.get(COMMAND_VARIABLE)
    if not command:
        return

    def watch() -> None:
        with contextlib.suppress(ProcessLookupError):
            waiting = select.poll()
            waiting.register(os.pidfd_open(int(command)), select.POLLIN)
            waiting.poll()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
