"""Two nodes with a process each, both on this machine: as good as one node with two, and one of them lost."""

from __future__ import annotations

import os
import shutil
import time
from typing import NamedTuple

import pytest

from sightline.train.launch import free_port
from tests.faults.registry import Outcome, case, recovered
from tests.faults.stand import Stand, Started, expect, gone, kill, parent

LOST_SECONDS = 60  # within which the others must have ended when a node is lost


class Pair(NamedTuple):
    """Two machines, played by two folders."""

    nodes: tuple[Stand, Stand]
    port: int

    def start(self, node: int) -> Started:
        """Start `sightline train` on one of them, on a core of its own: what is computed depends on their number."""
        core = sorted(os.sched_getaffinity(0))[node]
        place = ["--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port", str(self.port)]
        return self.nodes[node].start("taskset", "-c", str(core), options=place, nodes=2, cpu_processes=1)

    def close(self) -> None:
        """End both."""
        for node in self.nodes:
            node.close()


def _pair(stand: Stand) -> Pair:
    if len(os.sched_getaffinity(0)) < 2 or not shutil.which("taskset"):
        pytest.skip("needs two cores, and taskset to give one to each node")
    nodes = tuple(Stand(stand.folder / f"node-{node}", stand.base, ranks=(node,)) for node in (0, 1))
    for node in nodes:
        node.settings["seed"] = stand.settings["seed"]
    nodes[1].work.mkdir()
    nodes[1].variables["TMPDIR"] = str(nodes[1].work)  # where all but node 0 work
    return Pair((nodes[0], nodes[1]), free_port())


@case("two-nodes", "none: 1 node with 2 processes against 2 nodes with 1")
def two_nodes(stand: Stand) -> Outcome:
    alone = stand.start(hook="tests.faults.hooks:nothing")
    expect(alone.wait() == 0, alone.output[-600:])
    pair = _pair(stand)
    try:
        for node in pair.nodes:
            node.settings["hook"] = "tests.faults.hooks:nothing"
        started = [pair.start(node) for node in (0, 1)]
        outcome = recovered(pair.nodes[0], started[0])
        expect(started[1].wait() == 0, started[1].output[-600:])
    finally:
        pair.close()
    found, wanted = (
        [(epoch.box_loss, epoch.class_loss, epoch.val_box_loss, epoch.map50_95) for epoch in each.document().history]
        for each in (pair.nodes[0], stand)
    )
    expect(found == wanted, f"losses and score of each epoch on two nodes {found}, on one {wanted}")
    return Outcome("finished, with equal losses", outcome.attempts)


@case("node-killed", "kill -9 of all processes of one of two nodes; its command again")
def node_killed(stand: Stand) -> Outcome:
    pair = _pair(stand)
    try:
        first, second = (pair.start(node) for node in (0, 1))
        ranks = first.met() | second.met()
        kept = pair.nodes[0]
        launcher = parent(ranks[1])
        kept.strike(lambda: kill(second.process.pid, launcher, ranks[1]))
        second.wait()
        struck = time.monotonic()
        gone([ranks[0]], seconds=LOST_SECONDS)
        ended = time.monotonic() - struck
        again = pair.start(1)
        outcome = recovered(kept, first, "lost_peer")
        expect(again.wait() == 0, again.output[-600:])
    finally:
        pair.close()
    return Outcome(f"the other node ended after {ended:.0f} s; {outcome.ended}", outcome.attempts, outcome.seconds)
