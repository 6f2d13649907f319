"""The engine's detection trainer, extended: torchrun's process group, our loaders and loop, early refusals."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sightline.config import freezing, single_image_batch
from sightline.runtime import machine
from sightline.snapshots import one_class
from sightline.train.engine import batches, dataset, group_check, llrd, loop, optimizer, precision, set_up
from sightline.train.engine.autocasting import computing
from sightline.train.engine.beat import Beat
from sightline.train.job import REFUSED, TABLE, Job

# What building a network raises that cannot be built, and loading weights that cannot be loaded.
UNUSABLE = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, pickle.UnpicklingError),
)
GROUP_TIMEOUT = timedelta(hours=3)  # of torch's own watch; the supervisor's, which knows what progress is, comes first


def trainer_class() -> Any:
    """Return the engine's detection trainer as one rank of torchrun's process group.

    Made in a function because the engine may be imported only after `ultralytics_env.prepare`. The engine looks for
    "Trainer" in the class name.
    """
    import torch
    from torch import distributed
    from ultralytics.data.build import InfiniteDataLoader, build_dataloader
    from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
    from ultralytics.nn.tasks import yaml_model_load
    from ultralytics.utils import LOCAL_RANK, RANK, WORLD_SIZE, colorstr
    from ultralytics.utils.torch_utils import torch_distributed_zero_first, unwrap_model

    class GroupTrainer(DetectionTrainer):  # type: ignore[misc]
        """Trains as one rank of the group described by torchrun's environment."""

        model: Any
        device: Any

        def __init__(self, job: Job, beat: Beat) -> None:
            super().__init__(overrides=job.engine)
            self.job, self.beat = job, beat
            self.out = Path(job.out) if job.out else self.save_dir
            self.csv = self.out / TABLE
            self.datasets = dict(zip(("val", "train"), dataset.classes(Path(job.cache)), strict=True))
            self.args.workers = job.settings.workers  # the engine sets none on CPUs
            if WORLD_SIZE > 1:
                # The engine takes the length of the device list as the world size; torchrun knows better.
                self.world_size = WORLD_SIZE
                self.ddp = False

        def look(self, batch: dict[str, Any]) -> None:
            """Look at a batch of training as the loader gives it; `watching` puts something in the place of this."""

        def get_dataset(self) -> dict[str, Any]:
            """Return what the engine knows of the data; a single class has the name that all stages give it."""
            single, self.args.single_cls = self.args.single_cls, False  # with which the engine would call it item
            data: dict[str, Any] = super().get_dataset()
            self.args.single_cls = single
            names = list(data["names"].values())
            names = one_class(names) if single else names
            return {**data, "names": dict(enumerate(names)), "nc": len(names)}

        def setup_model(self) -> Any:
            """Build the network, and refuse what it cannot follow before any epoch."""
            start = str(self.model)
            loaded = start.endswith(".pt")
            with usable(self.save_dir, "starting weights cannot be loaded" if loaded else "network cannot be built"):
                state = super().setup_model()
            refuse(self.save_dir, unfit(self.model, self.job.config.freeze, self.args.imgsz))
            if start.endswith(".yaml") and "/" in start:  # a person's own
                with usable(self.save_dir, "network cannot be built"):
                    pass_once(self.model, self.args.imgsz, self.data.get("channels", 3))
            if self.job.config.sync_bn and self.world_size > 1:
                self.model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
            return state

        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
            """Build the network; one of the engine's own out of its own file, whatever the working directory holds."""
            if isinstance(cfg, str) and "/" not in cfg:
                cfg = {**yaml_model_load(f"cfg/models/*/{cfg}"), "yaml_file": cfg}
            return super().get_model(cfg, weights, verbose)

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            """Read the labels as `build_yolo_dataset` does; training images come with seeded augmentation."""
            training = mode == "train"
            return self.datasets[mode](
                img_path=img_path,
                imgsz=self.args.imgsz,
                batch_size=batch,
                rect=self.args.rect or not training,
                pad=0.0 if training else 0.5,
                augment=training,
                hyp=self.args,
                cache=self.args.cache or None,
                single_cls=self.args.single_cls,
                stride=max(int(unwrap_model(self.model).stride.max()), 32),
                prefix=colorstr(f"{mode}: "),
                task=self.args.task,
                data=self.data,
            )

        def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
            """Return the loader of a split. Validation takes two passes' images at a time, whatever the batch is."""
            with torch_distributed_zero_first(rank):  # the first process writes the label cache for the others
                images = self.build_dataset(dataset_path, mode, batch_size)
            if mode != "train":
                # A divisor: images are padded to one shape in groups of `batch_size`, and no pass may mix two shapes.
                most = min(batch_size, 2 * self.job.images)
                passed = next(size for size in range(most, 0, -1) if batch_size % size == 0)
                workers = min(2 * self.args.workers, machine.cores())
                return build_dataloader(
                    images, batch=passed, workers=workers, shuffle=False, rank=rank, device=self.device
                )
            order = batches.EpochBatches(
                images=len(images),
                batch=min(batch_size, len(images)),
                seed=self.args.seed,
                rank=max(RANK, 0),
                world_size=max(self.world_size, 1),
                shuffled=not self.args.rect,  # whose shapes belong to images that stand together
            )
            workers = min(self.args.workers, len(order) if len(order) > 1 else 0)
            # As configured, not as there are: a machine with few cores, or fewer loaders after a fault, change nothing.
            order.loaders = max(1, min(self.job.config.workers, len(order)))
            return InfiniteDataLoader(
                dataset=images,
                batch_sampler=order,
                num_workers=workers,
                prefetch_factor=4 if workers else None,
                pin_memory=self.device.type == "cuda",
                collate_fn=images.collate_fn,
                generator=torch.Generator().manual_seed(self.args.seed),  # else it would draw from the main one
            )

        def _build_train_pipeline(self) -> None:
            """Make loaders, optimizer and schedule as the engine does; refuse a batch of a single small image."""
            share = self.batch_size // max(self.world_size, 1)
            self.train_loader = self.get_dataloader(self.data["train"], share, LOCAL_RANK, "train")
            order = self.train_loader.batch_sampler.sampler
            if len(order.order(0)) % order.batch == 1 or min(order.batch, self.job.images) == 1:
                scale = self.args.multi_scale
                refuse(
                    self.save_dir,
                    single_image_batch(self.args.imgsz, self.args.batch, self.stride, multi_scale=scale),
                )
            self.test_loader = self.get_dataloader(self.data["val"], 2 * share, LOCAL_RANK, "val")
            self.optimizer = optimizer.build(self)
            self._setup_scheduler()
            datasets = {"train": self.train_loader.dataset, "val": self.test_loader.dataset}
            DetectionValidator._check_max_det(self.args, datasets)
            unwrap_model(self.model).set_head_attr(max_det=self.args.max_det)

        def build_optimizer(self, model: Any, **options: Any) -> Any:
            """Make the optimizer as the engine does; with `train.llrd` each layer gets a rate of its own."""
            made = super().build_optimizer(model, **options)
            if self.job.config.llrd != "off":
                llrd.split(made, unwrap_model(model), self.job.config.llrd)
            return made

        def _setup_ddp(self) -> None:
            group_check.meet()
            if self.device.type == "cpu":
                distributed.init_process_group("gloo", timeout=GROUP_TIMEOUT)
            else:
                self.device = torch.device("cuda", LOCAL_RANK)
                torch.cuda.set_device(self.device)
                distributed.init_process_group("nccl", timeout=GROUP_TIMEOUT, device_id=self.device)
            group_check.check(self.device, self.save_dir)

        def _setup_train(self) -> None:
            set_up.set_up(self)

        def compute_type(self) -> precision.Choice:
            """Return what `train.amp` means on the card of this process."""
            card = precision.card(self.device)
            refuse(self.save_dir, precision.impossible(self.job.config.amp, card))
            return precision.choose(self.job.config.amp, card)

        def settle_precision(self) -> None:
            """Choose and check what the network computes in; the engine's own mixed precision stays off."""
            self.precision = precision.settle(self, self.compute_type())
            self.scaler, self.amp = precision.scaler(self.device, self.precision.used), False
            self.args.amp = False if self.precision.used == "off" else self.precision.used  # as its checkpoints say

        def validate(self) -> Any:
            """Score the averaged weights as they are trained, in the same type."""
            with computing(self.ema.ema, self.precision.used, self.device.type):
                return super().validate()

        def _model_train(self) -> None:
            """Keep the statistics of frozen layers also where batch normalisation is synchronised."""
            super()._model_train()
            for name, module in self.model.named_modules():
                if isinstance(module, torch.nn.SyncBatchNorm) and any(part in name for part in self.freeze_layer_names):
                    module.eval()

        def _do_train(self) -> None:
            loop.train(self)

    return GroupTrainer


@contextlib.contextmanager
def usable(folder: Path, otherwise: str) -> Iterator[None]:
    """End this process with the problem in a file where the block cannot make use of a network."""
    try:
        yield
    except UNUSABLE as error:
        refuse(folder, [f"the {otherwise}: {type(error).__name__}: {error}"])


def pass_once(model: Any, side: int, channels: int) -> None:
    """Pass an empty image of `side` pixels: the engine builds a network with one of 256, which may be all it takes."""
    import torch

    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, channels, side, side))
    model.train(training)


def unfit(model: Any, freeze: int | list[int | str], image_size: int) -> list[str]:
    """Say which settings the network cannot follow; validate finds most of them, but not for every checkpoint."""
    layers, stride = len(model.model), int(max(model.stride))
    problems = freezing.beyond(freeze, layers, "the network")
    if not problems:
        problems = freezing.unmatched(freeze, [name for name, _ in model.named_parameters()])
    if image_size % stride:
        problems.append(f"train.image_size: got {image_size}, expected a multiple of this network's stride, {stride}")
    return problems


def refuse(folder: Path, problems: list[str]) -> None:
    """End this process with the problems in a file, if there are any."""
    if problems:
        (folder / REFUSED).write_text("\n".join(problems), encoding="utf-8")
        sys.exit("\n".join(problems))
