"""Training as one of several nodes that do not decide: node 0 says which attempts there are, and with what."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings, WeightsReference
from sightline.runtime import progress
from sightline.snapshots import fetch
from sightline.train import endings, job, preflight, starting, work_folder
from sightline.train import key as training_key
from sightline.train.heartbeats import Patience
from sightline.train.launch import Torchrun, launch
from sightline.train.nodes import Follower, Node, identity
from sightline.train.nodes.follower import Stop
from sightline.train.nodes.judging import report
from sightline.train.nodes.messages import Assignment, Report
from sightline.train.supervisor import PeerLost

# Node 0 decides what a hang is: its processes wait where those here do, and it sees rank 0 write a checkpoint.
PATIENCE = Patience(least=3600.0, first=3600.0)


def take_part(*, snapshot: str, config: TrainConfig, weights: WeightsReference, code: str, node: Node) -> None:
    """Train under node 0 until it has ended; nothing remains here.

    The arguments are those of `train.run`, and have to be the same on all nodes. Raises what ended the training at node
    0, ConfigError if it trains something else, TrainError if it does not answer, and what fails here before.
    """
    same = identity(snapshot=snapshot, weights=weights.sha256 or weights.start, config=config, code=code)
    key = training_key(snapshot=snapshot, config=config, weights=weights, code=code)
    with Follower(node, same) as follower, tempfile.TemporaryDirectory(prefix="sightline-node-") as name:
        work = Path(name)
        model, size = starting.fetch_start(weights, work)
        seen = preflight.check(config, size, work, work, keeps=False)
        data = fetch(snapshot, splits=preflight.LOADED)
        digest = PurePosixPath(snapshot).name
        kept = preflight.check_cache(config, size, work, work_folder.cache_folder(work, digest), data, seen).cache

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

            def tick(_: object) -> None:
                if reason := stop():
                    raise PeerLost(reason)

            try:
                ended = launch(torchrun, log, environment, patience=PATIENCE, on_tick=tick)
            except PeerLost as error:
                progress.notice(str(error))
                return Report(exit_code=-15)
            printed = log.read_bytes()[before:].decode(errors="replace")
            judgement = endings.judge(ended, folder, printed, config, settings)
            return report(judgement, ended.exit_code)

        follower.run(attempt)
