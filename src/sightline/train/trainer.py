"""The engine's detection trainer, extended to join torchrun's process group and to refuse unsuitable settings."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sightline.config import single_image_batch
from sightline.runtime import machine

REFUSED = "refused.txt"  # why this network cannot be trained as configured, which only the engine could tell


def trainer_class() -> Any:
    """Return the engine's detection trainer as one rank of torchrun's process group.

    Made in a function because the engine may be imported only after `ultralytics_env.prepare`. The engine looks for
    "Trainer" in the class name.
    """
    import torch
    from torch import distributed
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import LOCAL_RANK, RANK, WORLD_SIZE
    from ultralytics.utils.torch_utils import strip_optimizer

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
            with _cpu_parallel() if on_cpu else contextlib.nullcontext():
                super()._setup_train()

        def final_eval(self) -> None:
            """Strip the best checkpoint; the score that counts is measured later, on the exported file."""
            if RANK in (-1, 0) and self.best.exists():
                strip_optimizer(self.best)
            if LOCAL_RANK != -1 and distributed.is_initialized():
                distributed.barrier()

    return GroupTrainer


@contextlib.contextmanager
def _cpu_parallel() -> Iterator[None]:
    """Let the engine wrap a model on the CPU: it names a device per process, which such a model must not have."""
    from torch import nn

    parallel = nn.parallel.DistributedDataParallel

    class CpuParallel(parallel):  # type: ignore[misc, valid-type]
        """Data parallelism that ignores the devices."""

        def __init__(self, module: nn.Module, device_ids: Any = None, **options: Any) -> None:
            super().__init__(module, **options)

    nn.parallel.DistributedDataParallel = CpuParallel
    try:
        yield
    finally:
        nn.parallel.DistributedDataParallel = parallel


def unfit(model: Any, freeze: int, image_size: int) -> list[str]:
    """Say which settings the network cannot follow; validate finds most of them, but not for every checkpoint."""
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
