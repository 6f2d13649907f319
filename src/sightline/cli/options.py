"""The options that commands share, and what every command does with them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sightline import progress
from sightline.artifacts import Document
from sightline.config import parse_assignments
from sightline.errors import ConfigError
from sightline.policy import load as load_policy

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Data = Annotated[
    str, typer.Option(help="Labelled images: a directory, a zip or tar archive, s3://bucket/prefix, or `quickstart`.")
]
Format = Annotated[str | None, typer.Option(help="Annotation format: auto, yolo, coco or voc.")]
Images = Annotated[str | None, typer.Option(help="Folder of the images, where it lies outside the annotations.")]
PolicyName = Annotated[
    str | None, typer.Option("--policy", help="What the data gate tolerates: strict, default, lenient, or a YAML file.")
]
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


@contextlib.contextmanager
def bars(as_json: bool, run: Path | None = None) -> Iterator[None]:
    """Draw the progress of the block; with --json only where a person watches.

    The embedded store and tracking of a stage are those of the run directory it works in.
    """
    if run:
        runs = run.resolve().parent
        os.environ.setdefault("SIGHTLINE_RUNS", str(runs))
        os.environ.setdefault("SIGHTLINE_STORE", f"file://{runs}/store")
    with progress.display(quiet=as_json and not err.is_terminal):
        yield


def show(document: Document, as_json: bool, lines: list[str]) -> None:
    """Print a document for machines, or some lines about it for people."""
    if as_json:
        print(document.model_dump_json(indent=2, by_alias=True))
    else:
        for line in lines:
            out.print(line)


def values(
    assignments: list[str],
    *,
    format: str | None,
    images: str | None,
    weights: str | None,
    sha256: str | None,
    trust: bool,
    download: bool,
    policy: str | None,
) -> dict[str, Any]:
    """Join named options and --set into dotted keys; --set comes last and wins."""
    named: dict[str, Any] = {
        "data.format": format,
        "data.images": str(Path(images).resolve()) if images and Path(images).exists() else images,
        "data.policy": load_policy(policy) if policy else None,
        "weights.source": weights,
        "weights.sha256": sha256,
        "weights.trust": trust or None,
        "weights.download": download or None,
    }
    return {**{key: value for key, value in named.items() if value is not None}, **parse_assignments(assignments)}


def device(name: str) -> Any:
    """Check a --device option; raises ConfigError."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device: got '{name}', expected one of auto, cpu, cuda.")
    return name
