"""`sightline dataset`: the snapshots of a store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sightline.cli.convert import convert
from sightline.cli.options import Json, StoreUri, age, err, non_empty, out, print_document, styled
from sightline.errors import ConfigError, StageInputError
from sightline.storage import Store, Stored, default_store, open_store

if TYPE_CHECKING:
    from sightline.snapshots.diff import DiffDocument
    from sightline.snapshots.prune import PruneDocument

app = typer.Typer(
    help="List, show, compare and delete the snapshots of a store; convert labelled images.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(convert)

NAMES = "A digest or its first 6 digits or more, a snapshot's URI, or the run directory it came from."
Name = Annotated[str, typer.Argument(parser=non_empty, help=NAMES)]
SHOWN = 12  # digits of a digest


def _opened(store: str | None) -> Store:
    return open_store(store or default_store())


def _table(*left: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _day(created: str) -> str:
    """Show a time to the minute: `2026-11-21 10:20`, in UTC."""
    return created[:16].replace("T", " ")


@app.command("list")
def list_snapshots(store: StoreUri = None, as_json: Json = False) -> None:
    """List the snapshots of a store, the newest first.

    sightline dataset list

    sightline dataset list --store s3://bucket/sightline --json
    """
    from sightline.snapshots import catalog

    document = catalog.listing(_opened(store))
    for problem in document.unreadable:
        err.print(styled(("warning", "yellow"), f" {problem}"))
    if as_json or not document.snapshots:
        print_document(document, as_json, [f"no snapshots in {document.store}"])
        return
    table = _table("snapshot", "created", right=("train", "val", "test", "boxes", "classes", "size"))
    for row in document.snapshots:
        counts = [*row.images.values(), row.boxes, row.classes]
        table.add_row(row.digest[:SHOWN], _day(row.created), *map(str, counts), decimal(row.bytes))
    out.print(table)


@app.command("show")
def show_snapshot(snapshot: Name, store: StoreUri = None, as_json: Json = False) -> None:
    """Show what a snapshot holds, and how much of it other snapshots share.

    sightline dataset show 3f2a9c

    sightline dataset show runs/mine --json
    """
    from sightline.snapshots import catalog

    document = catalog.described(catalog.find(snapshot, _opened(store)))
    origin = f" from {document.source}" if document.source else ""
    shared = f"{decimal(document.shared_bytes)} of it shared with {document.shared_with} other snapshots"
    lines: list[str | Text] = [
        styled((document.digest, "bold")),
        f"created {_day(document.created)}{origin}",
        f"{document.packs} packs · {decimal(document.bytes)} in the store, {shared}",
        "",
    ]
    print_document(document, as_json, lines)
    if as_json:
        return
    table = _table("", right=tuple(document.images))
    table.add_row("images", *map(str, document.images.values()))
    table.add_row("backgrounds", *map(str, document.backgrounds.values()))
    for name, counts in document.boxes.items():
        table.add_row(f"boxes of {escape(name)}", *map(str, counts.values()))
    out.print(table)


@app.command()
def diff(before: Name, after: Name, store: StoreUri = None, as_json: Json = False) -> None:
    """Compare two snapshots: images and boxes that were added, removed, moved or relabelled.

    sightline dataset diff 3f2a9c 81b07d

    sightline dataset diff runs/monday runs/tuesday --json
    """
    from sightline.snapshots import catalog
    from sightline.snapshots.diff import diff as compare

    opened = _opened(store)
    document = compare(catalog.find(before, opened), catalog.find(after, opened))
    print_document(document, as_json, _changes(document))
    rows = [row for row in document.by_class if any((row.added, row.removed, row.moved, row.lost, row.gained))]
    if rows and not as_json:
        table = _table("class", right=tuple(rows[0].model_dump())[1:])
        for row in rows:
            name, *counts = row.model_dump().values()
            table.add_row(escape(name), *map(str, counts))
        out.print(table)
        if document.images.added or document.images.removed:
            out.print("Before and after count all boxes; the rest, those of images that both snapshots have.")


def _changes(document: DiffDocument) -> list[str | Text]:
    """Say what changed: totals, then examples of each kind."""
    lines: list[str | Text] = []
    for word, names in (("added", document.classes_added), ("removed", document.classes_removed)):
        if names:
            lines.append(f"classes {word}: {', '.join(names)}")
    if document.classes_reordered:
        lines.append("classes are in another order")
    for what, part in (("images", document.images), ("boxes", document.boxes)):
        before, after, *changes = part.model_dump().items()
        words = [f"{count} {name.replace('_', ' ')}" for name, count in changes if count]
        changed = ", ".join(words) or "none changed"
        lines.append(styled((what, "bold"), f" {before[1]} → {after[1]}: {changed}"))
    for kind, examples in document.examples.items():
        lines += ["", styled((kind, "bold")), *(f"  {example}" for example in examples)]
    return [*lines, ""]


@app.command()
def prune(
    snapshots: Annotated[list[str] | None, typer.Argument(metavar="[SNAPSHOT]...", help=NAMES)] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=0, help="Delete all but this many: the last published or, with --cache, the last used."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(help="Delete those published or, with --cache, used longer ago, such as 12h, 30d or 8w."),
    ] = None,
    grace: Annotated[str, typer.Option(help="Spare what is younger than this: a run may still use it.")] = "24h",
    cache: Annotated[bool, typer.Option("--cache", help="Prune the local cache instead of a store.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only list what would be deleted.")] = False,
    store: StoreUri = None,
    as_json: Json = False,
) -> None:
    """Delete snapshots, their predictions, and images that no other one has. Without --yes it only says so.

    sightline dataset prune --keep 10

    sightline dataset prune --older-than 30d --yes

    sightline dataset prune 3f2a9c 81b07d --grace 0h --yes

    sightline dataset prune --cache --older-than 8w --yes
    """
    from sightline.snapshots import catalog
    from sightline.snapshots import prune as work

    if sum((bool(snapshots), keep is not None, older_than is not None)) != 1:
        raise ConfigError("prune needs exactly one of: snapshots to delete, --keep, --older-than.")
    if cache and store:
        raise ConfigError("prune: got both --cache and --store; expected one of them.")
    spare = age("--grace", grace)
    oldest = age("--older-than", older_than) if older_than is not None else None
    opened = None if cache else _opened(store)
    entries = catalog.stored(opened) if opened else work.cached()
    if snapshots:
        choice = work.Choice(list(dict.fromkeys(_digest_of(name, opened, entries) for name in snapshots)), [])
    else:
        choice = work.choose(entries, keep=keep, older_than=oldest, grace=spare)
    if opened:
        document = work.prune_store(opened, choice, grace=spare, yes=yes)
    else:
        document = work.prune_cache(choice, grace=spare, yes=yes)
    print_document(document, as_json, _pruned(document, grace))


def _digest_of(name: str, store: Store | None, entries: list[Stored]) -> str:
    """Return the digest of a snapshot that is to be deleted. Raises StageInputError if it is none of the entries."""
    from sightline.snapshots import catalog
    from sightline.snapshots.manifest import address

    uri = catalog.made_by(name)
    if uri and store and address(uri)[0] != store.uri:
        raise StageInputError(f"'{name}' lies in {address(uri)[0]}, not in {store.uri}. Name its store with --store.")
    return catalog.pick(address(uri)[1] if uri else name, entries, store.uri if store else "The cache")


def _pruned(document: PruneDocument, grace: str) -> list[str]:
    """Say what was deleted, what was spared, and how to go on."""
    verb = "deleted" if document.done else "would delete"
    lines = [f"{verb} snapshot {digest[:SHOWN]}" for digest in document.snapshots]
    predictions = Counter(key.split("/")[1] for key in document.predictions)
    lines += [f"{verb} predictions of {count} evaluations on {digest[:SHOWN]}" for digest, count in predictions.items()]
    what = f"{len(document.snapshots)} snapshots and {document.objects} packs, lists and files of predictions"
    lines.append(f"{verb} {what} in {document.place}: {decimal(document.bytes)}")
    if document.spared or document.young:
        lines.append(
            f"spared, since younger than {grace} (--grace): {len(document.spared)} snapshots, and {document.young} "
            "packs, lists and files of predictions that no snapshot needs"
        )
    if not document.done and (document.snapshots or document.objects):
        lines.append("nothing is deleted yet: add --yes")
    return lines
