"""What pipeline tasks call: parameters are strings and numbers, folders are paths, errors end the process.

Each function is the whole body of one component. Nothing here imports kfp: the typed artifacts that the dashboard
renders are the objects passed in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from sightline.atomic import write_text
from sightline.config import RunConfig, TrainConfig
from sightline.config.parameters import PipelineParameters, placeholder_free_json
from sightline.documents import parse_weights
from sightline.errors import ConfigError, SightlineError
from sightline.runtime import machine
from sightline.runtime.lifetime import end_with_command
from sightline.runtime.stage_frame import stop_on_signals

machine.limit_threads()  # before a stage imports numpy


class Metrics(Protocol):
    """A typed artifact that the dashboard shows as a table."""

    path: str

    def log_metric(self, metric: str, value: float) -> None:
        """Add a row."""


class Confusion(Protocol):
    """A typed artifact that the dashboard shows as a matrix."""

    path: str

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Set the matrix."""


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    """Print an error meant for the user and end the task with its exit code, without a traceback."""
    stop_on_signals()
    end_with_command()
    try:
        yield
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _log(metrics: Metrics, values: Mapping[str, float | None]) -> None:
    """Publish what has a value; KFP cannot hold an absent one."""
    there = {name: value for name, value in values.items() if value is not None}
    for name, value in there.items():
        metrics.log_metric(name, value)
    # The local runner's cache takes an artifact without a file for one that was deleted, and runs the task again.
    write_text(Path(metrics.path), json.dumps(there))


def mistakes(parameters: PipelineParameters, store: str) -> list[str]:
    """Say what validate would refuse in the pipeline's parameters, without asking the tracking server."""
    from sightline.validate import preflight

    try:
        values = parameters.values()
    except ConfigError as error:
        return [str(error)]
    return preflight.mistakes(parameters.recipe, values, source=parameters.data, store=store)


def validate(*, folder: str, metrics: Metrics, page: str, **parameters: Any) -> tuple[Any, ...]:
    """Check everything and make the snapshot.

    Returns its URI, the weights, the training configuration, the whole configuration, the digests of what trains and of
    what evaluates, and the node selector and tolerations of train.
    """
    from sightline import validate as stage
    from sightline.runtime import stage_frame

    with _user_errors():
        try:
            given = PipelineParameters.given(parameters)
            config = stage.resolve(given.recipe, given.values(), given.data)
        except ConfigError as error:
            stage_frame.failed("validate", error)
            raise
        document = stage.run(source=given.data, config=config, out=Path(folder))
        shutil.copyfile(Path(folder) / "data.html", page)
        images = {f"images_{split}": float(counts.images) for split, counts in document.splits.items()}
        boxes = {f"boxes_{split}": float(counts.boxes) for split, counts in document.splits.items()}
        _log(metrics, {**images, **boxes})
        weights = document.weights.reference.text()
        train = placeholder_free_json(config.train.model_dump(mode="json"))
        whole = placeholder_free_json(json.loads(config.json_text()))
        codes = document.train_code, document.infer_code
        return document.snapshot, weights, train, whole, *codes, given.node_selector(), given.tolerations()


def train(*, snapshot: str, weights: str, config: str, code: str, folder: str, metrics: Metrics) -> None:
    """Train."""
    from sightline import train as stage

    with _user_errors():
        document = stage.run(
            snapshot=snapshot,
            config=TrainConfig.model_validate_json(config),
            weights=parse_weights(weights),
            code=code,
            out=Path(folder),
        )
        best = document.best
        _log(metrics, {"val_map50": best.map50, "val_map50_95": best.map50_95, "best_epoch": best.epoch})


def export(*, train: str, snapshot: str, config: str, folder: str, metrics: Metrics) -> None:
    """Export."""
    from sightline import export as stage

    with _user_errors():
        whole = RunConfig.model_validate_json(config)
        document = stage.run(
            train=Path(train),
            snapshot=snapshot,
            config=whole.export,
            out=Path(folder),
        )
        parity = document.parity
        _log(
            metrics, {"confidence": document.confidence, "max_abs_diff": parity.max_abs_diff, "matched": parity.matched}
        )


def evaluate(*, export: str, snapshot: str, config: str, folder: str, metrics: Metrics, confusion: Confusion) -> None:
    """Evaluate."""
    from sightline import evaluate as stage

    with _user_errors():
        whole = RunConfig.model_validate_json(config)
        document = stage.run(export=Path(export), snapshot=snapshot, gate=whole.gate, out=Path(folder))
        names = ("map50", "map50_95", "map75", "precision", "recall", "f1")
        _log(metrics, {name: getattr(document, name) for name in names})
        confusion.log_confusion_matrix(document.confusion.labels, document.confusion.counts)
        write_text(Path(confusion.path), document.confusion.model_dump_json())


def sample(*, export: str, evaluate: str, snapshot: str, config: str, folder: str) -> None:
    """Draw samples."""
    from sightline import sample as stage

    with _user_errors():
        whole = RunConfig.model_validate_json(config)
        stage.run(
            export=Path(export), evaluate=Path(evaluate), snapshot=snapshot, config=whole.sample, out=Path(folder)
        )


def verdict(*, evaluate: str) -> str:
    """Return the gate's verdict, `accepted` or `rejected`."""
    from sightline.documents import EvaluateDocument, read

    with _user_errors():
        return read(EvaluateDocument, Path(evaluate)).verdict


def report(*, run_id: str, name: str, folder: str, page: str, **folders: str) -> None:
    """Write the page and the MLflow run; the page is also published at `page`."""
    from sightline import report as stage

    with _user_errors():
        local = os.environ.get("SIGHTLINE_RUN_ID")
        stage.run(
            run_id=local or run_id,
            name=local or name,
            folders={k: Path(v) for k, v in folders.items()},
            out=Path(folder),
        )
        shutil.copyfile(Path(folder) / "report.html", page)


def register(*, run_id: str, folder: str, **folders: str) -> None:
    """Register the model version."""
    from sightline import register as stage

    with _user_errors():
        # On one machine a run is known by its directory; the job's id there is random.
        identity = os.environ.get("SIGHTLINE_RUN_ID") or run_id
        stage.run(run_id=identity, folders={k: Path(v) for k, v in folders.items()}, out=Path(folder))
