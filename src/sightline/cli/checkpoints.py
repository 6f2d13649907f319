"""`sightline checkpoints`: what trainings that did not finish have left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from sightline.cli.options import Json, Runs, StoreUri, age, print_document
from sightline.storage import default_store, open_store
from sightline.storage.work_root import work_root

if TYPE_CHECKING:
    from sightline.train.prune import CheckpointsPruneDocument

app = typer.Typer(
    help="Delete the checkpoints of trainings that nobody goes on with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """Have a group though there is one command."""


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option(help="Delete those of which nothing was written for so long, such as 12h, 7d or 4w.")
    ] = "7d",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only list what would be deleted.")] = False,
    store: StoreUri = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Delete the checkpoints of abandoned trainings, in a store and on this machine. Without --yes it only says so.

    A training that is going on writes something every few seconds, and one that finished has left nothing to delete.

    sightline checkpoints prune

    sightline checkpoints prune --store s3://bucket/sightline --older-than 2w --yes
    """
    from sightline.train import prune as work

    opened = open_store(store or default_store())
    document = work.prune(opened, work_root(runs), older_than=age("--older-than", older_than), yes=yes)
    print_document(document, as_json, _pruned(document, older_than))


def _pruned(document: CheckpointsPruneDocument, older_than: str) -> list[str]:
    """Say what was deleted, and how to go on."""
    verb = "deleted" if document.done else "would delete"
    lines = [
        f"{verb} {one.place}: {decimal(one.bytes)}, last written {one.last[:16].replace('T', ' ')}"
        for one in document.trainings
    ]
    where = f"in {document.store} and {document.work}"
    if not lines:
        return [f"no abandoned trainings {where}: nothing is older than {older_than} (--older-than)"]
    lines.append(f"{verb} {len(lines)} abandoned trainings {where}: {decimal(document.bytes)}")
    return lines if document.done else [*lines, "nothing is deleted yet: add --yes"]
