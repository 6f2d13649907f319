"""Train: a snapshot, a configuration and pinned weights in; checkpoints and a history out."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from sightline.atomic import write_bytes
from sightline.config import TrainConfig, single
from sightline.documents import Attempt, BestEpoch, Epoch, TrainDocument
from sightline.errors import ConfigError, TrainError
from sightline.runtime import machine, provenance
from sightline.runtime.stage_frame import moment, running
from sightline.snapshots import fetch
from sightline.storage import fetch_uri, sha256_file
from sightline.train import divergence, fault, resources
from sightline.train.disk_full import room
from sightline.train.launch import launch
from sightline.train.worker import REFUSED, RESULT

BEST, LAST, LOG = "best.pt", "last.pt", "train.log"


def run(*, snapshot: str, config: TrainConfig, weights: str, out: Path) -> TrainDocument:
    """Train a detector and leave `best.pt`, `last.pt`, `train.log` and `train.json` in `out`.

    `weights` is an architecture to train from scratch (`yolo11n.yaml`), or the URI under which validate pinned a
    checkpoint (`…/weights/<sha256>.pt`).

    Raises ConfigError for settings that the network cannot follow or that make the training diverge, DeviceError if the
    GPUs are not there or the machine is too small, TrainError if the engine stops before its last epoch, and
    StorageError if snapshot or weights cannot be fetched.
    """
    with contextlib.ExitStack() as stack:
        seconds = stack.enter_context(running("train", out))
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-train-")))
        stack.enter_context(room(out, work, BEST, LAST))
        resources.check(config, weights, out, work)
        data = fetch(snapshot, splits=("train", "val"))
        if config.last_batch(data.count("train")) == 1:
            _refuse(single(config.image_size, config.batch))
        digest = None if weights.endswith(".yaml") else PurePosixPath(weights).stem
        model = str(fetch_uri(weights, work / "start.pt", sha256=digest)) if digest else weights
        job = work / "job.json"
        job.write_text(json.dumps({"engine": engine_options(config, data.data_yaml, model, work)}), encoding="utf-8")
        ended = launch(job, config.world_size, out / LOG, _environment(config))
        if (work / REFUSED).exists():
            _refuse((work / REFUSED).read_text(encoding="utf-8").splitlines())
        result = work / RESULT
        if ended.exit_code or not result.exists():
            log = (out / LOG).read_text(encoding="utf-8", errors="replace")
            reason = fault.explain(ended.exit_code, log, work, ended.watch, config).rstrip()
            raise TrainError(f"Training stopped before its last epoch: {reason} The engine's whole log is {out / LOG}.")
        history = read_history(work / "results.csv")
        # Of equals the engine keeps the later.
        best = max(history, key=lambda epoch: (epoch.map50_95, epoch.epoch))
        if divergence.found_nothing(best):
            what = f"its best epoch ({best.epoch}) finds nothing, and its losses are 0 or no numbers"
            _refuse([divergence.reason(config.optimizer, config.lr0, config.momentum, what)])
        for name in (BEST, LAST):
            write_bytes(out / name, (work / "weights" / name).read_bytes())
        outcome = json.loads(result.read_text(encoding="utf-8"))
        document = TrainDocument(
            snapshot=snapshot,
            weights=weights,
            weights_sha256=digest,
            config=config,
            seed=config.seed,
            world_size=config.world_size,
            epochs_completed=len(history),
            best=BestEpoch(epoch=best.epoch, map50=best.map50, map50_95=best.map50_95),
            history=history,
            attempts=[Attempt(number=1, exit_code=0, seconds=ended.seconds, reason="finished")],
            checkpoint=BEST,
            checkpoint_sha256=sha256_file(out / BEST),
            last=LAST,
            packages=provenance.packages(),
            hardware=provenance.hardware(),
            # The engine writes the table at the end of an epoch.
            started_at=moment((work / "results.csv").stat().st_mtime - sum(epoch.seconds for epoch in history)),
            seconds=seconds(),
            **outcome,
        )
        document.write(out)
    return document


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("This network cannot be trained as configured:", problems)


def engine_options(config: TrainConfig, data_yaml: Path, model: str, save_dir: Path) -> dict[str, Any]:
    """Translate the configuration into the engine's own options."""
    return {
        "model": model,
        "data": str(data_yaml),
        "save_dir": str(save_dir),
        "device": ",".join(str(index) for index in range(config.gpus)) or "cpu",
        "epochs": config.epochs,
        "imgsz": config.image_size,
        "batch": config.batch,
        "workers": min(config.workers, max(1, machine.cores() // config.world_size)),
        "seed": config.seed,
        "optimizer": config.optimizer,
        "lr0": config.lr0,
        "lrf": config.lrf,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "warmup_epochs": config.warmup_epochs,
        "nbs": config.nominal_batch,
        "cos_lr": config.cosine,
        "patience": config.patience,
        "freeze": config.freeze or None,
        "amp": config.amp,
        **config.augment.model_dump(),
        "deterministic": True,
        "plots": False,
        "exist_ok": True,
        "verbose": False,
    }


def read_history(results: Path) -> list[Epoch]:
    """Read the engine's results.csv: one row an epoch, `time` in seconds since the start of training."""
    history = []
    before = 0.0
    with results.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers = {key.strip(): float(text) for key, text in row.items() if text}
            value = {key: number for key, number in numbers.items() if math.isfinite(number)}
            history.append(
                Epoch(
                    epoch=int(value["epoch"]),
                    seconds=round(value["time"] - before, 3),
                    learning_rate=value["lr/pg0"],
                    box_loss=value.get("train/box_loss"),
                    class_loss=value.get("train/cls_loss"),
                    dfl_loss=value.get("train/dfl_loss"),
                    val_box_loss=value.get("val/box_loss"),
                    val_class_loss=value.get("val/cls_loss"),
                    val_dfl_loss=value.get("val/dfl_loss"),
                    precision=value.get("metrics/precision(B)", 0.0),
                    recall=value.get("metrics/recall(B)", 0.0),
                    map50=value.get("metrics/mAP50(B)", 0.0),
                    map50_95=value.get("metrics/mAP50-95(B)", 0.0),
                )
            )
            before = value["time"]
    return history


def _environment(config: TrainConfig) -> dict[str, str]:
    """Share the cores among CPU processes; torchrun would give each of several a single one."""
    if config.gpus or config.world_size == 1:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, machine.cores() // config.world_size))}
