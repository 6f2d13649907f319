"""MLflow's model registry: one version for each accepted file of a run."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import re
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.documents import (
    EvaluateDocument,
    ExportDocument,
    SummaryDocument,
    TrainDocument,
    ValidateDocument,
    decimals,
)
from sightline.errors import TrackingError
from sightline.storage import sha256_file
from sightline.tracking.address import RUN_TAG

STORED = "model.onnx"  # how MLflow's ONNX flavour names the file
DESCRIPTION_LENGTH = 5000  # what MLflow's database holds
SOURCE_LENGTH = 500  # of a path or URI in it


@dataclass(frozen=True)
class Model:
    """An accepted file with everything that is known about it."""

    file: Path
    run_id: str
    validated: ValidateDocument
    trained: TrainDocument
    exported: ExportDocument
    evaluated: EvaluateDocument
    summary: SummaryDocument


def register(mlflow: Any, model: Model, mlflow_run: str) -> Any:
    """Return the model version of this run's file, created where needed, verified, and with its alias.

    `mlflow` is a client, `mlflow_run` the MLflow run that recorded the pipeline run.

    Raises TrackingError if the registry holds other bytes than were registered; MLflow's own exceptions.
    """
    config = model.validated.config.register_
    _ensure_name(mlflow, config.model_name)
    version = _existing(mlflow, model, mlflow_run)
    if version is None:
        logged = _log(mlflow, model, mlflow_run)
        version = mlflow.create_model_version(
            config.model_name,
            source=f"models:/{logged}",
            run_id=mlflow_run,
            model_id=logged,
            tags=tags(model),
            description=description(model),
        )
    _verify(model, version)
    _point(mlflow, config.model_name, config.alias, version)
    return mlflow.get_model_version(config.model_name, version.version)


def at_alias(mlflow: Any, name: str, alias: str) -> Any | None:
    """Return the version at an alias; None where there is no such model, or no such alias. Raises MLflow's own."""
    from mlflow import MlflowException

    try:
        number = mlflow.get_registered_model(name).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return mlflow.get_model_version(name, number) if number else None


def origin(version: Any) -> tuple[str, str | None, str | None]:
    """Return a version's number, and the digest of the snapshot and the run that it is from, if it was ours."""
    return str(version.version), version.tags.get("sightline.snapshot"), version.tags.get(RUN_TAG)


def tags(model: Model) -> dict[str, str]:
    """Return the tags that a version is found and judged by; nulls are left out."""
    evaluated = model.evaluated
    values = {
        "run_id": model.run_id,
        "onnx_sha256": model.exported.sha256,
        "map50": evaluated.map50,
        "map50_95": evaluated.map50_95,
        "confidence": decimals(evaluated.confidence),
        "snapshot": model.validated.digest,
        "git_commit": model.summary.git_commit,
        "weights_licence": model.validated.weights.licence,
        "architecture": model.exported.architecture,
    }
    shown = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in values.items()}
    return {f"sightline.{name}": value for name, value in shown.items() if value is not None}


def description(model: Model) -> str:
    """Return the version's description, in Markdown; only the first classes where not all fit."""
    exported, evaluated, weights = model.exported, model.evaluated, model.validated.weights

    def show(value: float | None) -> str:
        return "no samples" if value is None else f"{value:.3f}"

    rows = [
        f"| {_cell(item.name)} | {item.boxes} | {show(item.map50_95)} | {show(item.map50)} |\n"
        for item in evaluated.per_class
    ]
    before = (
        f"**mAP50-95 {show(evaluated.map50_95)}, mAP50 {show(evaluated.map50)}** on {evaluated.images} images of the "
        f"{evaluated.split} split, measured on this very file.\n\n"
        f"At its operating confidence {decimals(evaluated.confidence)}: precision {show(evaluated.precision)}, "
        f"recall {show(evaluated.recall)}.\n\n"
        f"| class | boxes | mAP50-95 | mAP50 |\n|---|---:|---:|---:|\n"
    )
    after = (
        f"\n- Architecture: {exported.architecture}, input {exported.image_size} pixels, ONNX opset {exported.opset}\n"
        f"- Trained from `{weights.source[:SOURCE_LENGTH]}` (licence: {weights.licence}) for "
        f"{model.trained.epochs_completed} epochs\n"
        f"- Data: `{model.validated.source[:SOURCE_LENGTH]}`, snapshot `{model.validated.digest}`\n"
        f"- ONNX sha256: `{exported.sha256}`\n"
        f"- Scored: {evaluated.settings}\n"
        f"- Pipeline run: `{model.run_id}`\n"
    )
    room = DESCRIPTION_LENGTH - len(before) - len(after) - 60  # for the line about the rest
    shown = sum(length <= room for length in itertools.accumulate(len(row) for row in rows))
    rest = f"\n{len(rows) - shown} more classes are in the report.\n" if shown < len(rows) else ""
    return before + "".join(rows[:shown]) + rest + after


def _cell(text: str) -> str:
    """Keep a class name, which is the user's, inside its table cell and free of markup."""
    plain = text[:100].replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(plain.split())


def _ensure_name(mlflow: Any, name: str) -> None:
    from mlflow import MlflowException

    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _existing(mlflow: Any, model: Model, mlflow_run: str) -> Any:
    name = model.validated.config.register_.model_name
    versions = mlflow.search_model_versions(f"name = '{name}' and run_id = '{mlflow_run}'")
    ours = (model.run_id, model.exported.sha256)
    same = [v for v in versions if (v.tags.get(RUN_TAG), v.tags.get("sightline.onnx_sha256")) == ours]
    return same[0] if same else None


def _log(mlflow: Any, model: Model, mlflow_run: str) -> str:
    """Store the file as a logged model of the run's experiment; return the logged model's id."""
    import mlflow.onnx as flavour
    import onnx
    from mlflow.entities import LoggedModelOutput

    loaded = onnx.load(model.file)
    experiment = mlflow.get_run(mlflow_run).info.experiment_id
    # Created first and explicitly: `log_model` alone would put it into whichever experiment the process has active.
    logged = mlflow.create_logged_model(
        experiment,
        # Stricter than a registered model's name.
        name=re.sub(r"[^\w-]", "-", model.validated.config.register_.model_name),
        source_run_id=mlflow_run,
        tags=tags(model),
    )
    with _runtime_named():
        flavour.log_model(
            loaded,
            model_id=logged.model_id,
            signature=_signature(loaded),
            save_as_external_data=False,
            # Given, since guessing them starts the model in a fresh process and takes seconds.
            pip_requirements=[f"onnx=={importlib.metadata.version('onnx')}", "onnxruntime>=1.20", "numpy>=2.1"],
        )
    mlflow.log_outputs(mlflow_run, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id)


@contextlib.contextmanager
def _runtime_named() -> Iterator[None]:
    """Let MLflow's ONNX flavour save a file where ONNX Runtime is not installed, as in the image that registers.

    The flavour imports it to check session options, of which we give none.
    """
    name = "onnxruntime"
    if importlib.util.find_spec(name):
        yield
        return
    sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


def _signature(loaded: Any) -> Any:
    """Return the graph's inputs and outputs by name, with -1 for every dimension that is free."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    def spec(value: Any) -> Any:
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        return TensorSpec(np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type)), shape, name=value.name)

    inputs, outputs = loaded.graph.input, loaded.graph.output
    return ModelSignature(Schema([spec(value) for value in inputs]), Schema([spec(value) for value in outputs]))


def _verify(model: Model, version: Any) -> None:
    """Download the version and compare its bytes with the file that was scored."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="sightline-register-") as folder:
        root = Path(download_artifacts(artifact_uri=f"models:/{version.name}/{version.version}", dst_path=folder))
        found = sha256_file(root / STORED) if (root / STORED).is_file() else None
    if found != model.exported.sha256:
        raise TrackingError(
            f"Version {version.version} of '{version.name}' in the model registry holds "
            f"{f'a file with sha256 {found}' if found else f'no {STORED}'}, expected {model.exported.sha256}. "
            "It got no alias. Delete the version and register again."
        )


def _point(mlflow: Any, name: str, alias: str, version: Any) -> None:
    """Set the version's alias, unless a newer version has it by now: a late retry must not move it back."""
    current = mlflow.get_registered_model(name).aliases.get(alias)
    if current is None or int(current) < int(version.version):
        mlflow.set_registered_model_alias(name, alias, version.version)
