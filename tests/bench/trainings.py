"""Trains in processes of their own, for the benchmarks: with Sightline's supervision, and with the engine alone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sightline.config import TrainConfig
from sightline.config.presets import resolve
from sightline.train.decisions import first
from sightline.train.job import engine_options
from tests.bench import hooks
from tests.bench.timing import environment, timed

SIGHTLINE = [sys.executable, "-m", "sightline"]
ENGINE = [sys.executable, "-m", "tests.helpers.ultralytics", "train"]
FETCH = (
    "import json, sys; from sightline.snapshots import fetch; data = fetch(sys.argv[1], splits=('train', 'val')); "
    "print(json.dumps([str(data.data_yaml), data.count('train')]))"
)


class Trained(NamedTuple):
    """A training that ended: how long it took, and what its validation said."""

    wall_seconds: float  # of the whole command, imports included
    epoch_seconds: list[float]  # in the first one memory is allocated for the first time
    map50_95: float  # of the best epoch, on val
    found: dict[str, Any]  # the stage's document, or what the engine's process measured

    @property
    def seconds_per_epoch(self) -> float:
        """Return the mean from the end of the first epoch to the end of the last."""
        return sum(self.epoch_seconds[1:]) / (len(self.epoch_seconds) - 1)


class Trainings:
    """Trainings of one snapshot, in `folder`."""

    def __init__(self, folder: Path, data: str, weights: str, preset: str, values: dict[str, Any]) -> None:
        """Validate `data` and fetch its snapshot, so that no training pays for that."""
        self.folder, self.preset, self.values, self.weights = folder, preset, values, weights
        self.kept = folder / "kept"  # by hooks
        self.kept.mkdir(parents=True)
        options = ["--data", data, "--weights", weights, "--preset", preset, *sets(values)]
        timed([*SIGHTLINE, "validate", "--run", "run", *options], folder)
        snapshot = json.loads((folder / "run" / "validate" / "validate.json").read_text())["snapshot"]
        answer = timed([sys.executable, "-c", FETCH, snapshot], folder)[0]
        data_yaml, self.images = json.loads(answer)
        self.data_yaml = Path(data_yaml)

    def config(self, values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of a training with `values` of its own."""
        return resolve(self.preset, {**self.values, **values}).train

    def ours(self, values: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Trained:
        """Train under supervision, as `sightline train` does."""
        self._forget_labels()
        command = [*SIGHTLINE, "train", "--run", "run", "--json", *sets(values)]
        output, seconds, _ = timed(command, self.folder, {hooks.FOLDER: str(self.kept), **(variables or {})})
        document = json.loads(output)
        epochs = [epoch["seconds"] for epoch in document["history"]]
        return Trained(seconds, epochs, document["best"]["map50_95"], document)

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a training that the caller will hurt."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**environment(self.folder), hooks.FOLDER: str(self.kept)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_ours(self, values: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start a training under supervision that the caller will hurt."""
        return self.start([*SIGHTLINE, "train", "--run", "run", *sets(values)])

    def engine(self, values: Mapping[str, Any]) -> Trained:
        """Train with the engine alone: one process, its own loop and checkpoints, and on a CPU no loaders."""
        self._forget_labels()
        output, seconds, _ = timed(self.engine_command(values, "engine"), self.folder)
        rows = table(self.folder / "engine")
        times = [0.0, *(row["time"] for row in rows)]
        epochs = [end - start for start, end in pairwise(times)]
        best = max(row["metrics/mAP50-95(B)"] for row in rows)
        return Trained(seconds, epochs, best, json.loads(output.splitlines()[-1]))

    def engine_command(self, values: Mapping[str, Any], name: str, **options: Any) -> list[str]:
        """Return the command of a training with the engine alone, which leaves its files in the folder `name`."""
        config = self.config(values)
        engine = engine_options(config, first(config), self.data_yaml, self.weights, self.folder / name)
        return self.plain_command({**engine, "workers": config.workers, **options}, name)

    def plain_command(self, options: Mapping[str, Any], name: str) -> list[str]:
        """Return the command of a training with the engine alone and these options of its own."""
        job = self.folder / f"{name}.json"
        job.write_text(json.dumps({**options, "save_dir": str(self.folder / name)}), encoding="utf-8")
        return [*ENGINE, str(job)]

    def _forget_labels(self) -> None:
        """Remove the engine's own index of the labels: no training starts with it."""
        for cache in (self.folder / "cache").rglob("*.cache"):
            cache.unlink()


def sets(values: Mapping[str, Any]) -> list[str]:
    """Return the command line's options for values of the configuration."""
    return [text for name, value in values.items() for text in ("--set", f"{name}={value}")]


def table(folder: Path) -> list[dict[str, float]]:
    """Return the engine's table of epochs; none where it has not written any."""
    path = folder / "results.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name.strip(): float(value) for name, value in row.items()} for row in csv.DictReader(file)]
