"""How an attempt ended on several nodes: the cause is where it was, and the others say only that they lost a peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.documents import Ending
from sightline.train.decisions import Judgement
from sightline.train.nodes.coordinator import Collected
from sightline.train.nodes.messages import Report

CONSEQUENCES: tuple[Ending, ...] = ("lost_peer", "hang", "unknown", "preempted")


def report(judgement: Judgement, exit_code: int) -> Report:
    """Return what a node tells node 0 of its own end."""
    said = {"ending": judgement.ending, "reason": judgement.reason, "evidence": list(judgement.evidence)}
    return Report(exit_code=exit_code, evidence=said)


def by_all(mine: Judgement, others: Collected) -> Judgement:
    """Return how an attempt ended, by what node 0 and the others saw of it."""
    if mine.ending == "finished":
        return mine
    evidence = [*mine.evidence, *others.lost.values()]
    if others.lost:
        return Judgement("lost_peer", " ".join(others.lost.values()), tuple(evidence))
    if mine.ending in CONSEQUENCES:
        for rank, left in others.reports.items():
            if (theirs := _judged(left.evidence)) and theirs.ending not in ("finished", *CONSEQUENCES):
                there = [f"node {rank}: {line}" for line in theirs.evidence]
                return Judgement(theirs.ending, f"on node {rank}, {theirs.reason}", (*evidence, *there))
    return Judgement(mine.ending, mine.reason, tuple(evidence))


def _judged(evidence: Mapping[str, Any]) -> Judgement | None:
    if "ending" not in evidence:
        return None
    return Judgement(evidence["ending"], evidence["reason"], tuple(evidence["evidence"]))
