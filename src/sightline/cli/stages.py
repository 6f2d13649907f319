"""One command a stage. They read and write the folders of a run directory, as the pipeline does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sightline.artifacts import DataDocument, ValidateDocument, read
from sightline.cli import ending
from sightline.cli.options import (
    Assign,
    Data,
    DeviceName,
    Download,
    Format,
    Images,
    Json,
    PolicyName,
    Preset,
    Run,
    TrustWeights,
    Weights,
    WeightsSha256,
    bars,
    out,
    show,
    values,
)
from sightline.cli.options import (
    device as device_of,
)
from sightline.cli.rules import list_rules, print_schema
from sightline.config import RunConfig, apply, parse_assignments
from sightline.errors import ConfigError
from sightline.stages import NAMES
from sightline.validate import resolve


def validate(
    data: Data,
    run: Annotated[
        Path | None, typer.Option(help="Run directory. Without it nothing is stored: the data alone is checked.")
    ] = None,
    policy: PolicyName = None,
    report: Annotated[Path, typer.Option(help="Without --run: folder of the data report.")] = Path("data-report"),
    fix: Annotated[
        Path | None, typer.Option(help="Write a repaired copy into this folder, with changes.csv, and check that.")
    ] = None,
    preset: Preset = "balanced",
    weights: Weights = None,
    format: Format = None,
    images: Images = None,
    weights_sha256: WeightsSha256 = None,
    trust_weights: TrustWeights = False,
    download: Download = False,
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
    rules: Annotated[
        bool, typer.Option("--rules", callback=list_rules, is_eager=True, help="List the rules and exit.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", callback=print_schema, is_eager=True, help="Print the schema of data.json.")
    ] = False,
) -> None:
    """Check labels and images, and with --run make a snapshot of them and pin the weights.

    sightline validate --data ./bccd                                       (the data alone; see data-report/data.html)

    sightline validate --data ./bccd --policy strict --fix ./bccd-fixed

    sightline validate --data labels.zip --format voc --images ./photos --run runs/mine --json
    """
    from sightline import validate as stage

    named = values(
        assign,
        format=format,
        images=images,
        weights=weights,
        sha256=weights_sha256,
        trust=trust_weights,
        download=download,
        policy=policy,
    )
    config = resolve(preset, named)
    if fix:
        if run:
            raise ConfigError("--fix writes a copy and stores nothing; leave --run out, and validate the copy with it.")
        data = _fixed(data, config, fix, as_json)
        config = config.model_copy(update={"data": config.data.model_copy(update={"format": "auto", "images": None})})
    with bars(as_json, run):
        document = (
            stage.run(source=data, config=config, out=run / "validate") if run else stage.check(data, config, report)
        )
    show(document, as_json, _told(document, run / "validate" if run else report))


def _fixed(data: str, config: RunConfig, out_folder: Path, as_json: bool) -> str:
    """Write a repaired copy, and say what was changed."""
    from sightline.validate.fix import fix

    with bars(as_json):
        done = fix(data, config, out_folder)
    if not as_json:
        changed = [f"  {count:>6} {rule}" for rule, count in done.changes.items()] or ["  nothing had to be changed"]
        for line in (f"repaired copy in {done.folder}: {done.images} images / {done.boxes} boxes", *changed):
            out.print(escape(line))
        out.print(f"every change is in {escape(done.changes_file)}")
    return str(out_folder)


def _told(document: ValidateDocument | DataDocument, folder: Path) -> list[str]:
    """Say what was found, rule by rule, and what passed."""
    counts = [f"{split} {c.images} images / {c.boxes} boxes" for split, c in document.splits.items()]
    dropped = f"dropped, with reasons: {document.dropped_images} images, {document.dropped_boxes} boxes"
    return [
        *(ending.finding_line(finding) for finding in document.findings),
        f"{document.format} · {len(document.classes)} classes · {' · '.join(counts)}",
        *([document.split_rule] if document.split_rule else []),
        *([dropped] if document.dropped_images or document.dropped_boxes else []),
        *([f"snapshot {document.snapshot}"] if isinstance(document, ValidateDocument) else []),
        f"report {escape(str(folder))}/data.html, all problems in {escape(str(folder))}/problems.csv",
    ]


def _validated(run: Path, assignments: list[str]) -> tuple[ValidateDocument, RunConfig]:
    """Return a run's data report and its configuration with --set on top."""
    document = read(ValidateDocument, run / "validate")
    return document, apply(document.config, parse_assignments(assignments))


def train(run: Run, assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Train on the snapshot of a run directory.

    sightline train --run runs/mine

    sightline train --run runs/mine --set train.epochs=50 --set train.gpus=2
    """
    from sightline import train as stage

    checked, config = _validated(run, assign)
    weights = checked.weights.uri or checked.weights.architecture or ""
    with bars(as_json, run):
        document = stage.run(snapshot=checked.snapshot, config=config.train, weights=weights, out=run / "train")
    best = document.best
    show(document, as_json, [f"best epoch {best.epoch}: val mAP50 {best.map50:.3f}, mAP50-95 {best.map50_95:.3f}"])


def export(run: Run, assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Export the best checkpoint to ONNX and prove that it computes the same.

    sightline export --run runs/mine

    sightline export --run runs/mine --set export.opset=17
    """
    from sightline import export as stage

    checked, config = _validated(run, assign)
    with bars(as_json, run):
        document = stage.run(
            train=run / "train",
            snapshot=checked.snapshot,
            config=config.export,
            out=run / "export",
        )
    parity = document.parity
    lines = [
        f"{run}/export/{document.onnx} · opset {document.opset} · sha256 {document.sha256}",
        f"operating confidence {document.confidence:.3f} (mean F1 {document.confidence_f1:.3f} on val)",
        f"parity: raw outputs within {parity.max_abs_diff:.2g}; "
        f"{parity.matched} detections matched, {parity.unmatched} not",
    ]
    show(document, as_json, lines)


def evaluate(run: Run, device: DeviceName = "auto", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Score the ONNX file on the test split and let the gate judge; exit code 3 if it rejects.

    sightline evaluate --run runs/mine

    sightline evaluate --run runs/mine --set gate.min_map50=0.9
    """
    from sightline import evaluate as stage

    checked, config = _validated(run, assign)
    with bars(as_json, run):
        document = stage.run(
            export=run / "export",
            snapshot=checked.snapshot,
            gate=config.gate,
            out=run / "evaluate",
            device=device_of(device),
        )
    show(document, as_json, [])
    if not as_json:
        out.print(ending.scores_table(document.per_class, document.map50, document.map50_95))
        out.print(f"verdict: [bold]{document.verdict}[/] · " + escape(" · ".join(document.reasons)))
    if document.verdict == "reject":
        raise typer.Exit(ending.REJECTED)


def sample(run: Run, device: DeviceName = "auto", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Draw what the ONNX file finds in test images, with a written finding for each.

    sightline sample --run runs/mine --set sample.count=24
    """
    from sightline import sample as stage

    checked, config = _validated(run, assign)
    with bars(as_json, run):
        document = stage.run(
            export=run / "export",
            snapshot=checked.snapshot,
            config=config.sample,
            out=run / "sample",
            device=device_of(device),
        )
    show(
        document, as_json, [f"{run}/sample/{s.file}  {escape(s.image)}: {escape(s.finding)}" for s in document.samples]
    )


def _folders(run: Path) -> dict[str, Path]:
    return {name: run / name for name in NAMES if (run / name / f"{name}.json").exists()}


def _conclude(run: Path) -> None:
    """Bring the summary and the page of the run directory up to what its stages now say."""
    from sightline import report as stage
    from sightline.report.summary import now
    from sightline.result import SummaryDocument

    known = (run / "summary.json").exists()
    started_at = read(SummaryDocument, run).started_at if known else now()
    stage.conclude(run_id=run.resolve().name, folders=_folders(run), out=run, started_at=started_at)


def report(run: Run, as_json: Json = False) -> None:
    """Write the page and the MLflow run of a run directory; repeating it changes nothing.

    sightline report --run runs/mine
    """
    from sightline import report as stage

    folders = {name: path for name, path in _folders(run).items() if name != "report"}
    with bars(as_json, run):
        document = stage.run(run_id=run.resolve().name, folders=folders, out=run / "report")
    _conclude(run)
    show(document, as_json, [f"{run}/report.html", f"MLflow run {document.run_id} at {document.tracking_uri}"])


def register(run: Run, as_json: Json = False) -> None:
    """Make the exported file of a run directory a model version; exit code 2 if its verdict is reject.

    sightline register --run runs/mine
    """
    from sightline import register as stage

    with bars(as_json, run):
        document = stage.run(
            run_id=run.resolve().name,
            folders={name: run / name for name in NAMES},
            out=run / "register",
        )
    _conclude(run)
    aliases = ", ".join(document.aliases)
    show(
        document, as_json, [f"{document.model_name} version {document.version} ({aliases}) at {document.tracking_uri}"]
    )
