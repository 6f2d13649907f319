"""A few things at a time, in threads: what is done is reading, hashing and sending, which release the interpreter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from sightline.storage import threads, transfers

Item = TypeVar("Item")
Result = TypeVar("Result")


def several(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work` of each item in order, SIGHTLINE_TRANSFERS of them at a time.

    Items are taken no faster than they are worked on, so that what they hold (files, lists) is bounded. The first error
    ends it, once what runs is done.
    """
    limit = transfers()
    running: deque[Future[Result]] = deque()
    with threads("snapshot") as pool:
        for item in items:
            if len(running) == limit:
                yield running.popleft().result()
            running.append(pool.submit(work, item))
        while running:
            yield running.popleft().result()
