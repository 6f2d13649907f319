"""The whole pipeline killed: the same command goes on, also under another name."""

from __future__ import annotations

from functools import partial

from tests.faults.registry import Outcome, case, recovered
from tests.faults.stand import Stand, gone, parent


def _killed(stand: Stand, *, again: str) -> Outcome:
    """Kill -9 `sightline run` while it trains, and run it again as `again`."""
    started = stand.start_run("first")
    ranks = started.met()
    tasks = [launcher := parent(ranks[0]), parent(launcher), *ranks.values()]
    stand.strike(started.process.kill)
    started.wait()
    gone(tasks, seconds=60)
    return recovered(stand, stand.start_run(again), "preempted", codes=(0, 3))


case("run-killed", "kill -9 of `sightline run`; the same command again")(partial(_killed, again="first"))
case("run-killed-new-id", "kill -9 of `sightline run`; the same with another --run-id")(
    partial(_killed, again="second")
)
