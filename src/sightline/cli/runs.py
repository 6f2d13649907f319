"""`sightline runs`: the newest runs, and how they ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sightline.cli.options import Json, Runs, StoreUri, err, finish_dead, non_empty, out, styled
from sightline.runtime.terminal import print_json, visible

if TYPE_CHECKING:
    from sightline.documents.run_list import RunLine, RunList

WIDTH = 100  # columns
COLUMNS = (("when", 12), ("name", 25), ("status", 10), ("verdict", 8), ("mAP50-95", 8), ("took", 12), ("GPU h", 7))
RIGHT = ("mAP50-95", "took", "GPU h")
GAP = "  "
COLOURS = {"registered": "green", "accepted": "green", "rejected": "yellow", "failed": "red", "unfinished": "dim"}


def runs(
    model: Annotated[
        str | None,
        typer.Option(parser=non_empty, metavar="<str>", help="Only runs of this model: register.model_name."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs.")] = 20,
    store: StoreUri = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the newest runs: when they began, how they ended and why, their score, and what they took.

    sightline runs

    sightline runs --model smear-detector --limit 5

    They come from the summaries in the store, without one from those in the folder of runs, and from MLflow, which adds
    those that have no summary any more. No cluster is asked.
    """
    from sightline import run_list

    place = store or os.environ.get("SIGHTLINE_STORE")
    if not place and runs.is_dir():
        finish_dead(runs.resolve())
    found = run_list.collect(place or None, runs.resolve(), model_name=model, limit=limit)
    if as_json:
        print_json(found.model_dump_json(indent=2))
    else:
        _print(found)
    for source in found.sources:
        if source.problem:
            named = {"store": "the store", "folder": "the folder of runs", "mlflow": "MLflow"}[source.place]
            where = f"{named} {source.address}" if source.address else named
            err.print(styled(("note:", "yellow"), f" {where}: {source.problem}"))


def _print(found: RunList) -> None:
    if not found.runs:
        places = " and ".join(source.address for source in found.sources if source.address)
        out.print(f"no runs in {visible(places)}", markup=False)
        return
    width = max(WIDTH, out.width) if out.is_terminal else WIDTH
    out.print(_row([name for name, _ in COLUMNS], header=True), style="dim")
    for line in found.runs:
        out.print(_row(_cells(line)))
        out.print(_below(line, width))
    if any(line.status is None for line in found.runs):
        out.print()
        out.print(
            "unfinished: it goes on, or it ended without its last task; then `sightline report --run ID` finishes it",
            style="dim",
        )


def _cells(line: RunLine) -> list[str]:
    return [
        line.started_at[5:16].replace("T", " "),
        line.name or line.run_id,
        line.status or "unfinished",
        line.verdict or "–",
        "–" if line.map50_95 is None else f"{line.map50_95:.3f}",
        "–" if line.seconds is None else _duration(line.seconds),
        "–" if line.gpu_hours is None else f"{line.gpu_hours:.2f}",
    ]


def _row(cells: list[str], *, header: bool = False) -> Text:
    text = Text()
    for (name, width), cell in zip(COLUMNS, cells, strict=True):
        shown = _fitted(visible(cell), width)
        colour = COLOURS.get(cell, "") if name == "status" else "bold" if name == "name" and not header else ""
        text.append(shown.rjust(width) if name in RIGHT else shown, style=colour)
        text.append(GAP)
    text.rstrip()
    return text


def _below(line: RunLine, width: int) -> Text:
    """Return what stands below a run: its id, and why it ended as it did, as far as there is room."""
    indent = " " * (COLUMNS[0][1] + len(GAP))
    own_id = visible(line.run_id)
    text = Text(indent).append(own_id, style="dim")
    if line.cause:
        why = visible(line.cause.sentence or line.cause.kind)
        room = width - cell_len(indent) - cell_len(own_id) - len(GAP)
        text.append(GAP + _fitted(why, room).rstrip())
    return text


def _fitted(text: str, width: int) -> str:
    """Return a text of exactly so many columns."""
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def _duration(seconds: float) -> str:
    from sightline.pages.formatting import duration

    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)
