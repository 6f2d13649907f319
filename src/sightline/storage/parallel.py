"""Several transfers at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from sightline.errors import ConfigError, StorageError
from sightline.runtime import machine
from sightline.storage.patience import interrupted

LISTED = 20  # problems named one by one; the rest is counted

Item = TypeVar("Item")


def setting(name: str, default: int, least: int) -> int:
    """Read a whole number of at least `least` from the environment. Raises ConfigError."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"Environment variable {name} is {text!r}; expected a whole number of at least {least}.")
    return int(text)


def transfers() -> int:
    """Return how many files move at a time. They are hashed on the way, so few cores serve fewer."""
    return setting("SIGHTLINE_TRANSFERS", min(8, 4 * machine.cores()), 1)


@contextmanager
def threads(name: str) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of as many threads; an interruption of the block ends what they wait for."""
    pool = ThreadPoolExecutor(transfers(), thread_name_prefix=name)
    try:
        yield pool
    except KeyboardInterrupt:
        interrupted.set()
        raise
    finally:
        pool.shutdown()
        interrupted.clear()


def parallel(
    work: Callable[[Item], int],
    items: Sequence[Item],
    tick: Callable[[int], None],
    collected: tuple[type[StorageError], ...],
) -> int:
    """Run `work` on all items, a few at a time, and add up the bytes.

    Errors of the kinds in `collected` are reported together; any other ends the whole once what runs is done.
    """
    limit = transfers()
    total = 0
    problems: list[StorageError] = []
    outage: StorageError | None = None
    queue = iter(items)
    running: set[Future[int]] = set()
    with threads("transfer") as pool:
        while True:
            if outage is None:
                running |= {pool.submit(work, item) for item in islice(queue, limit - len(running))}
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    total += future.result()
                    tick(1)
                except collected as error:
                    problems.append(error)
                except StorageError as error:
                    outage = error
    if outage:
        raise outage
    if problems:
        raise _together(problems, len(items))
    return total


def _together(problems: Sequence[StorageError], total: int) -> StorageError:
    """Make one error of several."""
    if len(problems) == 1:
        return problems[0]
    lines = sorted(problem.message for problem in problems)
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return type(problems[0])(f"{len(lines)} of {total} files could not be moved:", [*lines[:LISTED], *more])
