"""Measures what measuring costs: `make bench ARGS="--only clock"`.

In one process the same batch is trained on again and again, in turn with the clock that says where time goes and with
one that stands still. Compared are lower quartiles, since other programs only add; the borders between phases are
also timed by themselves.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sightline.datasets.synthetic import draw
from tests.bench.timing import timed

STEPS, WARM_UP = 40, 6  # of each kind; of both together
BORDERS = 5  # of a step in one pass: data, other, transfer, compute, other
TRIES = 20_000  # of a border
VALUES = {"train.image_size": 160, "train.batch": 8, "train.nominal_batch": 8, "train.workers": 0}


class Stopped:
    """A clock that stands still."""

    def enter(self, phase: str) -> None:
        """Do nothing."""

    def waited(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Hand on the batches."""
        return batches


def main(folder: Path) -> dict[str, Any]:
    """Measure with yolo11n on drawn images, on a GPU where there is one."""
    draw(folder / "data")
    output = timed([sys.executable, "-m", "tests.bench.clock", str(folder / "data" / "data.yaml")], folder)[0]
    return json.loads(output.splitlines()[-1])  # type: ignore[no-any-return]


def steps(folder: Path, data_yaml: Path) -> dict[str, Any]:
    """Return the seconds of a step with and without the clock, and of a border."""
    import torch

    from sightline.runtime import provenance
    from sightline.train.engine import clock, loop
    from tests.helpers import small_training

    gpus = min(1, len(provenance.visible_gpus()))
    trainer = small_training.trainer(small_training.prepared(folder, data_yaml, {**VALUES, "train.gpus": gpus}))
    trainer._setup_train()
    trainer.epoch, trainer.tloss, trainer.overflows, trainer.train_time_start = 0, None, 0, time.time()
    epochs = loop.Epochs(trainer)
    trainer._model_train()
    kept = next(iter(trainer.train_loader))
    clocks = {"with": clock.of_device(trainer.device), "without": Stopped()}
    found: dict[str, list[float]] = {name: [] for name in clocks}
    for number in range(WARM_UP + 2 * STEPS):
        name = tuple(clocks)[number % 2]
        trainer.clock = clocks[name]
        batch = {key: value.clone() if hasattr(value, "clone") else value for key, value in kept.items()}
        begin = time.perf_counter()
        for ready in trainer.clock.waited([batch]):
            loop._step(epochs, 0, number, ready)
        if gpus:
            torch.cuda.synchronize()
        if number >= WARM_UP:
            found[name].append(time.perf_counter() - begin)
    border = _border(clocks["with"])
    quartiles = {name: statistics.quantiles(values, n=4)[0] for name, values in found.items()}
    return {
        "device": trainer.device.type,
        "batch": VALUES["train.batch"],
        "image_size": VALUES["train.image_size"],
        "steps": STEPS,
        "seconds": quartiles,
        "ratio": quartiles["with"] / quartiles["without"],
        "border_seconds": border,
        "borders": BORDERS,
        "share": border * BORDERS / quartiles["without"],
    }


def _border(real: Any) -> float:
    """Return the seconds of the host for a border between two phases."""
    real.take()
    begin = time.perf_counter()
    for _ in range(TRIES):
        real.enter("other")
    return (time.perf_counter() - begin) / TRIES


if __name__ == "__main__":
    print(json.dumps(steps(Path.cwd() / "job", Path(sys.argv[1]))))
