"""How an attempt ended on several nodes: the cause is where it was, and the others say only that they lost a peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings, Ending
from sightline.documents.signs import Pulse
from sightline.runtime.machine import size_text
from sightline.train import pulse
from sightline.train.decisions import Judgement
from sightline.train.nodes.coordinator import Collected
from sightline.train.nodes.messages import Report

CONSEQUENCES: tuple[Ending, ...] = ("lost_peer", "hang", "unknown", "preempted")


def report(judgement: Judgement, exit_code: int, energy_joules: float | None = None) -> Report:
    """Return what a node tells node 0 of its own end."""
    said = {"ending": judgement.ending, "reason": judgement.reason, "evidence": list(judgement.evidence)}
    return Report(exit_code=exit_code, evidence=said, energy_joules=energy_joules)


def by_all(mine: Judgement, others: Collected, config: TrainConfig, settings: AttemptSettings) -> Judgement:
    """Return how an attempt ended, by what node 0 and the others saw of it."""
    if mine.ending == "finished":
        return mine
    if others.lost:
        evidence = (*mine.evidence, *others.lost.values(), *_signs(others))
        ending, reason = _lost(others, config, settings)
        return Judgement(ending, reason, evidence, tuple(others.lost))
    if mine.ending in CONSEQUENCES:
        for rank, left in others.reports.items():
            if (theirs := _judged(left.evidence)) and theirs.ending not in ("finished", *CONSEQUENCES):
                there = [f"node {rank}: {line}" for line in theirs.evidence]
                return Judgement(theirs.ending, f"on node {rank}, {theirs.reason}", (*mine.evidence, *there), (rank,))
    return mine


def _lost(others: Collected, config: TrainConfig, settings: AttemptSettings) -> tuple[Ending, str]:
    """Say why nodes are lost: for their memory, if their pods or their last signs say so, or for what is known."""
    for rank, why in others.lost.items():
        last, end = _pulse(others.signs.get(rank, {})), others.ends.get(rank)
        if last or end:
            judged = pulse.judge_unseen(last, pulse.take(), config, settings, end)
            if judged.ending == "host_memory":
                return judged.ending, f"{why} {judged.reason}"
    return "lost_peer", " ".join(others.lost.values())


def _signs(others: Collected) -> list[str]:
    """Return the last signs of life of the nodes that are lost, one a line."""
    lines = []
    for rank, said in others.signs.items():
        if last := _pulse(said):
            lines += [f"node {rank}: last heartbeat of {beat}" for beat in last.beats]
            if last.limit is not None and last.held is not None:
                lines.append(f"node {rank}: memory {size_text(last.held)} of {size_text(last.limit)}")
    return lines


def _pulse(said: Mapping[str, Any]) -> Pulse | None:
    try:
        return Pulse.model_validate(said)
    except ValidationError:  # it had not begun
        return None


def _judged(evidence: Mapping[str, Any]) -> Judgement | None:
    if "ending" not in evidence:
        return None
    return Judgement(evidence["ending"], evidence["reason"], tuple(evidence["evidence"]))
