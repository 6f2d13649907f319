"""`sightline dataset convert`: labelled images from any format into any other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.text import Text

from sightline.cli import output
from sightline.cli.options import (
    Assign,
    Format,
    Images,
    Json,
    PolicyName,
    non_empty,
    non_empty_path,
    print_document,
    progress_display,
    values,
)
from sightline.config import FORMATS
from sightline.config import Format as LabelFormat
from sightline.documents import DataDocument, Document, RuleResult
from sightline.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from sightline.datasets.types import Dataset

DIGEST = re.compile(r"[0-9a-f]{6,64}")


class ConvertDocument(Document):
    """What was written where."""

    source: str
    folder: str
    format: str
    images: dict[str, int]
    boxes: int
    classes: list[str]
    findings: list[RuleResult]
    dropped_images: int
    dropped_boxes: int


def convert(
    source: Annotated[
        str,
        typer.Argument(
            parser=non_empty,
            metavar="SOURCE",
            help="Labelled images, as for validate; or a snapshot: digest, URI or run directory.",
        ),
    ],
    to_folder: Annotated[
        Path, typer.Argument(parser=non_empty_path, metavar="OUT", help="Folder that does not exist yet.")
    ],
    to: Annotated[str, typer.Option("--to", help="Format: yolo, coco or voc.")],
    format: Format = None,
    images: Images = None,
    policy: PolicyName = None,
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Write labelled images in another format. What the data gate refuses is not converted.

    sightline dataset convert ./bccd ./bccd-yolo --to yolo

    sightline dataset convert 3f2a9c ./for-a-labelling-tool --to coco
    """
    from sightline.config.presets import resolve
    from sightline.datasets.formats import writing
    from sightline.validate import refusal, validated_source

    if to not in FORMATS:
        raise ConfigError(f"--to: got '{to}', expected one of {', '.join(FORMATS)}{did_you_mean(to, FORMATS) or '.'}")
    writing.check_free(to_folder)
    named = values(
        assign, format=format, images=images, weights=None, sha256=None, trust=False, download=False, policy=policy
    )
    config = resolve("balanced", named)
    snapshot = _snapshot(source)
    checked: DataDocument | None = None
    with progress_display(as_json):
        if snapshot:
            from sightline.snapshots import SnapshotDataset

            document = _write(SnapshotDataset(snapshot), source, to_folder, to)
        else:
            with validated_source.opened(source, config, trainable=False) as result:
                if result.document.verdict == "rejected":
                    options = {"data": source, "policy": policy, "format": format, "images": images}
                    raise refusal.rejection(result.document, _command(options, assign))
                checked = result.document
                document = _write(result.dataset, source, to_folder, to, checked)
    found = output.found_lines(checked) if checked else []
    counts = ", ".join(f"{count} {split}" for split, count in document.images.items())
    lines: list[str | Text] = [*found, f"{document.folder}: {to}, {counts} images, {document.boxes} boxes"]
    print_document(document, as_json, lines)


def _command(options: dict[str, str | None], assign: list[str]) -> str:
    """Return the command line that shows what was rejected, with the options that decided it."""
    words = [word for name, value in options.items() if value for word in (f"--{name}", value)]
    return shlex.join(["sightline", "validate", *words, *(word for one in assign for word in ("--set", one))])


def _snapshot(source: str) -> str | None:
    """Return the URI of a snapshot that `source` names, None if it names anything else."""
    from sightline.snapshots import catalog
    from sightline.storage import default_store, open_store

    path = Path(source)
    if "/snapshots/" in source and "://" in source:
        return source
    if (path / "validate.json").is_file() or (path / "validate" / "validate.json").is_file():
        return catalog.made_by(source)
    if not path.exists() and DIGEST.fullmatch(source):
        return catalog.find(source, open_store(default_store()))
    return None


def _write(
    dataset: Dataset, source: str, folder: Path, to: str, checked: DataDocument | None = None
) -> ConvertDocument:
    from sightline.datasets.formats import writing
    from sightline.runtime.progress import Ticker

    counts = dataset.counts()
    ticker = Ticker("validate", sum(part.images for part in counts.values()), "writing images")
    writing.write(dataset, cast("LabelFormat", to), folder, tick=ticker.tick)
    return ConvertDocument(
        source=source,
        folder=str(folder),
        format=to,
        images={split: part.images for split, part in counts.items()},
        boxes=sum(part.boxes for part in counts.values()),
        classes=dataset.classes,
        findings=checked.findings if checked else [],
        dropped_images=checked.dropped_images if checked else 0,
        dropped_boxes=checked.dropped_boxes if checked else 0,
    )
