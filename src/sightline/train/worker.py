"""One training process, started by torchrun: `python -m sightline.train.worker JOB.json`.

With one process the engine trains as it would alone. With several, this joins the process group that torchrun laid
out (nccl on GPUs, gloo on CPUs); the engine alone would only start groups of its own.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sightline import ultralytics_env
from sightline.config import single_image_batch
from sightline.runtime import machine
from sightline.runtime.lifetime import end_with_parent
from sightline.runtime.progress import Ticker
from sightline.train import divergence, fault

RESULT = "result.json"
REFUSED = "refused.txt"  # why this network cannot be trained as configured, which only the engine could tell
SOCKET_FOLDER = 70  # bytes of a path in which loaders still find room for the sockets through which they hand images on


def trainer_class() -> Any:
    """Return the engine's detection trainer, taught to join an existing process group.

    Made in a function because the engine may be imported only after `engine.prepare`. The engine looks for
    "Trainer" in the class name.
    """
    import torch
    from torch import distributed, nn
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import LOCAL_RANK, RANK, WORLD_SIZE
    from ultralytics.utils.torch_utils import strip_optimizer

    parallel = nn.parallel.DistributedDataParallel

    class CpuParallel(parallel):  # type: ignore[misc, valid-type]
        """The engine names a device per process, which a module on the CPU must not have."""

        def __init__(self, module: nn.Module, device_ids: Any = None, **options: Any) -> None:
            super().__init__(module, **options)

    @contextlib.contextmanager
    def cpu_parallel() -> Iterator[None]:
        nn.parallel.DistributedDataParallel = CpuParallel
        try:
            yield
        finally:
            nn.parallel.DistributedDataParallel = parallel

    class GroupTrainer(DetectionTrainer):  # type: ignore[misc]
        """Trains as one rank of the group described by torchrun's environment."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if WORLD_SIZE > 1:
                # The engine takes the length of the device list as the world size; torchrun knows better.
                self.world_size = WORLD_SIZE
                self.ddp = False

        def setup_model(self) -> Any:
            """Build the network, and refuse what it cannot follow before any epoch."""
            try:
                state = super().setup_model()
            except (AttributeError, ImportError, KeyError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
                refuse(self.save_dir, [f"the starting weights cannot be loaded: {type(error).__name__}: {error}"])
            refuse(self.save_dir, unfit(self.model, self.args.freeze or 0, self.args.imgsz))
            return state

        def _build_train_pipeline(self) -> None:
            """Load images; a batch of a single small one is refused in our words."""
            try:
                super()._build_train_pipeline()
            except ValueError as error:
                if "BatchNorm" in str(error):
                    refuse(self.save_dir, single_image_batch(self.args.imgsz, self.args.batch, self.stride))
                raise

        def _setup_ddp(self) -> None:
            if self.device.type != "cpu":
                super()._setup_ddp()
            else:
                distributed.init_process_group("gloo", timeout=timedelta(minutes=30))
                torch.set_num_threads(max(1, machine.cores() // WORLD_SIZE))

        def _setup_train(self) -> None:
            on_cpu = self.device.type == "cpu" and self.world_size > 1
            with cpu_parallel() if on_cpu else contextlib.nullcontext():
                super()._setup_train()

        def final_eval(self) -> None:
            """Strip the best checkpoint; the score that counts is measured later, on the exported file."""
            if RANK in (-1, 0) and self.best.exists():
                strip_optimizer(self.best)
            if LOCAL_RANK != -1 and distributed.is_initialized():
                distributed.barrier()

    return GroupTrainer


def unfit(model: Any, freeze: int, image_size: int) -> list[str]:
    """Say which settings the network cannot follow; validate knows most of it, and not of every checkpoint."""
    layers, stride = len(model.model), int(max(model.stride))
    problems = []
    if freeze >= layers:
        problems.append(
            f"train.freeze: got {freeze}, but the network has {layers} layers; expected at most {layers - 1}"
        )
    if image_size % stride:
        problems.append(f"train.image_size: got {image_size}, expected a multiple of this network's stride, {stride}")
    return problems


def refuse(folder: Path, problems: list[str]) -> None:
    """End this process with the problems in a file, if there are any."""
    if problems:
        (folder / REFUSED).write_text("\n".join(problems), encoding="utf-8")
        sys.exit("\n".join(problems))


def report_progress(trainer: Any) -> None:
    """Let the engine's callbacks drive a progress bar over all batches of all epochs."""
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
    """Say in the log which process this is and how large its share is."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    print(f"process {rank} of {world_size}: {len(trainer.train_loader)} batches an epoch", flush=True)


def weights_digest(trainer: Any) -> str:
    """Return a digest of the trained parameters, by which equal processes are seen to be equal."""
    digest = hashlib.sha256()
    for parameter in trainer.model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def run(job: dict[str, Any]) -> None:
    """Train as one rank; rank 0 leaves `result.json` in the save folder when all went well."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        # Alone, the engine must not take torchrun's rank for membership of a group that nobody founded.
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
            refuse(trainer.save_dir, [_diverged(trainer, "its losses stay no numbers (NaN or infinite)")])
        raise
    if RANK in (-1, 0) and weights.best_is_broken:
        what = "the weights of its best epoch are no numbers, or too large for a checkpoint (float16)"
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
    """Run the job in a file; an exception is also written down beside it, for whoever explains the end."""
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
