"""Train: turn a snapshot, a configuration and pinned weights into checkpoints and a history."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

from sightline.atomic import write_bytes
from sightline.cluster.ranks import Ranks
from sightline.config import TrainConfig, consequences
from sightline.documents import BestEpoch, Epoch, Preflight, TrainDocument, WeightsReference
from sightline.errors import ConfigError
from sightline.runtime import hook, provenance
from sightline.runtime.stage_frame import moment, remove_document, running
from sightline.snapshots import Snapshot, fetch
from sightline.storage import default_store, sha256_file
from sightline.tracking.records import PipelineRun
from sightline.train import bottleneck, divergence, event_file, nodes, preflight, sizing, work_folder
from sightline.train.disk_full import full_disk_explained
from sightline.train.finished import FinishedElsewhere, Results
from sightline.train.job import RESULT, SHEETS, TABLE
from sightline.train.remote import Remote, remote_for
from sightline.train.starting import fetch_start
from sightline.train.supervisor import Trained, Training, supervise
from sightline.train.tracker import Tracker, tracked, tracking
from sightline.train.work_folder import START, WorkFolder

__all__ = ["BEST", "LAST", "LOG", "key", "run", "tracked"]
BEST, LAST, LOG = "best.pt", "last.pt", "train.log"


def key(*, snapshot: str, config: TrainConfig, weights: WeightsReference, code: str) -> str:
    """Return the sha256 that equal trainings share; the arguments are those of `run`.

    A hook's source is part of it. Raises ConfigError for a hook that is not there.
    """
    if config.hook:
        code += hook.source_digest(config.hook)
    return work_folder.training_key(
        snapshot=snapshot, weights=weights.sha256 or weights.start, config=config, code=code
    )


def run(
    *,
    snapshot: str,
    config: TrainConfig,
    weights: WeightsReference,
    code: str,
    out: Path,
    resume: bool = True,
    results: Results | None = None,
    node: nodes.Node | None = None,
    launcher: Ranks | None = None,
    recorded: PipelineRun | None = None,
) -> TrainDocument:
    """Train a detector and leave `best.pt`, `last.pt`, `train.json`, and what people look at in `out`.

    That is there while it trains: `train.log`, `results.csv`, `tensorboard/` and `sheets/`.
    `weights` is an architecture to train from scratch, or the checkpoint that validate pinned. `code` is the digest of
    the code that trains. If another process is already doing the same training, wait for its result and take that:
    from its folder, or where that cannot be reached out of `results`; then `out` stays empty. What a killed training
    kept is taken up, unless `resume` is false. An earlier training in `out` remains until this one begins: settings
    that are refused do not cost it. `node` is this machine's place among several; `launcher` starts the others, unless
    somebody else does. `recorded` is the run that MLflow shows while it trains here, if there is a server.

    Raises ConfigError for settings that the network cannot follow or that make the training diverge, DeviceError if the
    GPUs are not there or the machine is too small, TrainError if the engine stops before its last epoch, and
    StorageError if snapshot or weights cannot be fetched.
    """
    same = key(snapshot=snapshot, config=config, weights=weights, code=code)
    everywhere = nodes.identity(snapshot=snapshot, weights=weights.sha256 or weights.start, config=config, code=code)
    with (
        running("train", out) as seconds,
        nodes.Coordinator(node, everywhere, nodes.limits(), launcher) if node else contextlib.nullcontext() as others,
    ):
        try:
            with work_folder.claimed(same, out, resume, config.image_size) as work:
                if isinstance(work, TrainDocument):
                    document = work.model_copy(update={"snapshot": snapshot, "weights": weights.start})
                    document.write(out)
                    if results:  # before whoever waits comes
                        results.keep()
                    return document
                kept = _kept_in_store(same, work, out, results, resume)
                with kept as remote, tracking(recorded, config) as tracker:
                    made = _train(
                        *(same, work, out, remote, others, tracker), snapshot=snapshot, config=config, weights=weights
                    )
                    document = made.model_copy(update={"seconds": max(seconds(), made.seconds)})
                    with full_disk_explained(out, work.folder, BEST, LAST):
                        document.write(out)
                    if results:  # before the work folder goes, and whoever waits comes
                        results.keep()
                    if tracker:
                        tracker.offer(document.history)
                    if remote:
                        remote.finish()
                return document
        except FinishedElsewhere as elsewhere:
            return elsewhere.document


@contextlib.contextmanager
def _kept_in_store(
    same: str, work: WorkFolder, out: Path, results: Results | None, resume: bool
) -> Iterator[Remote | None]:
    """Hold a training in the store too, where that is shared with other machines, and fetch what they kept of it.

    Raises FinishedElsewhere if it is finished, perhaps by the run for which this one waited.
    """
    finished = results.finished if results else lambda: None
    if found := finished():
        raise FinishedElsewhere(found)
    remote = remote_for(default_store(), same, work.folder, out / event_file.FOLDER)
    if remote is None:
        yield None
        return
    with remote:
        if found := remote.claim(finished):
            raise FinishedElsewhere(found)
        if resume or remote.same_run:
            remote.fetch()
        else:
            remote.forget()
        yield remote


def _train(
    same: str,
    work: WorkFolder,
    out: Path,
    remote: Remote | None,
    others: nodes.Coordinator | None,
    tracker: Tracker | None,
    *,
    snapshot: str,
    config: TrainConfig,
    weights: WeightsReference,
) -> TrainDocument:
    """Train in `work` and leave all but the document in `out`."""
    if config.tensorboard:
        event_file.check()
    explained = partial(full_disk_explained, out, work.folder, BEST, LAST)  # the preflight explains its own
    with explained():
        model, size = fetch_start(weights, work.folder)
    start = work.folder / START
    loaders = sizing.loaders(config, size)
    planned = sizing.planned(config, loaders)
    seen = preflight.check(planned, size, out, work.folder, start if start.exists() else None)
    if others:
        others.call()
    with explained():
        data = fetch(snapshot, splits=preflight.LOADED)
    digest = PurePosixPath(snapshot).name
    seen = preflight.check_cache(planned, size, out, work_folder.cache_folder(work.folder, digest), data, seen)
    _refuse(config.single_image_left(data.count("train")))
    remove_document("train", out)
    for name in (LOG, TABLE):
        (out / name).unlink(missing_ok=True)  # another run may share the old one
    for name in (event_file.FOLDER, SHEETS):
        shutil.rmtree(out / name, ignore_errors=True)
    training = Training(
        *(same, digest, config, data.data_yaml, model, work, out / LOG, remote, others, seen.cache, tracker),
        images=data.count("train"),
        loaders=loaders,
        size=size or "n",
    )
    with explained():
        trained = supervise(training)
        return _leave(trained, data, seen, out, snapshot=snapshot, config=config, weights=weights)


def _leave(
    trained: Trained,
    data: Snapshot,
    seen: Preflight,
    out: Path,
    *,
    snapshot: str,
    config: TrainConfig,
    weights: WeightsReference,
) -> TrainDocument:
    """Leave the checkpoints of a training in `out`, and return its document."""
    folder, attempts, settings, sized = trained
    made = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    history = [Epoch.model_validate(epoch) for epoch in made.pop("history")]
    best = history[made.pop("best_epoch") - 1]
    if divergence.found_nothing(best):
        what = f"its best epoch ({best.epoch}) finds nothing, and its losses are 0 or not finite"
        _refuse([divergence.reason(config, what)])
    for name in (BEST, LAST):
        write_bytes(out / name, (folder / "weights" / name).read_bytes())
    hardware, images = provenance.hardware(), {split: data.count(split) for split in preflight.LOADED}
    case = bottleneck.Circumstances(config, settings, hardware.cpu_count, images)
    return TrainDocument(
        snapshot=snapshot,
        weights=weights.start,
        weights_sha256=weights.sha256,
        config=config.model_copy(update={"image_size": settings.image_size}),
        notes=consequences.notes(config, epochs=len(history), cut_short=made["stopped_by"] == "max_hours"),
        seed=config.seed,
        world_size=config.world_size,
        epochs_completed=len(history),
        best=BestEpoch(**best.model_dump(include=set(BestEpoch.model_fields))),
        history=history,
        attempts=attempts,
        checkpoint=BEST,
        checkpoint_sha256=sha256_file(out / BEST),
        last=LAST,
        table=TABLE,
        tensorboard=event_file.FOLDER if config.tensorboard else None,
        sheets=sorted(path.relative_to(out).as_posix() for path in (out / SHEETS).glob("*.jpg")),
        packages=provenance.packages(),
        hardware=hardware,
        time=bottleneck.time(history, attempts, case),
        preflight=preflight.with_group(seen, folder),
        sizing=sized,
        started_at=_started(history[0]),
        seconds=round(sum(attempt.seconds for attempt in attempts), 3),
        **made,
    )


def _started(first: Epoch) -> str:
    """Return when the first epoch began."""
    return moment(datetime.fromisoformat(first.ended_at).timestamp() - first.seconds)


def _refuse(problems: list[str]) -> None:
    """Raise ConfigError if a network cannot be trained with its settings."""
    if problems:
        raise ConfigError("This network cannot be trained as configured:", problems)
