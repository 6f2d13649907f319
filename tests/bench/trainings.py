"""Trains in processes of their own, for the benchmarks: with Sightline's supervision, and with the engine alone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sightline.config import TrainConfig
from sightline.config.presets import resolve
from sightline.train.decisions import first
from sightline.train.job import engine_options
from tests.bench.timing import environment, timed

SIGHTLINE = [sys.executable, "-m", "sightline"]


class Trained(NamedTuple):
    """A training that ended: how long it took, and what its validation said."""

    wall_seconds: float  # of the whole command, imports included
    epoch_seconds: list[float]  # the first is the longest: the data is scanned, memory is first allocated
    map50_95: float  # of the best epoch, on val
    found: dict[str, Any]  # the stage's document, or what the engine's process measured

    def images_per_second(self, images: int) -> float:
        """Return the rate from the end of the first epoch to the end of the last; `images` in the training split."""
        return images * (len(self.epoch_seconds) - 1) / sum(self.epoch_seconds[1:])


class Trainings:
    """Trainings of one snapshot, in `folder`."""

    def __init__(self, folder: Path, data: str, weights: str, preset: str, values: dict[str, Any]) -> None:
        """Validate `data` and fetch its snapshot, so that no training pays for that."""
        self.folder, self.preset, self.values = folder, preset, values
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--data", data, "--weights", weights, "--preset", preset, *sets(values)]
        timed([*SIGHTLINE, "validate", "--run", "run", *options], folder)
        snapshot = json.loads((folder / "run" / "validate" / "validate.json").read_text())["snapshot"]
        fetch = "import sys; from sightline.snapshots import fetch; data = fetch(sys.argv[1], splits=('train', 'val'))"
        program = f"{fetch}; print(data.data_yaml, data.count('train'))"
        answer = timed([sys.executable, "-c", program, snapshot], folder)[0].split()
        self.weights, self.data_yaml, self.images = weights, Path(answer[0]), int(answer[1])

    def config(self, values: dict[str, Any]) -> TrainConfig:
        """Return the configuration of a training with `values` of its own."""
        return resolve(self.preset, {**self.values, **values}).train

    def ours(self, values: dict[str, Any] | None = None) -> Trained:
        """Train under supervision, as `sightline train` does."""
        self._forget_labels()
        command = [*SIGHTLINE, "train", "--run", "run", "--json", *sets(values or {})]
        output, seconds, _ = timed(command, self.folder)
        document = json.loads(output)
        epochs = [epoch["seconds"] for epoch in document["history"]]
        return Trained(seconds, epochs, document["best"]["map50_95"], document)

    def start(self, values: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start a training under supervision, which the caller may kill."""
        return subprocess.Popen(
            [*SIGHTLINE, "train", "--run", "run", *sets(values)],
            cwd=self.folder,
            env=environment(self.folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def engine(self, values: dict[str, Any] | None = None) -> Trained:
        """Train with the engine alone: one process, its own loop and checkpoints, and on a CPU no loaders."""
        self._forget_labels()
        output, seconds, _ = timed(self.engine_command(values or {}, "engine"), self.folder)
        with (self.folder / "engine" / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        times = [0.0, *(float(row["time"]) for row in rows)]
        epochs = [end - start for start, end in zip(times, times[1:], strict=False)]
        best = max(float(row["metrics/mAP50-95(B)"]) for row in rows)
        return Trained(seconds, epochs, best, json.loads(output.splitlines()[-1]))

    def engine_command(self, values: dict[str, Any], name: str, **options: Any) -> list[str]:
        """Return the command of a training with the engine alone, which leaves its files in the folder `name`."""
        config = self.config(values)
        engine = engine_options(config, first(config), self.data_yaml, self.weights, self.folder / name)
        job = self.folder / f"{name}.json"
        job.write_text(json.dumps({**engine, "workers": first(config).workers, **options}), encoding="utf-8")
        return [sys.executable, "-m", "tests.helpers.ultralytics", "train", str(job)]

    def _forget_labels(self) -> None:
        """Remove the engine's own index of the labels: no training starts with it."""
        for cache in (self.folder / "cache").rglob("*.cache"):
            cache.unlink()


def sets(values: dict[str, Any]) -> list[str]:
    """Return the command line's options for values of the configuration."""
    return [text for name, value in values.items() for text in ("--set", f"{name}={value}")]
