"""What node 0 knows of the other nodes: who is there, who was refused, and since when one is silent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sightline.documents import ErrorReport
from sightline.runtime import progress
from sightline.train.nodes.messages import Beat, Limits
from sightline.train.nodes.node import Node


@dataclass
class Seen:
    """What a node said last, and when (by this machine's monotonic clock)."""

    beat: Beat
    at: float
    told: bool = False  # that training is over

    @property
    def name(self) -> str:
        """Return how messages name the node."""
        return f"node {self.beat.rank} ({self.beat.host})"


class Roll:
    """The other nodes by rank. Whoever uses it from several threads holds a lock."""

    def __init__(self, node: Node, host: str, identity: Mapping[str, str], limits: Limits) -> None:
        """Know nobody yet. `node` and `host` are this machine, `identity` is what `nodes.identity` returned."""
        self.node, self.host, self.identity, self.limits = node, host, identity, limits
        self.seen: dict[int, Seen] = {}
        self._refused: dict[int, str] = {}

    def note(self, beat: Beat) -> None:
        """Note that a node that may take part is there."""
        self._refused.pop(beat.rank, None)
        self.seen[beat.rank] = Seen(beat, time.monotonic())

    def missing(self, since: float) -> tuple[list[int], list[int]]:
        """Return the nodes that are not there, and those that are but have not said after `since` that they are free.

        One that has not said so may have died just before.
        """
        ranks = range(1, self.node.count)
        away = [rank for rank in ranks if not self.here(rank)]
        return away, [rank for rank in ranks if rank not in away and not self._free(rank, since)]

    def here(self, rank: int) -> bool:
        """Tell whether a node is there."""
        seen = self.seen.get(rank)
        return bool(seen and not seen.beat.left and time.monotonic() - seen.at <= self.limits.silent)

    def _free(self, rank: int, since: float) -> bool:
        seen = self.seen[rank]
        return seen.at > since and seen.beat.ready and not seen.beat.running

    def speaks(self, seen: Seen) -> bool:
        """Tell whether a node still asks every second; one that was killed does not, and gives way to a successor."""
        return time.monotonic() - seen.at < 5 * self.limits.beat

    def holder(self, beat: Beat) -> str | None:
        """Return the machine that is this node already, if it is another process than the one that asks."""
        known = self.seen.get(beat.rank)
        if known and known.beat.session != beat.session and not known.beat.left and self.speaks(known):
            return known.beat.host
        return None

    def left(self, rank: int) -> ErrorReport | None:
        """Return the error with which a node went."""
        seen = self.seen.get(rank)
        return seen.beat.left if seen else None

    def away(self, rank: int) -> str:
        """Say why an attempt cannot start with a node."""
        if rank in self._refused:
            return self._refused[rank]
        if rank not in self.seen:
            return f"node {rank} has not been heard of"
        seen = self.seen[rank]
        if seen.beat.left:
            return f"{seen.name} ended: {seen.beat.left.message}"
        if self.here(rank):
            return f"{seen.name} prepares"
        return f"{seen.name} has been silent for {time.monotonic() - seen.at:.0f} s"

    def lost(self, rank: int, session: str) -> str | None:
        """Say why the process that took part in an attempt is gone; None if it is there."""
        seen = self.seen[rank]
        if seen.beat.session != session:
            return f"{seen.name} was started again."
        return None if self.here(rank) else f"{self.away(rank).rstrip('.')}."

    def differences(self, beat: Beat) -> list[str]:
        """Say what is wrong with a node that wants to take part, and show it here once; empty if it may."""
        if not 1 <= beat.rank < self.node.count:
            return [f"--node-rank: got {beat.rank}, expected 1 to {self.node.count - 1} beside node 0"]
        ours, theirs = self.identity, beat.identity
        problems = [
            f"{name}: {ours.get(name, 'nothing')} on node 0 ({self.host}), "
            f"{theirs.get(name, 'nothing')} on node {beat.rank} ({beat.host})"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if problems:
            text = f"node {beat.rank} ({beat.host}) trains something else and was refused: {'; '.join(problems)}"
            if self._refused.get(beat.rank) != text:
                self._refused[beat.rank] = text
                progress.notice(f"{text}.")
        return problems
