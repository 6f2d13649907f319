"""One training process, started by torchrun: `python -m sightline.train.engine.worker JOB.json`.

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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline import ultralytics_env
from sightline.atomic import write_text
from sightline.runtime import hook
from sightline.runtime.lifetime import end_with_parent
from sightline.train import failures
from sightline.train.engine import llrd, optimizer
from sightline.train.engine.beat import Beat, follow_bars
from sightline.train.engine.loaders import end_when_shared_memory_is_full
from sightline.train.engine.trainer import trainer_class
from sightline.train.engine.watching import watch
from sightline.train.job import RESULT, Job, read

SOCKET_FOLDER = 70  # bytes of the longest temporary folder in which loaders can create sockets to pass images


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


def run(job: Job, folder: Path) -> None:
    """Train as one rank; rank 0 leaves `result.json` in `folder` when all went well."""
    beat = Beat(folder, int(os.environ.get("RANK", 0)))
    trainer = built(job, beat)
    rank = beat.state["rank"]
    trainer.add_callback("on_train_start", announce)
    if rank == 0:
        watch(trainer)
    if job.config.hook:
        hook.load(job.config.hook)(trainer)
    trainer.train()
    print(f"process {rank} ends with weights {weights_digest(trainer)}", flush=True)
    if rank == 0:
        result = {
            "device": "cuda" if trainer.device.type == "cuda" else "cpu",
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "engine": ultralytics_env.version(),
            "best_epoch": trainer.best_epoch,
            "history": [epoch.model_dump() for epoch in trainer.history],
            "optimizer": optimizer.used(trainer),
            "stopped_by": trainer.stopped_by,
            "precision": trainer.precision.model_dump(mode="json"),
            "layer_rates": llrd.rates(trainer),
        }
        write_text(folder / RESULT, json.dumps(result))


def built(job: Job, beat: Beat) -> Any:
    """Return the trainer of this process, which is not set up yet; torchrun's environment says which process it is."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        # Alone, the engine must not take torchrun's rank for membership in a group that does not exist.
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)
    if len(os.fsencode(tempfile.gettempdir())) > SOCKET_FOLDER:
        tempfile.tempdir = "/tmp"
    ultralytics_env.prepare()
    follow_bars(beat.tick)
    end_when_shared_memory_is_full()
    return trainer_class()(job, beat)


def main(path: Path, run: Callable[[Job, Path], None] = run) -> None:
    """Run the job in a file, by default train; an exception is also recorded beside it, for `failures.read`."""
    end_with_parent(os.getppid())  # a training without torchrun would go on unseen
    faulthandler.enable()  # a crash in native code shows in the log where it was
    rank = int(os.environ.get("RANK", 0))
    try:
        run(read(path), path.parent)
    except Exception as error:  # noqa: BLE001 - it is recorded, and ends the process
        failures.record(path.parent, rank, os.getpid(), error, time.time())
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # what waits for the other processes at an orderly end would wait for them for ever


if __name__ == "__main__":
    main(Path(sys.argv[1]))
