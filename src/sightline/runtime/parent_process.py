"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, see prctl(2)


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal once `parent`, which started it, is gone, even by kill -9."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), number)
