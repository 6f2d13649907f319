"""Whether a network computes the same in bf16 or fp16 as in float32, with its own weights and images of its training.

The engine's check compares detections of a checkpoint that it wants to download, and leaves bf16 out (`trainer.py`,
"Check AMP"). A network with a new head detects nothing yet, so its raw outputs and its loss are compared here.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from sightline.documents import ComputeType, PrecisionCheck
from sightline.train.engine import batches, results
from sightline.train.engine.autocasting import computing

IMAGES = 8  # at most, of the first batch
# Sound networks were seen at what stands beside, on CPUs with drawn and real images of 64 to 1280 pixels. A card that
# computes wrongly gives NaN, zeros or noise: then outputs do not correlate at all.
OUTPUTS = 100  # rounding errors of the type; 47 in the deepest networks, untrained, and 22 in trained ones
ROUNDING: dict[ComputeType, float] = {"bf16": 2.0**-8, "fp16": 2.0**-11}
CORRELATION = 0.1  # 0.47 in the deepest network, untrained, in bf16; above 0.99 in trained ones, and in fp16
LOSS = 0.15  # of the loss in float32; 0.05 in the deepest network, untrained, and 0.01 in trained ones


class Assignment:
    """Stands in for what assigns boxes to outputs, and gives its first answer again.

    Where scores are nearly equal, as in an untrained network, rounding assigns other boxes, and the loss jumps.
    """

    def __init__(self, assign: Any) -> None:
        self.assign = assign
        self.first: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Assign boxes as the engine does; later calls get the same, whatever their arguments."""
        if self.first is None:
            self.first = self.assign(*arguments, **options)
        return self.first


class Passed(NamedTuple):
    """One pass through a network."""

    outputs: list[Any]  # raw, of each branch
    loss: Any


def check(trainer: Any, kind: ComputeType) -> PrecisionCheck:
    """Compare a trainer's network in a type with itself in float32, on the first images that it will train on.

    It works on a copy, and the random generators go on where they were. The network must not be shared yet: a single
    process computes here.
    """
    import torch

    begun = time.monotonic()
    cards = [trainer.device] if trainer.device.type == "cuda" else []
    with batches.seeded(trainer.args.seed), torch.random.fork_rng(cards):
        network = _copied(trainer)
        batch = trainer.preprocess_batch(_first_images(trainer))
        found = compare(network, batch, kind)
    del network, batch
    trainer._clear_memory()
    return found.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})


def compare(model: Any, batch: dict[str, Any], kind: ComputeType) -> PrecisionCheck:
    """Pass a batch through a network in float32 and in a type, and back in the latter; changes what it is given.

    `batch` is as the engine's loss takes it, its images (n, 3, height, width) float32 from 0 to 1, on the device of
    `model`. Gradients come from a loss that is scaled as in training: it is halved until they are finite, down to 1.
    """
    import torch

    device = next(model.parameters()).device.type
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    scaler = torch.amp.GradScaler(device, enabled=kind == "fp16")
    optimizer = torch.optim.SGD(trained, lr=0.0)
    model.criterion = model.init_criterion()
    for part in (model.criterion, *vars(model.criterion).values()):
        if hasattr(part, "assigner"):
            part.assigner = Assignment(part.assigner)
    with torch.no_grad():
        expected = _passed(model, batch)
    got = None
    while True:
        optimizer.zero_grad()
        with computing(model, kind, device):
            seen = _passed(model, batch)
        got = got or Passed([tensor.detach() for tensor in seen.outputs], seen.loss.detach())
        scaler.scale(seen.loss).backward()
        scaler.unscale_(optimizer)
        finite = all(bool(parameter.grad.isfinite().all()) for parameter in trained if parameter.grad is not None)
        scale = scaler.get_scale()
        if finite or scale <= 1 or not bool(got.loss.isfinite()):
            break
        scaler.update()
    return _judged(expected, got, kind, finite, scale, len(batch["img"]))


def _judged(
    expected: Passed, got: Passed, kind: ComputeType, finite: bool, scale: float, images: int
) -> PrecisionCheck:
    """Say how far two passes differ, and whether that is more than rounding."""
    pairs = list(zip(expected.outputs, got.outputs, strict=True))
    outputs = _largest(float((ours - theirs).norm() / theirs.norm()) for theirs, ours in pairs)
    correlation = min(_correlation(theirs, ours) for theirs, ours in pairs)
    largest = _largest(float((ours - theirs).abs().max()) for theirs, ours in pairs)
    loss = _largest([abs(float((got.loss - expected.loss) / expected.loss))])
    allowed = OUTPUTS * ROUNDING[kind]
    problems = []
    if outputs is None or loss is None:
        problems.append("raw outputs or loss are not finite")
    else:
        if outputs > allowed:
            problems.append(f"raw outputs differ from those in float32 by {outputs:.0%}, and {allowed:.0%} is allowed")
        if correlation < CORRELATION:
            problems.append(f"raw outputs correlate with those in float32 by {correlation:.2f}, expected {CORRELATION}")
        if loss > LOSS:
            problems.append(f"the loss differs from that in float32 by {loss:.0%}, and {LOSS:.0%} is allowed")
        if not finite:
            problems.append("gradients are not finite, whatever the loss is scaled by")
    return PrecisionCheck(
        type=kind,
        images=images,
        output_difference=outputs,
        output_tolerance=allowed,
        output_correlation=None if outputs is None else correlation,
        least_correlation=CORRELATION,
        largest_difference=largest,
        loss_difference=loss,
        loss_tolerance=LOSS,
        loss_scale=scale if finite else None,
        problems=problems,
        seconds=0.0,
    )


def _largest(values: Iterable[float]) -> float | None:
    """Return the largest value, and None if one of them is not finite."""
    found = list(values)
    return max(found) if all(map(math.isfinite, found)) else None


def _correlation(expected: Any, got: Any) -> float:
    """Return how far outputs (images, channels, places) vary together around the means of their channels, -1 to 1."""
    ours, theirs = (each - each.mean(dim=(0, 2), keepdim=True) for each in (got, expected))
    together = float((ours * theirs).sum() / (ours.norm() * theirs.norm()))
    return together if math.isfinite(together) else 0.0  # constant outputs


def _passed(model: Any, batch: dict[str, Any]) -> Passed:
    outputs = model(batch["img"])
    return Passed(_tensors(outputs), model.loss(batch, outputs)[0].sum())


def _tensors(outputs: dict[str, Any]) -> list[Any]:
    """Return boxes and scores of every branch of a head."""
    found = []
    for name, value in outputs.items():
        found += _tensors(value) if isinstance(value, dict) else [value] if name != "feats" else []
    return found


def _copied(trainer: Any) -> Any:
    """Return a copy in the mode of training; batch normalisation over all GPUs would wait for other processes."""
    network = copy.deepcopy(trainer.model)
    results.unsynchronise(network)
    network.train()
    for name, module in network.named_modules():
        if "Norm" in type(module).__name__ and any(part in name for part in trainer.freeze_layer_names):
            module.eval()
    return network


def _first_images(trainer: Any) -> dict[str, Any]:
    """Return images that this process trains on first, as its loader would collate them."""
    loader = trainer.train_loader
    order = copy.copy(loader.batch_sampler.sampler)  # whose next epoch is the first
    samples = next(iter(order))[: min(IMAGES, trainer.job.images)]
    return loader.dataset.collate_fn([loader.dataset[sample] for sample in samples])  # type: ignore[no-any-return]
