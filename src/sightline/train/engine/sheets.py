"""Two sheets of pictures: what training sees, and val labels beside what the best weights find.

Neither changes the training: images of the first batches are copied as they pass, and drawn after the epoch; val is
drawn once, at the end. No generator moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline import annotate
from sightline.atomic import write_bytes
from sightline.preprocess import Image
from sightline.train.engine import batches
from sightline.train.engine.autocasting import computing
from sightline.train.job import SHEETS

TRAIN, VAL = "train.jpg", "val.jpg"
MOST_TRAIN, MOST_VAL = 16, 8  # images on a sheet
COLUMNS = 4
CONFIDENCE = 0.25  # of a prediction that is drawn; the engine's own for pictures


class TrainSheet:
    """The first images that training gets, with mosaics and boxes: collected from batches, drawn once."""

    def __init__(self, work: Path, out: Path) -> None:
        """Draw into the folder `work`, which later attempts find, and show it in `out`.

        One that an earlier attempt has drawn stays.
        """
        self._kept, self._shown = work / SHEETS / TRAIN, out / SHEETS / TRAIN
        self._seen: list[tuple[Any, Any, Any]] = []  # image, boxes and classes of each, as the loader gives them
        self._done = self._kept.exists()
        if self._done:
            self._show()

    def take(self, batch: dict[str, Any]) -> None:
        """Copy images of a batch as the engine collates it, as far as the sheet has room for them."""
        if self._done:
            return
        for index in range(min(len(batch["img"]), MOST_TRAIN - len(self._seen))):
            mine = batch["batch_idx"] == index
            self._seen.append((batch["img"][index].clone(), batch["bboxes"][mine].clone(), batch["cls"][mine].clone()))

    def draw(self, names: dict[int, str], epoch: int) -> None:
        """Draw what was seen in `epoch`, unless that was done before. Raises StorageError."""
        if self._done or not self._seen:
            return
        tiles = [_labelled(*seen, names) for seen in self._seen]
        head = f"epoch {epoch}: the first {len(tiles)} images as the network gets them, with their boxes"
        write_bytes(self._kept, annotate.jpeg(annotate.sheet(tiles, COLUMNS, [head])))
        self._done, self._seen = True, []
        self._show()

    def _show(self) -> None:
        write_bytes(self._shown, self._kept.read_bytes())


def draw_val(trainer: Any, epoch: int) -> None:
    """Draw labels of val beside what the averaged weights find now, those of `epoch`. Raises StorageError."""
    images = trainer.test_loader.dataset
    labelled = [index for index, label in enumerate(images.labels) if len(label["cls"])]
    if not labelled:
        return
    chosen = np.linspace(0, len(labelled) - 1, min(MOST_VAL, len(labelled))).round().astype(int)
    names, tiles = trainer.data["names"], []
    _prepare(trainer)
    for index in chosen:
        with batches.seeded(0):  # the engine draws for an image of val too
            sample = images[labelled[index]]
        tiles += [_labelled(sample["img"], sample["bboxes"], sample["cls"], names), _found(trainer, sample, names)]
        trainer.beat.tick()
    columns = min(COLUMNS, len(tiles))
    heads = ["labels", f"found by epoch {epoch}, above {CONFIDENCE:g}"] * (columns // 2)
    write_bytes(trainer.out / SHEETS / VAL, annotate.jpeg(annotate.sheet(tiles, columns, heads)))


def _prepare(trainer: Any) -> None:
    """Set the validator up as it does for an epoch: a training that is found finished has not validated here."""
    network, validator = trainer.ema.ema, trainer.validator
    if hasattr(network, "end2end"):
        network.end2end = validator.args.nms is False
    network.float().eval()
    validator.device, validator.data, validator.training = trainer.device, trainer.data, True
    validator.init_metrics(network)


def _labelled(image: Any, boxes: Any, classes: Any, names: dict[int, str]) -> Image:
    """Draw labels: `image` (3, h, w) RGB bytes, `boxes` (n, 4) cx cy w h as fractions of it, `classes` (n, 1)."""
    height, width = image.shape[1:]
    centres, sides = np.asarray(boxes, float).reshape(-1, 2, 2).transpose(1, 0, 2) * (width, height)
    edges = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    numbers = [int(number) for number in np.asarray(classes).reshape(-1)]
    return annotate.tile(_bgr(image), edges, numbers, [names[number] for number in numbers])


def _found(trainer: Any, sample: dict[str, Any], names: dict[int, str]) -> Image:
    """Draw what the averaged weights find in an image of val, with the engine's own steps before and after."""
    import torch

    network, validator = trainer.ema.ema, trainer.validator
    batch = trainer.test_loader.dataset.collate_fn([sample])
    with torch.inference_mode(), computing(network, trainer.precision.used, trainer.device.type):
        [found] = validator.postprocess(network(validator.preprocess(batch)["img"]))
    sure = found["conf"] >= CONFIDENCE
    boxes, scores, classes = (found[name][sure].float().cpu().numpy() for name in ("bboxes", "conf", "cls"))
    words = [f"{names[int(number)]} {score:.2f}" for number, score in zip(classes, scores, strict=True)]
    return annotate.tile(_bgr(sample["img"]), boxes, _numbers(classes), words)


def _numbers(classes: NDArray[np.float32]) -> Sequence[int]:
    return [int(number) for number in classes]


def _bgr(image: Any) -> Image:
    return np.ascontiguousarray(image.numpy().transpose(1, 2, 0)[..., ::-1])
