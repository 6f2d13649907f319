"""Training as one of several nodes that do not decide: node 0 says which attempts there are, and with what."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings, WeightsReference
from sightline.documents.signs import Pulse
from sightline.runtime import progress
from sightline.runtime.machine import size_text
from sightline.snapshots import fetch
from sightline.train import endings, job, nodes, preflight, sizing, starting, work_folder
from sightline.train import key as training_key
from sightline.train.energy import Meter
from sightline.train.heartbeats import Patience
from sightline.train.launch import Torchrun, launch
from sightline.train.nodes import Follower, Limits, Node, identity
from sightline.train.nodes.follower import ADVICE, Stop
from sightline.train.nodes.judging import report
from sightline.train.nodes.messages import Assignment, Report
from sightline.train.supervisor import PeerLost

# Node 0 decides what a hang is: its processes wait where those here do, and it sees rank 0 write a checkpoint.
PATIENCE = Patience(least=3600.0, first=3600.0)


def take_part(
    *,
    snapshot: str,
    config: TrainConfig,
    weights: WeightsReference,
    code: str,
    node: Node,
    limits: Limits | None = None,
    advice: str = ADVICE,
) -> None:
    """Train under node 0 until it has ended; nothing remains here.

    The arguments are those of `train.run`, and have to be the same on all nodes. `limits` are by default those of the
    environment, and `advice` is for people whose node 0 does not answer. Raises EndedByNode0 for what ended the
    training at node 0 and where it does not answer, ConfigError if it trains something else, and what fails here.
    """
    same = identity(snapshot=snapshot, weights=weights.sha256 or weights.start, config=config, code=code)
    key = training_key(snapshot=snapshot, config=config, weights=weights, code=code)
    with (
        Follower(node, same, limits or nodes.limits(), advice=advice) as follower,
        progress.noticed(follower.lines.add),
        tempfile.TemporaryDirectory(prefix="sightline-node-") as name,
    ):
        work = Path(name)
        model, size = starting.fetch_start(weights, work)
        planned = sizing.planned(config, sizing.loaders(config, size))
        seen = preflight.check(planned, size, work, work, keeps=False)
        data = fetch(snapshot, splits=preflight.LOADED)
        signs = _Signs()
        digest = PurePosixPath(snapshot).name
        kept = preflight.check_cache(planned, size, work, work_folder.cache_folder(work, digest), data, seen).cache

        def attempt(assignment: Assignment, stop: Stop) -> Report:
            folder = work / f"attempt-{assignment.number}"
            settings = AttemptSettings.model_validate(assignment.job["settings"])
            if kept == "off":
                settings = settings.model_copy(update={"cache": "off"})
            path = job.prepare(
                folder, key, digest, config, settings, data.data_yaml, model, checkpoints=work / "unused",
                cache=work_folder.cache_folder(work, digest), resume=assignment.job["resume"],
            )  # fmt: skip
            torchrun = Torchrun(
                job=path,
                nodes=config.nodes,
                node_rank=node.rank,
                processes=config.node_processes,
                address=node.meeting,
                port=assignment.port,
            )
            progress.notice(f"attempt {assignment.number} of node 0 begins on node {node.rank}.")
            log = work / "train.log"
            before = log.stat().st_size if log.exists() else 0
            environment = job.environment(config) | follower.environment()
            meter = Meter(config.gpus)

            def tick(pulse: Pulse) -> None:
                signs.note(pulse)
                if reason := stop():
                    raise PeerLost(reason)

            try:
                ended = launch(torchrun, log, environment, patience=PATIENCE, on_tick=tick, on_line=follower.lines.add)
            except PeerLost as error:
                progress.notice(str(error))
                return Report(exit_code=-15, energy_joules=meter.joules())
            printed = log.read_bytes()[before:].decode(errors="replace")
            judgement = endings.judge(ended, folder, printed, config, settings)
            return report(judgement, ended.exit_code, meter.joules())

        follower.run(attempt, signs.newest)


class _Signs:
    """The signs of life of this node's processes: for node 0, and at each new epoch for people."""

    def __init__(self) -> None:
        self._pulse: Pulse | None = None
        self._epoch = 0

    def note(self, pulse: Pulse) -> None:
        self._pulse = pulse
        beat = pulse.newest
        if beat and beat.epoch > self._epoch:
            limit = f" of {size_text(pulse.limit)}" if pulse.limit else ""
            memory = f", memory {size_text(pulse.held)}{limit}" if pulse.held else ""
            progress.notice(f"epoch {beat.epoch} has begun{memory}.")
        self._epoch = beat.epoch if beat else 0

    def newest(self) -> dict[str, Any]:
        return self._pulse.model_dump(mode="json") if self._pulse else {}
