"""The probe: how much memory real steps take with more and more images, on the card of this process.

`python -m sightline.train.engine.batch_probe JOB.json`, started by torchrun as an attempt is. It sets up the trainer
(network, type, optimizer, average), and for each number of images takes steps and validates a batch of twice as many.
What these hold is the most that training can show: images at the largest scale, each with as many boxes as a mosaic can
hold. No weights are kept. A hook is not called.
"""

from __future__ import annotations

import gc
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

from sightline.atomic import write_text
from sightline.config import sides
from sightline.documents.sizing import Probed
from sightline.runtime import machine
from sightline.train import endings
from sightline.train.engine import clock, loop, precision_check, worker
from sightline.train.engine.autocasting import computing
from sightline.train.engine.beat import Beat
from sightline.train.job import Job
from sightline.train.probe import FOUND, SHARE, Found, read_request

STEPS = 2  # with each number of images: the first makes the optimizer's state
MOST_STEPS = 20  # where a scaled loss is skipped until its scale is found
OF_MOSAIC = 4  # images whose boxes come together
MEMORY_ENDINGS = ("cuda_memory", "host_memory")


def run(job: Job, folder: Path) -> None:
    """Measure, and leave `found.json` in the folder."""
    request = read_request(folder / "job.json")
    beat = Beat(folder, 0)
    trainer = worker.built(job, beat)
    free = _free(trainer.device, request.memory_limit)
    allowed = int(SHARE * free)
    probed: list[Probed] = []
    try:
        trainer._setup_train()
        trainer._model_train()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        nothing = Probed(images=request.sizes[0], memory_bytes=None, fits=False, seconds=0.0)
        _leave(
            folder, Found(free_bytes=free, allowed_bytes=allowed, boxes=0, side=trainer.args.imgsz, probed=[nothing])
        )
        return
    trainer.epoch, trainer.tloss, trainer.overflows, trainer.clock = 0, None, 0, clock.of_device(trainer.device)
    extra = sum(4 * p.numel() for p in trainer.model.parameters() if p.requires_grad) if request.ranks > 1 else 0
    beat.now("train", epoch=1)
    for images in request.sizes:
        one = _measured(trainer, images, extra, allowed, request.memory_limit)
        probed.append(one)
        held = "memory ran out" if one.memory_bytes is None else machine.size_text(one.memory_bytes)
        print(f"probe: {images} images a pass: {held}, {one.seconds:.3f} s a step", flush=True)
        if one.memory_bytes is None or not (one.fits or request.to_the_end):
            break
    found = Found(
        free_bytes=free,
        allowed_bytes=allowed,
        boxes=most_boxes(trainer),
        side=largest_side(trainer),
        probed=probed,
    )
    _leave(folder, found)


def _leave(folder: Path, found: Found) -> None:
    write_text(folder / FOUND, found.model_dump_json())


def most_boxes(trainer: Any) -> int:
    """Return how many boxes an image of train can have after mosaic and mixing: a mosaic may take an image twice."""
    arguments = trainer.args
    most = max((len(label["cls"]) for label in trainer.train_loader.dataset.labels), default=0)
    most *= OF_MOSAIC if arguments.mosaic else 1
    return most * (1 + bool(arguments.mixup) + bool(arguments.cutmix))  # each adds a picture as it comes out of mosaic


def largest_side(trainer: Any) -> int:
    """Return the largest side of the network's input in training, in pixels."""
    return sides(trainer.args.imgsz, trainer.job.config.multi_scale, trainer.stride)[1]


def _measured(trainer: Any, images: int, extra: int, allowed: int, limit: int | None) -> Probed:
    """Take steps with so many images; `extra` bytes are held by training beyond what this process holds."""
    slowest, held = 0.0, None
    settings = trainer.job.settings.model_copy(update={"batch": images})
    trainer.job = trainer.job.model_copy(update={"settings": settings})
    _forget(trainer)
    try:
        kind = trainer.precision.used
        if kind != "off" and images <= precision_check.IMAGES:  # which every attempt passes in float32 too, first
            precision_check.check(trainer, kind)
        for step in range(MOST_STEPS):
            begun = time.monotonic()
            _step(trainer, images)
            slowest = max(slowest, time.monotonic() - begun)
            if step + 1 >= STEPS and trainer.optimizer.state:
                break
        _validate(trainer, 2 * images)
        held = _held(trainer.device) + extra
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    if held is not None and limit is not None and held > limit:  # as it would on a card of that size
        held = None
    return Probed(
        images=images, memory_bytes=held, fits=held is not None and held <= allowed, seconds=round(slowest, 4)
    )


def ran_out(error: BaseException) -> bool:
    """Return whether an exception says that memory, of a GPU or the machine, ran out."""
    classes = tuple(base.__name__ for base in type(error).__mro__)
    row = endings.row_of(f"{type(error).__name__}: {error}", classes)
    return row is not None and row.ending in MEMORY_ENDINGS


def _step(trainer: Any, images: int) -> None:
    """Pass images through the network and back as an epoch does, and let the optimizer and the average follow."""
    scale, trainer.args.multi_scale = trainer.args.multi_scale, 0.0  # images have their largest side already
    try:
        loop.passes(trainer, _batch(trainer, images, largest_side(trainer), most_boxes(trainer)))
    finally:
        trainer.args.multi_scale = scale
    trainer.optimizer_step()
    _wait(trainer.device)
    trainer.beat.step(images)


def _validate(trainer: Any, images: int) -> None:
    """Score images with the averaged weights as validation does, padded as it pads square ones."""
    import torch

    network, validator = trainer.ema.ema, trainer.validator
    side = math.ceil(trainer.args.imgsz / trainer.stride + 0.5) * trainer.stride
    boxes = max((len(label["cls"]) for label in trainer.test_loader.dataset.labels), default=0)
    validator.device, validator.args.quantize, validator.training = trainer.device, None, True
    validator.nc, validator.end2end = trainer.data["nc"], getattr(network, "end2end", False)
    with torch.no_grad(), computing(network, trainer.precision.used, trainer.device.type):
        network.eval()
        batch = validator.preprocess(_batch(trainer, images, side, boxes))
        outputs = network(batch["img"])
        network.loss(batch, outputs)
        validator.postprocess(outputs)
    _wait(trainer.device)
    trainer.beat.tick()


def _batch(trainer: Any, images: int, side: int, boxes: int) -> dict[str, Any]:
    """Return noise with boxes of random places and classes, as loaders collate it."""
    import torch

    drawn = torch.Generator().manual_seed(0)
    count = images * boxes
    places = torch.rand((count, 4), generator=drawn)
    places[:, :2] = 0.1 + 0.8 * places[:, :2]
    places[:, 2:] = 0.02 + 0.1 * places[:, 2:]
    return {
        "img": torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=drawn),
        "cls": torch.randint(0, max(trainer.data["nc"], 1), (count, 1), generator=drawn).float(),
        "bboxes": places,
        "batch_idx": torch.arange(images).repeat_interleave(boxes).float(),
    }


def _free(device: Any, limit: int | None) -> int:
    """Return the bytes that this process may take; a limit is also kept, as if the card were no larger."""
    import torch

    if device.type != "cuda":
        free = machine.memory().room + _held(device)
    else:
        torch.zeros(1, device=device)  # the context, which is not counted
        if limit is not None:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
        free = torch.cuda.mem_get_info(device)[0]
    return free if limit is None else min(free, limit)


def _held(device: Any) -> int:
    """Return the most bytes that were held since the last call of `_forget`; on CPUs since the process began."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget(trainer: Any) -> None:
    """Give back what earlier steps held, but for weights, average and the optimizer's state."""
    import torch

    trainer.optimizer.zero_grad()
    trainer.loss = None
    gc.collect()
    if trainer.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(trainer.device)


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    worker.main(Path(sys.argv[1]), run)
