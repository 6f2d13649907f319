"""The loop over the attempts of a training: start the processes, watch them, name their end, decide, and go on."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sightline.config import Cache, TrainConfig
from sightline.documents import Attempt, AttemptSettings, Ending
from sightline.documents.signs import Pulse, Running
from sightline.documents.sizing import Sizing
from sightline.errors import ConfigError, DataError, NodesMissing, StorageError, TrainError
from sightline.runtime import progress
from sightline.train import checkpoints, divergence, endings, heartbeats, job, pod_end, pulse, sizing
from sightline.train.attempt_log import AttemptLog
from sightline.train.decisions import Judgement, Step, decide, first
from sightline.train.disk_full import FULL_DISK_MESSAGES
from sightline.train.energy import Meter
from sightline.train.launch import Torchrun, free_port, launch
from sightline.train.nodes import Coordinator, lines
from sightline.train.nodes.judging import by_all
from sightline.train.remote import Remote
from sightline.train.tracker import Tracker
from sightline.train.work_folder import WorkFolder, cache_folder

REPORTS = 15.0  # seconds in which other nodes say how an attempt ended for them


class PeerLost(Exception):
    """Another node is gone, so the ranks here have to end."""


class Trained(NamedTuple):
    """A training that reached its end."""

    folder: Path  # of the attempt that did, with what the engine left
    attempts: list[Attempt]
    settings: AttemptSettings
    sizing: Sizing | None


class Training(NamedTuple):
    """What is trained, and where."""

    key: str
    snapshot: str  # its digest
    config: TrainConfig
    data_yaml: Path
    model: str  # an architecture or a checkpoint's path
    work: WorkFolder
    log: Path  # what the processes print
    remote: Remote | None = None  # keeps checkpoints in the store
    nodes: Coordinator | None = None  # the other machines
    cache: Cache | None = None  # what the preflight leaves of `train.cache`; None: all of it
    tracker: Tracker | None = None  # sends epochs to MLflow
    images: int = 0  # of train
    loaders: sizing.Loaders = sizing.Loaders(0, "")  # that this machine takes
    size: str = "n"  # of the model, n to x

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.work.folder / checkpoints.FOLDER


def supervise(training: Training) -> Trained:
    """Train until an attempt succeeds.

    Raises ConfigError for mistakes that only the engine could find or that make the training diverge, and for a batch
    that the card does not hold, DataError for
    images that cannot be read, LostLease if another run has taken over, and TrainError when the table of decisions says
    stop.
    """
    log = AttemptLog(training.work.folder)
    if training.nodes:
        training.nodes.relay.to(training.log)
    step, sized = sizing.settle(training, _begin(training, log), log.attempts)
    earlier = len(log.attempts)
    while True:
        time.sleep(step.pause)
        folder, judgement = _attempt(training, log, step)
        if judgement.ending == "finished":
            return Trained(folder, log.attempts, step.settings, sized)
        following = decide(training.config, log.attempts[earlier:])
        if following is None:
            raise _failed(training, judgement, log.attempts)
        step = following
        kept = log.attempts[-1].epochs
        change = f" with {'; '.join(step.changed)}" if step.changed else ""
        progress.notice(
            f"training stopped ({judgement.ending.replace('_', ' ')}) and goes on from "
            f"{f'epoch {kept}' if kept else 'the start'}{change}: {judgement.reason}"
        )


def _begin(training: Training, log: AttemptLog) -> Step:
    """Return what the first attempt of this process does: as configured, or after those that came before."""
    if log.log.running:
        log.end(_unseen(training, log.log.running))
    if not log.attempts:
        settings = first(training.config)
        return Step(settings.model_copy(update={"cache": training.cache}) if training.cache else settings)
    last = log.attempts[-1]
    assert last.settings
    step = decide(training.config, log.attempts[-1:]) or Step(last.settings)
    return replace(step, pause=0.0)


def _unseen(training: Training, running: Running) -> Attempt:
    """Return an attempt whose end nobody saw, judged by the last signs of its life."""
    end = pod_end.ended(running.pod)
    judgement = pulse.judge_unseen(running.pulse, pulse.take(), training.config, running.settings, end)
    seen = running.pulse.time if running.pulse else _began(running)
    return _ended(training, running, judgement, None, seen - _began(running), running.energy_joules)


def _attempt(training: Training, log: AttemptLog, step: Step) -> tuple[Path, Judgement]:
    """Start the processes once and wait for their end; returns the attempt's folder and how it ended."""
    checkpoints.tidy(training.checkpoints)
    newest = checkpoints.newest(training.checkpoints, training.key)
    resume = newest.epoch if newest else None
    running = log.begin(step.settings, step.changed, resume or 0)
    folder = training.work.folder / f"attempt-{running.number}"
    start, code = time.monotonic(), None
    others: list[float | None] = []
    meter = Meter(training.config.gpus, training.config.nodes)
    before = training.log.stat().st_size if training.log.exists() else 0
    try:
        port, address, environment = _meet(training, running.number, step.settings, resume)
        path = job.prepare(
            folder, training.key, training.snapshot, training.config, step.settings, training.data_yaml, training.model,
            checkpoints=training.checkpoints, cache=cache_folder(training.work.folder, training.snapshot),
            out=training.log.parent, resume=resume, spent=sum(attempt.seconds for attempt in log.attempts),
        )  # fmt: skip
        nodes, processes = training.config.nodes, training.config.node_processes
        ended = launch(
            Torchrun(job=path, nodes=nodes, processes=processes, address=address, port=port),
            training.log,
            environment,
            held=[training.work.lock.descriptor],
            patience=heartbeats.patience(),
            on_tick=lambda pulse: _tick(training, log, pulse, meter),
        )
        code = ended.exit_code
        printed = lines.own(training.log.read_bytes()[before:].decode(errors="replace"))
        judgement = endings.judge(ended, folder, printed, training.config, step.settings)
    except PeerLost as error:
        judgement = Judgement("lost_peer", str(error))
    except BaseException as error:
        seconds = time.monotonic() - start
        _note_end(log, _ended(training, running, _interrupted(error), None, seconds, meter.joules()), folder)
        raise
    if training.nodes:
        ends = training.nodes.collect(patience=REPORTS)
        judgement = by_all(judgement, ends, training.config, step.settings)
        others = [report.energy_joules for report in ends.reports.values()]
    seconds = time.monotonic() - start
    _note_end(log, _ended(training, running, judgement, code, seconds, meter.joules(others)), folder)
    _push(training, log)
    return folder, judgement


def _meet(
    training: Training, number: int, settings: AttemptSettings, resume: int | None
) -> tuple[int, str, dict[str, str]]:
    """Wait for the other nodes, if there are some; returns port and address of torchrun, and the processes' variables.

    Raises as `Coordinator.start_attempt`.
    """
    environment = job.environment(training.config)
    if training.nodes is None:
        return free_port(), "127.0.0.1", environment
    port = training.nodes.start_attempt(number, {"settings": settings.model_dump(), "resume": resume})
    return port, training.nodes.node.meeting, environment | training.nodes.environment()


def _interrupted(error: BaseException) -> Judgement:
    """Judge an attempt that this process ended."""
    what = type(error).__name__ + (f": {error}" if str(error) else "")
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return Judgement("preempted", "The training was told to stop.", (f"the supervisor got {what}",))
    ending: Ending = "disk_full" if FULL_DISK_MESSAGES.search(what) else "unknown"
    if isinstance(error, NodesMissing):
        return Judgement("lost_peer", str(error))
    return Judgement(ending, f"The supervisor could not go on: {what}.", (what,))


def _note_end(log: AttemptLog, attempt: Attempt, folder: Path) -> None:
    """Write how an attempt ended; on a full disk into the room that its folder leaves, if that is enough."""
    try:
        log.end(attempt)
    except StorageError:
        if attempt.ending == "finished":
            raise
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(StorageError):
            log.write()


def _tick(training: Training, log: AttemptLog, pulse: Pulse, meter: Meter) -> None:
    """Note signs of life, push what is new, and see whether this supervisor may and can go on."""
    log.pulse(pulse, meter.joules())
    _push(training, log)
    if training.remote and training.remote.lost:
        raise training.remote.lost
    if training.nodes and (reason := training.nodes.stop()):
        raise PeerLost(reason)


def _push(training: Training, log: AttemptLog) -> None:
    """Hand what is new to the threads that push and track it."""
    remote, tracker = training.remote, training.tracker
    if remote:
        remote.note(log.path)
    if epoch := checkpoints.newest_epoch(training.checkpoints):
        manifest = checkpoints.state_path(training.checkpoints, epoch).with_suffix(".json")
        if remote:
            remote.offer(manifest)
        if tracker and (kept := remote.kept(manifest) if remote else manifest.read_bytes()):
            tracker.offer(kept)


def _ended(
    training: Training,
    running: Running,
    judgement: Judgement,
    exit_code: int | None,
    seconds: float,
    energy_joules: float | None,
) -> Attempt:
    """Return the record of an attempt that ended."""
    epochs = checkpoints.newest_epoch(training.checkpoints)
    lost = 0.0
    if judgement.ending != "finished":
        manifest = checkpoints.state_path(training.checkpoints, epochs).with_suffix(".json")
        kept = manifest.stat().st_mtime if epochs > running.resumed_from else 0.0
        lost = max(0.0, _began(running) + seconds - max(kept, _began(running)))
    return Attempt(
        **running.model_dump(exclude={"pod", "pulse", "energy_joules"}),
        ending=judgement.ending,
        reason=judgement.reason,
        evidence=list(judgement.evidence),
        exit_code=exit_code,
        seconds=round(seconds, 3),
        epochs=epochs,
        seconds_lost=round(lost, 3),
        energy_joules=energy_joules,
    )


def _began(running: Running) -> float:
    """Return when an attempt began, in seconds since 1970."""
    return datetime.fromisoformat(running.started_at).timestamp()


def _failed(training: Training, judgement: Judgement, attempts: list[Attempt]) -> Exception:
    """Return the error for a training that stops here."""
    config = training.config
    if judgement.ending == "configuration":
        return ConfigError("This network cannot be trained as configured:", judgement.reason.splitlines())
    if judgement.ending == "not_finite":
        rate = attempts[-1].settings.lr0 if attempts[-1].settings else config.lr0
        tried = f", also with {rate:g}" if rate < config.lr0 else ""
        what = judgement.reason.rstrip(".") + tried
        return ConfigError(
            "This network cannot be trained as configured:",
            [divergence.reason(config, what)],
        )
    if judgement.ending == "data":
        return DataError(judgement.reason)
    times = f" after {len(attempts)} attempts" if len(attempts) > 1 else ""
    said = [line for rank in judgement.nodes for line in training.nodes.relay.last(rank)] if training.nodes else []
    full = f"The engine's full log is {training.log}" + ("; the last lines of the node:" if said else ".")
    return TrainError(f"Training stopped before its last epoch{times}: {judgement.reason} {full}", said)
