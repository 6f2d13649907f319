"""`sightline runs`: the newest runs, and how they ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sightline.cli.options import Json, Runs, StoreUri, err, finish_dead, non_empty, out, styled
from sightline.pages.formatting import hours, whole_seconds
from sightline.runtime.terminal import print_json, visible

if TYPE_CHECKING:
    from sightline.documents.run_list import RunLine, RunList

WIDTH = 100  # columns
WHEN = 11
OTHERS = (("status", 10), ("verdict", 8), ("mAP50-95", 8), ("took", 11), ("GPU h", 6))
NAMES = (("name", 19), ("model", 13))
ONE_MODEL = (("name", 34),)
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
        if source.note:
            err.print(styled(("note:", "yellow"), f" {source.note}"))


def _print(found: RunList) -> None:
    if not found.runs:
        places = " and ".join(source.asked for source in found.sources if source.asked)
        out.print(f"no runs in {visible(places)}", markup=False)
        return
    width = max(WIDTH, out.width) if out.is_terminal else WIDTH
    columns = (("when (UTC)", WHEN), *(ONE_MODEL if found.model_name else NAMES), *OTHERS)
    out.print(_row({name: name for name, _ in columns}, columns), style="dim")
    for line in found.runs:
        out.print(_row(_cells(line), columns))
        out.print(_below(line, width))
    if any(line.status is None for line in found.runs):
        out.print()
        ended = "unfinished: it goes on, or ended without its last task; then `sightline report --run ID` finishes it"
        out.print(ended, style="dim")


def _cells(line: RunLine) -> dict[str, str | None]:
    return {
        "when (UTC)": line.started_at[5:16].replace("T", " "),
        "name": line.name,
        "model": line.model_name,
        "status": line.status or "unfinished",
        "verdict": line.verdict,
        "mAP50-95": None if line.map50_95 is None else f"{line.map50_95:.3f}",
        "took": None if line.seconds is None else whole_seconds(line.seconds),
        "GPU h": None if line.gpu_hours is None else hours(line.gpu_hours),
    }


def _row(cells: Mapping[str, str | None], columns: Sequence[tuple[str, int]]) -> Text:
    text = Text()
    for name, width in columns:
        cell = visible(cells[name] or "–")
        shown = cell.rjust(width) if name in RIGHT else _fitted(cell, width)
        text.append(shown, style=COLOURS.get(cell, "") if name == "status" else "").append(GAP)
    text.rstrip()
    return text


def _below(line: RunLine, width: int) -> Text:
    """Return what stands below a run: its id, and why it ended as it did, as far as there is room."""
    indent = " " * (WHEN + len(GAP))
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
