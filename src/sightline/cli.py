"""`sightline`: what a person types. Parses, calls one stage or the pipeline, prints, and sets the exit code.

Heavy imports happen inside the commands: `sightline --help` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sightline import __version__, progress
from sightline.artifacts import Document, ValidateDocument, read
from sightline.config import RunConfig, apply, parse_assignments
from sightline.errors import SightlineError

app = typer.Typer(
    name="sightline",
    help="Labelled images in; a registered ONNX detector out, its score measured on that very file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

REJECTED = 3
EXITS = "Exit codes: 0 done, 1 our fault or an outage, 2 usage, configuration or bad input, 3 rejected by a gate."

Data = Annotated[
    str, typer.Option(help="Labelled images: a directory, a zip or tar archive, s3://bucket/prefix, or `quickstart`.")
]
Format = Annotated[str | None, typer.Option(help="Annotation format: auto, yolo, coco or voc.")]
Images = Annotated[str | None, typer.Option(help="Folder of the images, where it lies outside the annotations.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Path, s3:// URI, official name (yolo11n.pt), or architecture from scratch (yolo11n.yaml)."),
]
WeightsSha256 = Annotated[str | None, typer.Option(help="The sha256 that the weights must have.")]
TrustWeights = Annotated[bool, typer.Option("--trust-weights", help="Load a checkpoint nobody vouched for.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch an official checkpoint over the network.")]
Preset = Annotated[str, typer.Option(help="Recipe: quickstart, fast, balanced or accurate.")]
Assign = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; see `sightline config`.")
]
Run = Annotated[Path, typer.Option(help="Run directory: stages read and write their folders in it.")]
Json = Annotated[bool, typer.Option("--json", help="Print the document as JSON on stdout, and nothing else there.")]
DeviceName = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def main() -> None:
    """Run the command line; errors meant for the user become one message and an exit code."""
    try:
        app()
    except SightlineError as error:
        err.print(f"[bold red]error:[/] {_plain(error.message)}")
        for problem in error.problems:
            err.print(f"  - {_plain(problem)}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(text: str) -> str:
    """Keep square brackets of a message from being read as markup."""
    return text.replace("[", r"\[")


@app.callback(epilog=EXITS)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


@contextlib.contextmanager
def _stage(as_json: bool) -> Iterator[None]:
    with progress.display(quiet=as_json and not err.is_terminal):
        yield


def _show(document: Document, as_json: bool, lines: list[str]) -> None:
    """Print a document for machines, or some lines about it for people."""
    if as_json:
        print(document.model_dump_json(indent=2, by_alias=True))
    else:
        for line in lines:
            out.print(line)


def _values(
    assignments: list[str],
    *,
    format: str | None,
    images: str | None,
    weights: str | None,
    sha256: str | None,
    trust: bool,
    download: bool,
) -> dict[str, Any]:
    """Join named options and --set into dotted keys; --set comes last and wins."""
    named: dict[str, Any] = {
        "data.format": format,
        "data.images": str(Path(images).resolve()) if images else None,
        "weights.source": weights,
        "weights.sha256": sha256,
        "weights.trust": trust or None,
        "weights.download": download or None,
    }
    return {**{key: value for key, value in named.items() if value is not None}, **parse_assignments(assignments)}


@app.command()
def run(
    data: Data = "quickstart",
    preset: Annotated[
        str | None, typer.Option(help="Recipe: quickstart, fast, balanced (default for real data) or accurate.")
    ] = None,
    weights: Weights = None,
    format: Format = None,
    images: Images = None,
    weights_sha256: WeightsSha256 = None,
    trust_weights: TrustWeights = False,
    download: Download = False,
    gpus: Annotated[int | None, typer.Option(help="GPUs to train on; 0 for the CPU. Default: all there are.")] = None,
    assign: Assign = [],  # noqa: B006
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    run_id: Annotated[str | None, typer.Option(help="Name of this run. Default: time and preset.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Train again, even if this training is known.")] = False,
    as_json: Json = False,
) -> None:
    """Run the whole line on this machine: validate, train, export, evaluate, sample, report, register.

    sightline run                                              (the quickstart, on data it draws)

    sightline run --data ./bccd --weights yolo11n.pt --preset fast --set train.epochs=20

    sightline run --data s3://bucket/cells --format coco --set gate.min_map50=0.85
    """
    from datetime import UTC, datetime

    from sightline import orchestrate, provenance
    from sightline.ending import exit_code, tell

    preset = preset or ("quickstart" if data == "quickstart" else "balanced")
    values = _values(
        assign,
        format=format,
        images=images,
        weights=weights,
        sha256=weights_sha256,
        trust=trust_weights,
        download=download,
    )
    gpus = len(provenance.visible_gpus()) if gpus is None else gpus
    location = data if data == "quickstart" or "://" in data else str(Path(data).resolve())
    run_id = run_id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{preset}"
    summary = orchestrate.run(
        {"data": location, "preset": preset, "gpus": str(gpus), "overrides": json.dumps(values)},
        runs=runs,
        run_id=run_id,
        cache=not no_cache,
        quiet=as_json and not err.is_terminal,
    )
    if as_json:
        print(summary.model_dump_json(indent=2, by_alias=True))
    else:
        tell(summary, runs / run_id, out)
    raise typer.Exit(exit_code(summary))


@app.command()
def validate(
    data: Data,
    run: Run,
    preset: Preset = "balanced",
    weights: Weights = None,
    format: Format = None,
    images: Images = None,
    weights_sha256: WeightsSha256 = None,
    trust_weights: TrustWeights = False,
    download: Download = False,
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check data, weights and configuration, and make a snapshot.

    sightline validate --data ./bccd --run runs/mine

    sightline validate --data labels.zip --format voc --images ./photos --run runs/mine --json
    """
    from sightline import validate as stage
    from sightline.presets import resolve

    values = _values(
        assign,
        format=format,
        images=images,
        weights=weights,
        sha256=weights_sha256,
        trust=trust_weights,
        download=download,
    )
    with _stage(as_json):
        document = stage.run(source=data, config=resolve(preset, values), out=run / "validate")
    counts = [f"{split} {c.images} images / {c.boxes} boxes" for split, c in document.splits.items()]
    warnings = [f"[yellow]warning[/] {p.rule}: {_plain(p.where)}: {_plain(p.message)}" for p in document.problems]
    shown = warnings[:20] + (
        [f"… and {len(warnings) - 20} more in {run}/validate/validate.json"] if warnings[20:] else []
    )
    _show(
        document,
        as_json,
        [
            *shown,
            f"{document.format} · {len(document.classes)} classes · {' · '.join(counts)}",
            *([document.split_rule] if document.split_rule else []),
            f"snapshot {document.snapshot}",
        ],
    )


def _validated(run: Path, assignments: list[str]) -> tuple[ValidateDocument, RunConfig]:
    """Return a run's data report and its configuration with --set on top."""
    document = read(ValidateDocument, run / "validate")
    return document, apply(document.config, parse_assignments(assignments))


@app.command()
def train(run: Run, assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Train on the snapshot of a run directory.

    sightline train --run runs/mine

    sightline train --run runs/mine --set train.epochs=50 --set train.gpus=2
    """
    from sightline import train as stage

    checked, config = _validated(run, assign)
    weights = checked.weights.uri or checked.weights.architecture or ""
    with _stage(as_json):
        document = stage.run(snapshot=checked.snapshot, config=config.train, weights=weights, out=run / "train")
    best = document.best
    _show(document, as_json, [f"best epoch {best.epoch}: val mAP50 {best.map50:.3f}, mAP50-95 {best.map50_95:.3f}"])


@app.command()
def export(run: Run, assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Export the best checkpoint to ONNX and prove that it computes the same.

    sightline export --run runs/mine

    sightline export --run runs/mine --set export.opset=17
    """
    from sightline import export as stage

    checked, config = _validated(run, assign)
    with _stage(as_json):
        document = stage.run(
            train=run / "train",
            snapshot=checked.snapshot,
            config=config.export,
            image_size=config.train.image_size,
            out=run / "export",
        )
    parity = document.parity
    lines = [
        f"{run}/export/{document.onnx} · opset {document.opset} · sha256 {document.sha256}",
        f"operating confidence {document.confidence:.3f} (mean F1 {document.confidence_f1:.3f} on val)",
        f"parity: raw outputs within {parity.max_abs_diff:.2g}, {parity.matched} detections matched, {parity.unmatched} not",
    ]
    _show(document, as_json, lines)


@app.command()
def evaluate(run: Run, device: DeviceName = "auto", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Score the ONNX file on the test split and let the gate judge; exit code 3 if it rejects.

    sightline evaluate --run runs/mine

    sightline evaluate --run runs/mine --set gate.min_map50=0.9
    """
    from sightline import evaluate as stage
    from sightline.ending import scores_table

    checked, config = _validated(run, assign)
    with _stage(as_json):
        document = stage.run(
            export=run / "export",
            snapshot=checked.snapshot,
            gate=config.gate,
            out=run / "evaluate",
            device=_device(device),
        )
    _show(document, as_json, [])
    if not as_json:
        out.print(scores_table(document.per_class, document.map50, document.map50_95))
        out.print(f"verdict: [bold]{document.verdict}[/] · " + " · ".join(document.reasons))
    if document.verdict == "reject":
        raise typer.Exit(REJECTED)


@app.command()
def sample(run: Run, device: DeviceName = "auto", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """Draw what the ONNX file finds in test images, with a written finding for each.

    sightline sample --run runs/mine --set sample.count=24
    """
    from sightline import sample as stage

    checked, config = _validated(run, assign)
    with _stage(as_json):
        document = stage.run(
            export=run / "export",
            snapshot=checked.snapshot,
            config=config.sample,
            out=run / "sample",
            device=_device(device),
        )
    _show(
        document, as_json, [f"{run}/sample/{s.file}  {_plain(s.image)}: {_plain(s.finding)}" for s in document.samples]
    )


def _device(name: str) -> Any:
    from sightline.errors import ConfigError

    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device: got '{name}', expected one of auto, cpu, cuda.")
    return name


def _folders(run: Path) -> dict[str, Path]:
    from sightline.stages import NAMES

    return {name: run / name for name in NAMES if (run / name / f"{name}.json").exists()}


@app.command()
def report(run: Run, as_json: Json = False) -> None:
    """Write the page and the MLflow run of a run directory; repeating it changes nothing.

    sightline report --run runs/mine
    """
    from sightline import report as stage

    folders = {name: path for name, path in _folders(run).items() if name != "report"}
    with _stage(as_json):
        document = stage.run(run_id=run.resolve().name, folders=folders, out=run / "report")
    _show(document, as_json, [f"{run}/report/report.html", f"MLflow run {document.run_id} at {document.tracking_uri}"])


@app.command()
def register(run: Run, as_json: Json = False) -> None:
    """Make the exported file of a run directory a model version; exit code 2 if its verdict is reject.

    sightline register --run runs/mine
    """
    from sightline import register as stage

    with _stage(as_json):
        document = stage.run(run_id=run.resolve().name, folders=_folders(run), out=run / "register")
    aliases = ", ".join(document.aliases)
    _show(
        document, as_json, [f"{document.model_name} version {document.version} ({aliases}) at {document.tracking_uri}"]
    )


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    model: Annotated[Path, typer.Option(help="ONNX file that `sightline export` wrote.")],
    to: Annotated[Path, typer.Option(help="Folder for the annotated images and predictions.json.")] = Path(
        "predictions"
    ),
    confidence: Annotated[float | None, typer.Option(min=0, max=1, help="Default: the file's own.")] = None,
    device: DeviceName = "auto",
    as_json: Json = False,
) -> None:
    """Detect in images: annotated copies, predictions.json, and a finding per image.

    sightline predict --model runs/mine/export/model.onnx photo.jpg

    sightline predict --model model.onnx --to out --confidence 0.5 ./photos
    """
    from sightline.predict import predict as work

    with _stage(as_json):
        results = work(images, model=model, to=to, confidence=confidence, device=_device(device))
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            out.print(f"{_plain(result['image'])}: {_plain(result['finding'])}")
        out.print(f"annotated images and predictions.json are in {to}")


@app.command()
def config(preset: Preset = "balanced", assign: Assign = [], as_json: Json = False) -> None:  # noqa: B006
    """List every configuration key with its value under a preset, its limits and its meaning.

    sightline config --preset fast

    sightline config --preset fast --set train.epochs=5 --json
    """
    from sightline.ending import config_table
    from sightline.presets import resolve

    resolved = resolve(preset, parse_assignments(assign))
    if as_json:
        print(resolved.model_dump_json(indent=2, by_alias=True))
    else:
        out.print(config_table(resolved))


if __name__ == "__main__":
    main()
