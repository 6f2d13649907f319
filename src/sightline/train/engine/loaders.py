"""Loader processes that end where they cannot hand over what they loaded."""

from __future__ import annotations

import os
import re
import signal
import traceback
from multiprocessing import parent_process, queues


def end_when_shared_memory_is_full() -> None:
    """Have loaders that are forked from this process end by SIGBUS where /dev/shm has no room for a batch.

    They put batches there in a thread, and Python drops what such a thread cannot put, with no more than a traceback:
    training then waits for that batch for ever. That a loader ended is seen at once, and why.
    """

    def failed(error: Exception, item: object) -> None:
        traceback.print_exception(error)
        if parent_process() is not None and re.search(r"shared memory|</torch_", str(error)):
            os.kill(os.getpid(), signal.SIGBUS)

    queues.Queue._on_queue_feeder_error = staticmethod(failed)  # type: ignore[attr-defined]
