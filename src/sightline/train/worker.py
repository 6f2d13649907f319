"""One training process, started by torchrun: `python -m sightline.train.worker JOB.json`.

With one process the engine trains as it would alone. With several, this joins the process group that torchrun set
up (nccl on GPUs, gloo on CPUs); the engine alone would only start groups of its own.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sightline import ultralytics_env
from sightline.runtime.lifetime import end_with_parent
from sightline.runtime.progress import Ticker
from sightline.train import divergence, fault
from sightline.train.trainer import refuse, trainer_class

RESULT = "result.json"
SOCKET_FOLDER = 70  # bytes of the longest temporary folder in which loaders can create sockets to pass images


def report_progress(trainer: Any) -> None:
    """Report progress over all batches of all epochs, from the engine's callbacks."""
    ticker: Ticker | None = None

    def start(trainer: Any) -> None:
        nonlocal ticker
        ticker = Ticker("train", trainer.epochs * len(trainer.train_loader), f"epoch 1/{trainer.epochs}")

    def batch_end(trainer: Any) -> None:
        assert ticker
        ticker.tick()

    def epoch_end(trainer: Any) -> None:
        assert ticker
        score = trainer.metrics.get("metrics/mAP50(B)", 0.0)
        coming = min(trainer.epoch + 2, trainer.epochs)
        ticker.note = f"epoch {coming}/{trainer.epochs} · val mAP50 {score:.3f}"
        print(f"epoch {trainer.epoch + 1}/{trainer.epochs}: val mAP50 {score:.4f}", flush=True)

    trainer.add_callback("on_train_start", start)
    trainer.add_callback("on_train_batch_end", batch_end)
    trainer.add_callback("on_fit_epoch_end", epoch_end)


def announce(trainer: Any) -> None:
    """Print which process this is and how many batches it gets."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    print(f"process {rank} of {world_size}: {len(trainer.train_loader)} batches an epoch", flush=True)


def weights_digest(trainer: Any) -> str:
    """Return a digest of the trained parameters, which is equal in all processes if they trained together."""
    digest = hashlib.sha256()
    for parameter in trainer.model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def run(job: dict[str, Any]) -> None:
    """Train as one rank; rank 0 leaves `result.json` in the save folder when all went well."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        # Alone, the engine must not take torchrun's rank for membership in a group that does not exist.
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)
    if len(os.fsencode(tempfile.gettempdir())) > SOCKET_FOLDER:
        tempfile.tempdir = "/tmp"
    ultralytics_env.prepare()
    from ultralytics.utils import RANK

    trainer = trainer_class()(overrides=job["engine"])
    trainer.add_callback("on_train_start", announce)
    if RANK in (-1, 0):
        report_progress(trainer)
        weights = divergence.Watch(trainer)
    try:
        trainer.train()
    except RuntimeError as error:
        if "NaN" in str(error):
            refuse(trainer.save_dir, [_diverged(trainer, "its losses stay NaN or infinite")])
        raise
    if RANK in (-1, 0) and weights.best_is_broken:
        what = "the weights of its best epoch are NaN, infinite or too large for a checkpoint (float16)"
        refuse(trainer.save_dir, [_diverged(trainer, what)])
    print(f"process {max(RANK, 0)} ends with weights {weights_digest(trainer)}", flush=True)
    if RANK in (-1, 0):
        result = {
            "device": "cuda" if trainer.device.type == "cuda" else "cpu",
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "engine": ultralytics_env.version(),
        }
        (Path(job["engine"]["save_dir"]) / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _diverged(trainer: Any, what: str) -> str:
    arguments = trainer.args
    return divergence.reason(arguments.optimizer, arguments.lr0, arguments.momentum, what)


def main(path: Path) -> None:
    """Run the job in a file; an exception is also recorded beside it, for `fault.explain`."""
    end_with_parent(os.getppid())  # a training without torchrun would go on unseen
    faulthandler.enable()  # a crash in native code shows in the log where it was
    rank = int(os.environ.get("RANK", 0))
    try:
        run(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:
        fault.record(path.parent, rank, os.getpid(), error, time.time())
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
