"""Runs batches of work in processes, one a core, a few batches ahead, and none of them outlives its parent."""

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

In = TypeVar("In")
Out = TypeVar("Out")

BYTES_EACH = 150_000_000  # bytes a process, twice what one takes for pictures of five megapixels
BATCHES_AHEAD = 3  # batches that wait for each process
PATIENCE = 2.0  # seconds without a result after which it is asked whether a process is gone
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forks(ForkContext):
    """Makes processes by forking, and remembers them: how one ended is all that is known of its end."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.made: list[BaseProcess] = []
        self._results: SimpleQueue[Any] | None = None

    def Process(self, *args: Any, **options: Any) -> ForkProcess:  # type: ignore[override]  # noqa: N802
        """Make one."""
        made = ForkProcess(*args, **options)
        self.made.append(made)
        return made

    def SimpleQueue(self) -> SimpleQueue[Any]:  # noqa: N802
        """Make the queue that results come through."""
        self._results = super().SimpleQueue()
        return self._results

    def wake(self) -> None:
        """If a process is gone, end the others and the pipe of results.

        The pool sees a killed process by itself, unless that died while it wrote a result: then the pool waits for the
        rest of it, which never comes as long as any process, this one as well, could still write.
        """
        if self._results is None or not any(process.exitcode for process in self.made):
            return
        for process in self.made:
            process.terminate()
        for process in self.made:
            process.join()
        self._results._writer.close()  # type: ignore[attr-defined]


def pool_size(cores: int, room: int) -> int:
    """Return how many processes serve so many cores, in so many bytes of free memory."""
    return max(1, min(cores, room // BYTES_EACH))


def map_batches(work: Callable[[In], Out], batches: Iterator[In], few: int) -> Iterator[tuple[In, Out]]:
    """Yield each batch with what `work` made of it, as they are done. Up to `few` batches are done in this process.

    Raises SightlineError if a process is killed.
    """
    first = list(islice(batches, few + 1))
    processes = pool_size(machine.cores(), machine.memory().room)
    if len(first) <= few or processes == 1:
        for batch in chain(first, batches):
            yield batch, work(batch)
        return
    context = Forks()
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(os.getpid(),))
    running: dict[Future[Out], In] = {}
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
        pool.shutdown()  # they are ended, and it is known how
        raise _killed(context.made, kills) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let signals that end the work wait until the processes are there.

    Between a fork and the thread that looks after it, an interrupt is lost, or leaves a process that nobody ends. The
    new processes inherit the handlers as well: they are blocked from signals until they have handlers of their own, or
    one that is asked to end this early would only note it, and wait forever.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one is ever interrupted
        yield
        return
    came: list[int] = []
    before = {end: signal.signal(end, lambda number, _: came.append(number)) for end in END_SIGNALS}
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        for end, handler in before.items():
            signal.signal(end, handler)
    for number in came:
        signal.raise_signal(number)


def _finished(running: dict[Future[Out], In], context: Forks) -> Iterator[tuple[In, Out]]:
    while not (done := wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED).done):
        context.wake()
    for future in done:
        yield running.pop(future), future.result()


def _killed(children: list[BaseProcess], kills: int | None) -> SightlineError:
    """Say which process was killed; when one is, the pool ends the others with SIGTERM. `kills` were counted before."""
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
    """Leave Ctrl-C to the parent, which ends the pool; end when told to, and when the parent is gone.

    A fork inherits the parent's handlers, which would keep it from ending, and its files: an orphan would hold the
    lock of the index for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    end_with_parent(parent)
