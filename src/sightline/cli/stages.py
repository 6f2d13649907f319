"""One command per stage, except validate. They read and write the folders of a run directory, as the pipeline does."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from sightline.cli import output
from sightline.cli.form_options import Devices, choose_devices
from sightline.cli.options import (
    Assign,
    DeviceName,
    Json,
    Pictures,
    Run,
    out,
    print_document,
    print_lines,
    progress_display,
    styled,
)
from sightline.cli.options import (
    device as device_of,
)
from sightline.cli.training_options import AUTO, MasterAddr, MasterPort, NodeRank, Resume
from sightline.config import RunConfig
from sightline.config.assignments import apply, parse_assignments
from sightline.documents import EvaluateDocument, ValidateDocument, decimals, read
from sightline.errors import ConfigError, StageInputError
from sightline.runtime.stage_frame import NAMES
from sightline.runtime.terminal import print_json


def _validated(
    run: Path, assignments: list[str], named: Mapping[str, Any] = MappingProxyType({})
) -> tuple[ValidateDocument, RunConfig]:
    """Return a run's data report and its configuration with named options on top, and --set over these."""
    document = read(ValidateDocument, run / "validate")
    return document, apply(document.config, {**named, **parse_assignments(assignments)})


def train(
    run: Run,
    resume: Resume = AUTO,
    node_rank: NodeRank = None,
    master_addr: MasterAddr = None,
    master_port: MasterPort = None,
    devices: Devices = None,
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Train on the snapshot of a run directory, or go on with a training of it that was stopped.

    sightline train --run runs/mine

    sightline train --run runs/mine --set train.epochs=50 --devices 2,3

    On each of several machines with its own number; of a launcher such as Kubeflow Trainer it takes both itself:

    sightline train --run runs/mine --set train.nodes=2 --node-rank 0 --master-addr 10.0.0.7
    """
    from sightline import train as stage
    from sightline.tracking.records import PipelineRun
    from sightline.train import nodes
    from sightline.train.take_part import take_part

    checked, config = _validated(run, assign, choose_devices(devices, parse_assignments(assign)))
    command = ["sightline", "train", "--run", str(run), *(part for value in assign for part in ("--set", value))]
    node = nodes.place(config.train, rank=node_rank, address=master_addr, port=master_port, command=shlex.join(command))
    weights, code = checked.weights.reference, checked.train_code
    if node and node.rank:
        take_part(snapshot=checked.snapshot, config=config.train, weights=weights, code=code, node=node)
        print_lines([f"node {node.rank} took part to the end; node 0 has the result"])
        return
    name = run.resolve().name
    with progress_display(as_json, run):
        document = stage.run(
            snapshot=checked.snapshot,
            config=config.train,
            weights=weights,
            code=code,
            out=run / "train",
            resume=resume == AUTO,
            node=node,
            recorded=PipelineRun(name, name, checked.started_at, config),
        )
    best = document.best
    print_document(
        document,
        as_json,
        [
            f"best epoch {best.epoch}: val mAP50 {best.map50:.3f}, mAP50-95 {best.map50_95:.3f}",
            f"{document.time.verdict}. {document.time.advice}",
        ],
    )


def export(run: Run, assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Export the best checkpoint to ONNX and prove that it computes the same.

    sightline export --run runs/mine

    sightline export --run runs/mine --set export.opset=17
    """
    from sightline import export as stage

    checked, config = _validated(run, assign)
    with progress_display(as_json, run):
        document = stage.run(
            train=run / "train",
            snapshot=checked.snapshot,
            config=config.export,
            out=run / "export",
        )
    parity = document.parity
    best = document.confidence_f1
    chosen = f"mean F1 {best:.3f} on val" if best else "a default: no labelled object was found on val"
    lines = [
        f"{run}/export/{document.onnx} · opset {document.opset} · sha256 {document.sha256}",
        f"operating confidence {decimals(document.confidence)} ({chosen})",
        f"parity: raw outputs within {parity.max_abs_diff:.2g}; "
        f"{parity.matched} detections matched, {parity.unmatched} not",
    ]
    print_document(document, as_json, lines)


def evaluate(run: Run, device: DeviceName = "auto", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Score the ONNX file on the test split and let the gate judge; exit code 3 if it rejects.

    sightline evaluate --run runs/mine

    sightline evaluate --run runs/mine --set gate.min_map50=0.9
    """
    from sightline import evaluate as stage

    checked, config = _validated(run, assign)
    with progress_display(as_json, run):
        document = stage.run(
            export=run / "export",
            snapshot=checked.snapshot,
            gate=config.gate,
            out=run / "evaluate",
            device=device_of(device),
        )
    print_document(document, as_json, [])
    if not as_json:
        out.print(output.scores_table(document.per_class, document.map50, document.map50_95))
        print_lines([styled("verdict: ", (document.verdict, "bold"), " · ", " · ".join(document.reasons))])
    if document.verdict == "rejected":
        raise typer.Exit(output.REJECTED)


def sample(
    run: Run,
    pictures: Pictures = None,
    device: DeviceName = "auto",
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Draw what the ONNX file finds in test images, and in your own, with a written finding for each.

    sightline sample --run runs/mine --set sample.count=24

    sightline sample --run runs/mine --pictures ./photos
    """
    from sightline import sample as stage

    checked, config = _validated(run, assign, {"sample.pictures": pictures} if pictures else {})
    evaluated = run / "evaluate"
    with progress_display(as_json, run):
        document = stage.run(
            export=run / "export",
            evaluate=evaluated if (evaluated / EvaluateDocument.file_name()).exists() else None,
            snapshot=checked.snapshot,
            config=config.sample,
            out=run / "sample",
            device=device_of(device),
        )
    print_document(document, as_json, [f"{run}/sample/{s.file}  {s.image}: {s.finding}" for s in document.samples])


def _folders(run: Path) -> dict[str, Path]:
    return {name: run / name for name in NAMES if (run / name / f"{name}.json").exists()}


def _conclude(run: Path) -> None:
    """Update the summary and the page of the run directory from the documents of its stages."""
    from sightline import report as stage
    from sightline.documents import SummaryDocument

    started_at = None
    with contextlib.suppress(StageInputError):  # there is none, or none of this version: it is written now
        started_at = read(SummaryDocument, run).started_at
    stage.conclude(run_id=run.resolve().name, folders=_folders(run), out=run, started_at=started_at)


def report(run: Run, as_json: Json = False) -> None:
    """Write the page and the MLflow run of a run directory; repeating it changes nothing.

    With SIGHTLINE_TRACKING=off the page alone.

    sightline report --run runs/mine

    With the id of a run on a cluster, finish that: write its summary, its page and the end of its MLflow run out of
    what its stages left in SIGHTLINE_STORE. A run that was terminated needs it; wait until it is over.

    sightline report --run 2a4d9a05-…
    """
    from sightline import report as stage
    from sightline.tracking import address

    if len(run.parts) == 1 and not run.exists():
        _finish(run.name, as_json)
        return
    folders = {name: path for name, path in _folders(run).items() if name != "report"}
    with progress_display(as_json, run):
        document = stage.run(run_id=run.resolve().name, folders=folders, out=run / "report")
    _conclude(run)
    place = address.place_of(document)
    recorded = f"MLflow run {place.run_id} at {place.tracking_uri}" if place else f"no MLflow run: {address.OFF}"
    print_document(document, as_json, [f"{run}/report.html", recorded])


def _finish(run_id: str, as_json: bool) -> None:
    """Finish a run of which this machine has nothing. Raises StageInputError if the store has nothing either."""
    from sightline import report as stage
    from sightline.run_store import RunStore
    from sightline.storage import open_store

    expected = "Expected a run directory, or the id of a run on a cluster, as the dashboard and `submit` show it"
    store = os.environ.get("SIGHTLINE_STORE")
    if not store:
        raise StageInputError(
            f"There is no folder {run_id} here. {expected}, and SIGHTLINE_STORE, the store in which that works."
        )
    run = RunStore(open_store(store), run_id)
    if not next(run.store.entries(run.key("")), None):
        raise StageInputError(
            f"There is no folder {run_id} here, and the store {store} has nothing of a run of this id. {expected}."
        )
    with tempfile.TemporaryDirectory(prefix="sightline-report-") as folder:
        summary = stage.finish(run, Path(folder))
    if as_json:
        print_json(summary.model_dump_json(indent=2, by_alias=True))
        return
    output.print_result(summary, out)
    print_lines([f"{run.store.uri}/{run.key(name)}" for name in ("summary.json", "report.html")])


def register(run: Run, as_json: Json = False) -> None:
    """Make the exported file of a run directory a model version; exit code 2 if its verdict is rejected.

    sightline register --run runs/mine
    """
    from sightline import register as stage
    from sightline.tracking import address

    if address.tracking_uri() is None:
        raise ConfigError(
            f"There is no model registry: {address.OFF}. Unset it, run `sightline report` so that MLflow has the run, "
            "and then this again."
        )
    with progress_display(as_json, run):
        document = stage.run(
            run_id=run.resolve().name,
            folders={name: run / name for name in NAMES},
            out=run / "register",
        )
    assert document  # tracking is on
    _conclude(run)
    aliases = ", ".join(document.aliases)
    print_document(
        document, as_json, [f"{document.model_name} version {document.version} ({aliases}) at {document.tracking_uri}"]
    )
