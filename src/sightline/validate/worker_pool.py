"""Runs batches of work in processes, one per core and a few batches ahead; no process outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

from sightline.errors import SightlineError
from sightline.runtime import machine
from sightline.runtime.lifetime import end_with_parent
from sightline.runtime.machine import size_text

Batch = TypeVar("Batch")
Result = TypeVar("Result")

BYTES_EACH = 150_000_000  # memory per process: twice what images of five megapixels take
BATCHES_AHEAD = 3  # submitted batches per process
PATIENCE = 2.0  # seconds without a result after which the processes are checked
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forks(ForkContext):
    """Forks processes and keeps them, because only their exit codes tell how they ended."""

    def __init__(self) -> None:
        """Begin without processes."""
        super().__init__()
        self.made: list[BaseProcess] = []
        self._results: SimpleQueue[Any] | None = None

    def Process(self, *args: Any, **options: Any) -> ForkProcess:  # type: ignore[override]  # noqa: N802
        """Return a new process."""
        made = ForkProcess(*args, **options)
        self.made.append(made)
        return made

    def SimpleQueue(self) -> SimpleQueue[Any]:  # noqa: N802
        """Return the queue that carries results."""
        self._results = super().SimpleQueue()
        return self._results

    def wake(self) -> None:
        """If a process has died, end the others and close the pipe of results.

        The pool itself notices a killed process, unless the process died while it wrote a result: then the pool waits
        for the rest of it, which never comes as long as any process, including this one, has the pipe open for writing.
        """
        if self._results is None or not any(process.exitcode for process in self.made):
            return
        for process in self.made:
            process.terminate()
        for process in self.made:
            process.join()
        self._results._writer.close()  # type: ignore[attr-defined]


def pool_size(cores: int, room: int) -> int:
    """Return the number of processes for so many cores and so many bytes of free memory (`room`)."""
    return max(1, min(cores, room // BYTES_EACH))


def map_batches(work: Callable[[Batch], Result], batches: Iterator[Batch], few: int) -> Iterator[tuple[Batch, Result]]:
    """Yield each batch with the result of `work`, in the order of completion.

    Up to `few` batches are done in this process, without a pool. Raises SightlineError if a process is killed.
    """
    first = list(islice(batches, few + 1))
    processes = pool_size(machine.cores(), machine.memory().room)
    if len(first) <= few or processes == 1:
        for batch in chain(first, batches):
            yield batch, work(batch)
        return
    context = Forks()
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(os.getpid(),))
    running: dict[Future[Result], Batch] = {}
    kills = machine.memory_kills()
    try:
        with _signals_deferred():
            running[pool.submit(work, first[0])] = first[0]
        for batch in chain(first[1:], batches):
            running[pool.submit(work, batch)] = batch
            if len(running) >= BATCHES_AHEAD * processes:
                yield from _finished(running, context)
        while running:
            yield from _finished(running, context)
    except BrokenProcessPool:
        pool.shutdown()  # waits until all processes have ended, so that their exit codes are known
        raise _killed(context.made, kills) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer signals that end the work until the processes are started.

    Between a fork and the start of the thread that manages it, an interrupt would be lost, or would leave a process
    running. New processes inherit the deferring handlers, so signals stay blocked in them until they have set their
    own; otherwise a process that is asked to end this early would only record the signal and wait forever.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    received: list[int] = []
    before = {end: signal.signal(end, lambda number, _: received.append(number)) for end in END_SIGNALS}
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        for end, handler in before.items():
            signal.signal(end, handler)
    for number in received:
        signal.raise_signal(number)


def _finished(running: dict[Future[Result], Batch], context: Forks) -> Iterator[tuple[Batch, Result]]:
    while not (done := wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED).done):
        context.wake()
    for future in done:
        yield running.pop(future), future.result()


def _killed(children: list[BaseProcess], kills: int | None) -> SightlineError:
    """Return the error for a killed process, the one that SIGTERM did not end: the pool ends the others with that.

    `kills` is the number of processes that the kernel had killed for want of memory when the pool started.
    """
    ends = {child.pid: -(child.exitcode or 0) for child in children}
    pid, number = next(((pid, end) for pid, end in ends.items() if end > 0 and end != signal.SIGTERM), (None, 0))
    who = f" (pid {pid}) was killed by {signal.Signals(number).name}" if pid else " was killed"
    if pid and number != signal.SIGKILL:
        return SightlineError(
            f"A process that checks images{who}, a crash in the code that decodes them. Check the images in two halves "
            "to find the one that does it; what was checked is not checked again."
        )
    now = machine.memory_kills()
    sure = kills is not None and now is not None and now > kills
    memory = machine.memory()
    limit = f"the container's limit is {size_text(memory.limit)}, " if memory.limit is not None else ""
    return SightlineError(
        f"A process that checks images{who}, {'because memory ran out' if sure else 'most likely for want of memory'}: "
        f"{limit}{size_text(memory.room)} of {size_text(memory.most)} are free now. Lower data.policy.thresholds."
        "max_megapixels, or give the machine more; what was checked is not checked again."
    )


def _begin(parent: int) -> None:
    """Set a new process up: it leaves Ctrl-C to the parent, and ends on SIGTERM and when the parent is gone.

    A fork inherits the handlers of the parent, which would keep it from ending, and its open files: an orphan would
    hold the lock of the index forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    end_with_parent(parent)
