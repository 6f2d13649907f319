"""What pipeline tasks call: parameters are strings and numbers, artifacts are small files, errors end the process.

Each function is the whole body of one component. Nothing here imports kfp: the typed artifacts that the dashboard
renders are the objects passed in. What travels from task to task, and what stays in the store, is in `task_frame`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sightline import rank_pods
from sightline.atomic import write_text
from sightline.config import ExportConfig, GateConfig, SampleConfig, TrainConfig
from sightline.config.parameters import PipelineParameters, placeholder_free_json
from sightline.documents import EvaluateDocument, ValidateDocument, parse_weights
from sightline.documents.stage_record import Records, StoredFile, pictures
from sightline.errors import DataRejected, SightlineError, StorageError
from sightline.runtime import machine, progress
from sightline.runtime.pipeline_pod import in_pipeline_pod
from sightline.runtime.stage_frame import error_report
from sightline.shared_training import SharedTraining
from sightline.task_frame import ALL, NO_CACHE, RUNS, Task, task

machine.limit_threads()  # before a stage imports numpy

SUCCEEDED = ("COMPLETE", "SUCCEEDED")  # KFP's words for a pipeline of which every task succeeded
OWN = "#"  # and a run's id, after a digest that a cached task takes: its result stands for no other run


class Artifact(Protocol):
    """An artifact that the dashboard shows with its metadata."""

    path: str
    metadata: dict[str, Any]


class Metrics(Artifact, Protocol):
    """An artifact that the dashboard shows as a table."""

    def log_metric(self, metric: str, value: float) -> None:
        """Add a row."""


def validate(*, dataset: Artifact, page: str, **parameters: Any) -> tuple[Any, ...]:
    """Check everything and make the snapshot.

    Returns its URI, the weights, the configuration of train, export, gate and sample, the digests of what trains and of
    what evaluates, the verdict (accepted, unchanged, or refused for data that the gate rejects), and node selector and
    tolerations of train.
    """
    from sightline import retrain
    from sightline import validate as stage

    with task("validate", first=True) as this:
        given, wrong = PipelineParameters.read(parameters)
        config = stage.resolve(given.recipe, given.values(), given.data, wrong, given.tier)
        rank_pods.check(config.train)
        for line in given.warnings() if in_pipeline_pod() else ():
            print(f"warning: {line}")
        out = this.folder("validate")
        try:
            document = stage.run(source=given.data, config=config, out=out, tier=given.tier)
        except DataRejected as error:
            this.hand_on(this.record(), dataset.path)
            this.run.fail(error_report("validate", error))
            shutil.copyfile(out / "data.html", page)
            print(error)
            return *[""] * 8, "refused", {}, []
        decision = retrain.decide(document, this.store)
        document = decision.noted(document)
        document.write(out)
        config = document.config
        if decision.why:
            progress.notice(decision.why)
        this.hand_on(this.record(), dataset.path)
        shutil.copyfile(out / "data.html", page)
        _describe(dataset, {"snapshot": document.snapshot, **_counts(document)})
        parts = (config.train, config.export, config.gate, config.sample)
        return (
            document.snapshot,
            document.weights.reference.text(),
            *(placeholder_free_json(part.model_dump(mode="json")) for part in parts),
            document.train_code + (f"{OWN}{this.run_id}" if config.train.own_result else ""),
            document.infer_code,
            "unchanged" if decision.unchanged else "accepted",
            given.node_selector(),
            given.tolerations(),
        )


def gate(*, verdict: str) -> str:
    """Return validate's verdict as the only output: the form that a condition can rely on."""
    return verdict


def refuse() -> None:
    """End a run whose data was refused as failed, with validate's own words."""
    with task("validate") as this:
        if error := this.run.error("validate"):
            print(f"error: {error.message}", file=sys.stderr, flush=True)
            sys.exit(error.exit_code)
        raise DataRejected("The data gate refused the data; see the page of validate.")


def train(*, snapshot: str, weights: str, config: str, code: str, checkpoint: Artifact) -> None:
    """Train, or take a finished training of the same inputs from the store."""
    from sightline import train as stage

    with task("train") as this:
        this.start_attempt(unless_final=True)
        start, settings = parse_weights(weights), TrainConfig.model_validate_json(config)
        code = code.partition(OWN)[0]
        key = stage.key(snapshot=snapshot, config=settings, weights=start, code=code)
        fresh = bool(os.environ.get(NO_CACHE))  # on one machine, where no task is repeated: a new pod always resumes
        shared = SharedTraining(this, key, snapshot=snapshot, weights=start, config=settings, fresh=fresh)
        with rank_pods.started(this.run_id, snapshot, weights, settings, code) as (node, launcher):
            document = shared.finished() or stage.run(
                snapshot=snapshot,
                config=settings,
                weights=start,
                code=code,
                out=this.folder("train"),
                resume=not fresh,
                results=shared,
                node=node,
                launcher=launcher,
                recorded=stage.tracked(this.run, this.run_id),
            )
        assert shared.record
        this.hand_on(shared.record, checkpoint.path)
        best = document.best
        _describe(checkpoint, {"val_map50": best.map50, "val_map50_95": best.map50_95, "best_epoch": best.epoch})


def export(*, checkpoint: str, snapshot: str, config: str, onnx: Artifact) -> None:
    """Export."""
    from sightline import export as stage

    with task("export") as this:
        records = this.taken(checkpoint)
        folders = this.unpacked(records, train=(records["train"].documents["train.json"]["checkpoint"],))
        document = stage.run(
            train=folders["train"],
            snapshot=snapshot,
            config=ExportConfig.model_validate_json(config),
            out=this.folder("export"),
        )
        this.hand_on(this.record(), onnx.path, records)
        parity = document.parity
        _describe(
            onnx,
            {
                "sha256": document.sha256,
                "confidence": document.confidence,
                "max_abs_diff": parity.max_abs_diff,
                "matched": parity.matched,
            },
        )


def evaluate(*, onnx: str, snapshot: str, config: str, scores: Metrics) -> None:
    """Evaluate."""
    from sightline import evaluate as stage

    with task("evaluate") as this:
        records = this.taken(onnx)
        folders = this.unpacked(records, export=_onnx(records))
        out = this.folder("evaluate")
        document = stage.run(
            export=folders["export"], snapshot=snapshot, gate=GateConfig.model_validate_json(config), out=out
        )
        kept = document.predictions
        there = {kept.file: StoredFile(uri=kept.uri, sha256=kept.sha256, size_bytes=kept.size_bytes)} if kept else {}
        this.hand_on(this.record(there), scores.path, records)
        for name in ("map50", "map50_95", "map75", "precision", "recall", "f1"):
            if (value := getattr(document, name)) is not None:  # KFP cannot hold an absent one
                scores.log_metric(name, value)


def sample(*, scores: str, snapshot: str, config: str) -> None:
    """Draw samples."""
    from sightline import sample as stage

    with task("sample") as this:
        records = this.taken(scores)
        folders = this.unpacked(records, export=_onnx(records))
        stage.run(
            export=folders["export"],
            evaluate=folders["evaluate"],
            snapshot=snapshot,
            config=SampleConfig.model_validate_json(config),
            out=this.folder("sample"),
        )
        this.leave(this.record())


def report(*, name: str, page: str, **asked: Any) -> None:
    """Write the page and the MLflow run; the page is also published at `page`.

    `asked` is what the form asked of the cluster for train.
    """
    from sightline import report as stage

    with task("report") as this:
        this.start_attempt()
        earlier = {stage: left for stage, left in this.run.records().items() if stage not in ("report", "register")}
        folders = this.unpacked(earlier, sample=ALL, train=pictures(earlier.get("train")))
        out = this.folder("report")
        on_cluster = None if os.environ.get(RUNS) else asked
        stage.run(run_id=this.run_id, name=_label(this, name), folders=folders, out=out, asked=on_cluster)
        this.leave(this.record())
        shutil.copyfile(out / stage.PAGE, page)


def verdict() -> str:
    """Return the score gate's verdict, `accepted` or `rejected`."""
    with task("evaluate") as this:
        this.start_attempt()
        record = this.run.record("evaluate")
        assert record  # sample, which comes before, left it
        return EvaluateDocument.model_validate(record.documents[EvaluateDocument.file_name()]).verdict


def register(*, version: Artifact) -> None:
    """Register the model version."""
    from sightline import register as stage

    with task("register") as this:
        this.start_attempt()
        earlier = {stage: left for stage, left in this.run.records().items() if stage != "register"}
        folders = this.unpacked(earlier, export=_onnx(earlier), sample=ALL)
        document = stage.run(run_id=this.run_id, folders=folders, out=this.folder("register"))
        if document:
            this.leave(this.record())
        write_text(Path(version.path), stage.in_words(document))


def conclude(*, name: str, state: str, page: str) -> None:
    """Write how the run ended. On one machine the command does that, and this task only notes the state."""
    from sightline import report as stage

    with task("conclude") as this:
        print(f"The pipeline ended as {state}.")
        if os.environ.get(RUNS):
            write_text(Path(page), "<p>The page of this run is report.html in its folder.</p>")
            return
        out = this.folder("conclude")
        try:
            summary = stage.finish(this.run, out, name=name)
        except SightlineError as problem:
            summary = stage.unknown(this.run_id, problem, out, name=name)
        shutil.copyfile(out / stage.PAGE, page)
        with contextlib.suppress(StorageError):  # of which the summary speaks
            rank_pods.sweep(this.run)
        why = f", in {summary.error.stage}: {summary.error.message}" if summary.error else ""
        print(f"status: {summary.status}{why}")
    if summary.status == "failed" and state in SUCCEEDED:
        sys.exit("The pipeline's runner takes this run for a success, which it is not.")


def _onnx(records: Records) -> tuple[str]:
    return (str(records["export"].documents["export.json"]["onnx"]),)


def _label(this: Task, name: str) -> str:
    """Return what people call the run; on one machine its id, since kfp makes names up there."""
    return this.run_id if os.environ.get(RUNS) else name


def _counts(document: ValidateDocument) -> dict[str, float]:
    images = {f"images_{split}": float(counts.images) for split, counts in document.splits.items()}
    boxes = {f"boxes_{split}": float(counts.boxes) for split, counts in document.splits.items()}
    return {**images, **boxes}


def _describe(artifact: Artifact, values: Mapping[str, str | float | None]) -> None:
    """Give an artifact the metadata that have a value; KFP cannot hold an absent one."""
    artifact.metadata.update({name: value for name, value in values.items() if value is not None})
