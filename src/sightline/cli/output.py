"""What a person reads at the terminal when a command ends."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sightline.cli.options import styled
from sightline.documents import ClassScores, DataDocument, RuleResult, SummaryDocument, ValidateDocument, decimals
from sightline.runtime.terminal import visible_error

REJECTED = 3


def exit_code(summary: SummaryDocument) -> int:
    """Return the process exit code of a finished run."""
    if summary.error:
        return summary.error.exit_code
    return REJECTED if summary.status == "rejected" else 0


def print_summary(summary: SummaryDocument, folder: Path, console: Console, *, named: bool) -> None:
    """Print the verdict, the score, where the report is, and what to do next.

    `named` says whether the user chose the run's id.
    """
    print_result(summary, console)
    console.print()
    for what, value in _places(summary, folder, named).items():
        console.print(f"[dim]{what:<10}[/] {escape(value)}", soft_wrap=True)


def print_result(summary: SummaryDocument, console: Console) -> None:
    """Print the verdict and the score."""
    console.print()
    if summary.error:
        word = "REJECTED by the data gate" if summary.rejected_by == "data" else f"FAILED in {summary.error.stage}"
        console.print(f"[bold red]{word}[/]")
        console.print(visible_error(summary.error.message), markup=False)
    elif summary.status == "unchanged" and summary.unchanged:
        console.print("[bold green]UNCHANGED[/]")
        console.print(summary.unchanged.sentence, markup=False)
    elif summary.status == "rejected":
        console.print("[bold yellow]REJECTED by the score gate[/]: the model is logged, and not registered.")
    elif summary.register_:
        model = summary.register_
        aliases = ", ".join(model.aliases)
        console.print(f"[bold green]REGISTERED[/] {model.model_name} version {model.version} ({aliases})")
    elif summary.status == "accepted":
        console.print("[bold green]ACCEPTED[/]: tracking is switched off, so the model is in no registry.")
    for stage in summary.stages:
        if stage.note:
            console.print(f"{stage.name} {stage.note}", markup=False)
    if any(stage.name == "train" and stage.status == "cached" for stage in summary.stages):
        console.print("An earlier training was reused: data, configuration and code are the same.")
    if summary.train and summary.train.recovered:
        ended = ", ".join(ending.replace("_", " ") for ending in summary.train.recovered)
        console.print(f"Training took {summary.train.attempts} attempts ({ended}); the report shows them.")
    if summary.train and summary.train.smaller:
        console.print(f"[yellow]The model was {summary.train.smaller}[/], where memory ran out.")
    if summary.train and summary.train.cut_short:
        epochs = summary.train.epochs_completed
        console.print(f"[yellow]Training was cut short[/] by train.max_hours, after epoch {epochs}.")
    scores = summary.evaluate
    if scores:
        for reason in scores.reasons:
            console.print(f"  {escape(reason)}")
        console.print()
        console.print(scores_table(scores.per_class, scores.map50, scores.map50_95))
        console.print(
            f"Measured on {scores.images} {scores.split} images with the exported file itself, "
            f"at confidence {decimals(scores.confidence)}."
        )


def _places(summary: SummaryDocument, folder: Path, named: bool) -> dict[str, str]:
    """Say where things are and which command comes next."""
    from sightline.tracking.address import TRACKING, redact, tracking_uri

    places = {"report": str(folder / "report.html"), "log": str(folder / "pipeline.log")}
    if summary.export:
        places = {"report": places["report"], "model": str(folder / "export" / summary.export.onnx)}
        if tracking := tracking_uri(folder.parent):
            embedded = f"{_program('mlflow')} ui --backend-store-uri {shlex.quote(tracking)}"
            places["MLflow"] = f"open {redact(tracking)}" if os.environ.get(TRACKING) else embedded
    if summary.error and summary.error.kind == "interrupted":
        places["next"] = "run the same command again"
    elif summary.error and summary.rejected_by:
        places["next"] = "correct what the message names, and run again" + " under another --run-id" * named
    elif summary.error:
        places["next"] = "correct what the message names, and run the same command again"
    elif summary.status == "unchanged":
        places["next"] = "nothing; --retrain always trains in any case"
    elif summary.data and summary.data.source == "quickstart":
        command = f"{_program('sightline')} run --help"
        places["next"] = f"make run DATA=path/to/your/images WEIGHTS=path/to/yolo11n.pt   (or: {command})"
    elif summary.export:
        places["next"] = f"{_program('sightline')} predict --model {shlex.quote(places['model'])} IMAGES…"
    return places


def _program(name: str) -> str:
    """Return how to call a program of this installation from here."""
    path = Path(sys.executable).with_name(name)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def found_lines(document: ValidateDocument | DataDocument) -> list[str | Text]:
    """Say what was found, rule by rule, and what was dropped for it."""
    images, boxes = document.dropped_images, document.dropped_boxes
    dropped = f"left out, with reasons: {images} image{'s' * (images != 1)}, {boxes} box{'es' * (boxes != 1)}"
    return [
        *(result_line(result) for result in document.findings),
        *([dropped] if document.dropped_images or document.dropped_boxes else []),
    ]


def result_line(result: RuleResult) -> Text:
    """Say in a line what a rule found, and the worst of it."""
    colour = "red" if result.severity == "error" else "yellow"
    worst = f": {result.examples[0].where}: {result.examples[0].message}" if result.examples else ""
    tolerated = ""
    if result.severity == "error" and not result.rejected:
        tolerated = f"tolerated ({result.count} of {result.of}, {result.allowed} allowed), "
    found = f" {result.rule} {result.count}, {tolerated}{result.handling}"
    return styled((f"{result.severity:<7}", colour), found, worst)


def scores_table(per_class: Sequence[ClassScores], map50: float | None, map50_95: float | None) -> Table:
    """Lay out scores by class; a class without samples says so."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class")
    for name in ("boxes", "AP50", "AP50-95", "precision", "recall"):
        table.add_column(name, justify="right")
    for row in per_class:
        values = [row.map50, row.map50_95, row.precision, row.recall]
        shown = [_score(v) for v in values] if row.boxes else ["no samples", "", "", ""]
        table.add_row(escape(row.name), str(row.boxes), *shown)
    table.add_row("[bold]mean[/]", "", f"[bold]{_score(map50)}[/]", f"[bold]{_score(map50_95)}[/]", "", "")
    return table


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
