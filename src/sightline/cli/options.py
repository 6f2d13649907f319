"""The options that commands share, and what every command does with them."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.text import Text

from sightline.config.assignments import parse_assignments
from sightline.config.settings_file import Settings
from sightline.documents import Document
from sightline.errors import ConfigError
from sightline.orchestrate import claim, outcome
from sightline.policy import load as load_policy
from sightline.runtime import progress_bars
from sightline.runtime.pipeline_pod import in_pipeline_pod
from sightline.runtime.terminal import Terminal, print_json, visible
from sightline.storage.files import file_uri

out = Terminal(highlight=False, soft_wrap=True, emoji=False)
err = Terminal(stderr=True, highlight=False, soft_wrap=True, emoji=False)

PATHS = ("data.images", "sample.pictures")
AGES = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}  # seconds


def non_empty(text: str) -> str:
    """Refuse an empty value, such as an unset variable in a script leaves."""
    if not text.strip():
        raise typer.BadParameter("got '', expected a value.")
    return text


def non_empty_path(text: str | Path) -> Path:
    """Do the same for a path: an empty one would be the working directory."""
    return Path(non_empty(str(text)))


def fraction(text: str | float) -> float:
    """Take a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise typer.BadParameter(f"got '{text}', expected a number from 0 to 1.")
    return number


Data = Annotated[
    str,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Labelled images: a directory, a zip or tar archive, s3://bucket/prefix, a data.yaml or COCO file, or "
        "`quickstart`.",
    ),
]
Format = Annotated[
    str | None, typer.Option(parser=non_empty, metavar="<str>", help="Annotation format: auto, yolo, coco or voc.")
]
Images = Annotated[
    str | None,
    typer.Option(
        parser=non_empty, metavar="<str>", help="Folder of the images, where it lies outside the annotations."
    ),
]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        parser=non_empty,
        metavar="<str>",
        help="What the data gate tolerates: strict, default, lenient, or a YAML file.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Path, s3:// URI, official name (yolo11n.pt), or architecture from scratch (yolo11n.yaml, your own).",
    ),
]
WeightsSha256 = Annotated[
    str | None, typer.Option(parser=non_empty, metavar="<str>", help="The sha256 that the weights must have.")
]
TrustWeights = Annotated[
    bool, typer.Option("--trust-weights", help="Load a checkpoint whose sha256 is not known, or a network of your own.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch an official checkpoint over the network.")]
Pictures = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Your own pictures, without labels, for the gallery: a folder, a zip or tar archive, s3://bucket/prefix.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Recipe: quickstart, fast, balanced (the default), accurate or finetune.",
    ),
]
Assign = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set a configuration key; see `sightline config`.")
]
Run = Annotated[
    Path,
    typer.Option(
        parser=non_empty_path, metavar="<path>", help="Run directory: stages read and write their folders in it."
    ),
]
Confidence = Annotated[float | None, typer.Option(parser=fraction, metavar="<0 to 1>", help="Default: the file's own.")]
Runs = Annotated[Path, typer.Option(parser=non_empty_path, metavar="<path>", help="Folder of all runs.")]
StoreUri = Annotated[
    str | None,
    typer.Option(
        "--store",
        parser=non_empty,
        metavar="<str>",
        help="Store: a folder or s3://bucket/prefix. Default: SIGHTLINE_STORE.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the document as JSON on stdout, and nothing else there.")]
DeviceName = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@contextlib.contextmanager
def progress_display(as_json: bool, run: Path | None = None) -> Iterator[None]:
    """Draw the progress of the block; with --json only on a terminal.

    The embedded store and tracking of a stage are those of the run directory it works in, except in a pod of a pipeline
    run, where neither may be embedded. Raises ConfigError where a whole run is going on in that directory.
    """
    with contextlib.ExitStack() as stack:
        if run:
            folder = claim.usable(run, "--run")
            if claim.RESERVED.fullmatch(folder.name):
                raise ConfigError(f"--run: got '{run}', expected another name than {claim.RESERVED_SHOWN}.")
            runs = folder.parent
            os.environ.setdefault("SIGHTLINE_RUNS", str(runs))
            if not in_pipeline_pod():
                os.environ.setdefault("SIGHTLINE_STORE", file_uri(runs / "store"))
            finish_dead(runs)
            stack.enter_context(claim.shared(run))
        stack.enter_context(progress_bars.display(quiet=as_json and not err.is_terminal))
        yield


def finish_dead(runs: Path) -> None:
    """Write the summaries of runs whose command was killed, and say so."""
    for line in outcome.conclude_dead(runs):
        err.print(styled(("note:", "yellow"), f" {line}"))


def age(option: str, text: str) -> float:
    """Read an age, `12h`, `30d` or `8w`, in seconds. Raises ConfigError."""
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if not found:
        raise ConfigError(f"{option}: got '{text}', expected a number of hours, days or weeks, such as 12h, 30d or 8w.")
    return int(found[1]) * AGES[found[2]]


def print_document(document: Document, as_json: bool, lines: Sequence[str | Text]) -> None:
    """Print a document as JSON, or lines about it for people: plain text, which is escaped, or styled."""
    if as_json:
        print_json(document.model_dump_json(indent=2, by_alias=True))
    else:
        print_lines(lines)


def print_lines(lines: Sequence[str | Text]) -> None:
    """Print lines for people; line breaks in them are escaped, and markup is not interpreted."""
    for line in lines:
        out.print(visible(line) if isinstance(line, str) else line, markup=False)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Join plain parts and parts with a style into a line."""
    return Text.assemble(*(visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts))


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
    pictures: str | None = None,
    retrain: str | None = None,
    file: Settings | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Join the file of --config, named options and --set into dotted keys; what comes later wins.

    `more` are options by their keys; None is none that was given.
    """
    named: dict[str, Any] = {
        "data.format": format,
        "data.images": images,
        "data.policy": load_policy(policy) if policy else None,
        "weights.source": weights,
        "weights.sha256": sha256,
        "weights.trust": trust or None,
        "weights.download": download or None,
        "sample.pictures": pictures,
        "retrain.when": retrain,
        **more,
    }
    given = {key: value for key, value in named.items() if value is not None}
    found = {**(file.values if file else {}), **given, **parse_assignments(assignments)}
    return {key: _absolute(value) if key in PATHS and isinstance(value, str) else value for key, value in found.items()}


def _absolute(images: str) -> str:
    """Return an existing path as an absolute one: other processes have other working directories."""
    there = os.path.exists(images)  # noqa: PTH110 - Path's raises for a name that is too long
    return str(Path(images).resolve()) if there else images


def device(name: str) -> Any:
    """Check a --device option; raises ConfigError."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device: got '{name}', expected one of auto, cpu, cuda.")
    return name
