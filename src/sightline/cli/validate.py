"""`sightline validate`: labelled images, checked alone or for a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from sightline.cli import output
from sightline.cli.form_options import ConfigFile, GpuTier
from sightline.cli.options import (
    Assign,
    Data,
    Download,
    Format,
    Images,
    Json,
    PolicyName,
    Preset,
    TrustWeights,
    Weights,
    WeightsSha256,
    non_empty_path,
    print_document,
    print_lines,
    progress_display,
    values,
)
from sightline.cli.rules import list_rules, print_schema
from sightline.config import RunConfig, settings_file
from sightline.config.sizing import AUTO, TIER_NAMES
from sightline.documents import DataDocument, ValidateDocument
from sightline.errors import ConfigError
from sightline.storage import check_cache

REPORT = Path("data-report")
RunFolder = Annotated[
    Path | None,
    typer.Option(
        parser=non_empty_path,
        metavar="<path>",
        help="Run directory. Without it nothing is stored: the data alone is checked.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        parser=non_empty_path, metavar="<path>", help=f"Without --run: folder of the data report. Default: {REPORT}."
    ),
]
Fix = Annotated[
    Path | None,
    typer.Option(
        parser=non_empty_path,
        metavar="<path>",
        help="Write a repaired copy into this folder, with changes.csv, and check the copy.",
    ),
]
Rules = Annotated[bool, typer.Option("--rules", callback=list_rules, is_eager=True, help="List the rules and exit.")]
Schema = Annotated[
    bool, typer.Option("--schema", callback=print_schema, is_eager=True, help="Print the schema of data.json.")
]


def validate(
    data: Data,
    run: RunFolder = None,
    policy: PolicyName = None,
    report: Report = None,
    fix: Fix = None,
    preset: Preset = None,
    config: ConfigFile = None,
    weights: Weights = None,
    format: Format = None,
    images: Images = None,
    weights_sha256: WeightsSha256 = None,
    trust_weights: TrustWeights = False,
    download: Download = False,
    gpu_tier: GpuTier = AUTO,
    assign: Assign = [],  # noqa: B006
    as_json: Json = False,
    rules: Rules = False,
    schema: Schema = False,
) -> None:
    """Check labels and images, and with --run make a snapshot of them and pin the weights.

    sightline validate --data ./bccd                                       (the data alone; see data-report/data.html)

    sightline validate --data ./bccd --policy strict --fix ./bccd-fixed

    sightline validate --data labels.zip --format voc --images ./photos --run runs/mine --json
    """
    from sightline import validate as stage
    from sightline.config import presets

    of_weights = {
        "--weights": weights,
        "--weights-sha256": weights_sha256,
        "--trust-weights": trust_weights,
        "--download": download,
        "--gpu-tier": gpu_tier != AUTO,
    }
    _check_options(run, report, fix, [option for option, value in of_weights.items() if value])
    file = settings_file.read(config) if config else None
    preset = settings_file.joined(preset, file, "balanced")
    named = values(
        assign,
        format=format,
        images=images,
        weights=weights,
        sha256=weights_sha256,
        trust=trust_weights,
        download=download,
        policy=policy,
        file=file,
    )
    tier = next((name for name in TIER_NAMES if name == gpu_tier), None)
    resolved = stage.resolve(preset, named, data, tier=tier) if run else presets.resolve(preset, named)
    if fix:
        data, resolved = _fixed(data, resolved, fix, as_json)
    document: ValidateDocument | DataDocument
    with progress_display(as_json, run):
        if run:
            check_cache()  # of the stages that follow
            folder = run / "validate"
            document = stage.run(source=data, config=resolved, out=folder, tier=tier)
        else:
            folder = report or REPORT
            document = stage.check(data, resolved, folder)
    print_document(document, as_json, _lines(document, folder))


def _check_options(run: Path | None, report: Path | None, fix: Path | None, of_weights: list[str]) -> None:
    """Refuse options that would be ignored. Raises ConfigError."""
    problems = []
    if of_weights and not run:
        problems.append(f"{', '.join(of_weights)}: expected with --run only; without it the data alone is checked")
    if report and run:
        problems.append(f"--report: expected without --run only; with it the report is in {run}/validate")
    if fix and run:
        problems.append("--fix: expected without --run only; it stores nothing. Validate the copy with --run")
    if problems:
        raise ConfigError("These options do not go together:", problems)


def _fixed(data: str, config: RunConfig, out_folder: Path, as_json: bool) -> tuple[str, RunConfig]:
    """Write a repaired copy, and say what was changed; returns its folder and the configuration to read it with.

    Raises ConfigError for a copy inside its own source.
    """
    from sightline.datasets.sources import home

    for source in (data, config.data.images):
        place = home(source) if source else None
        target = Path(os.path.expanduser(out_folder)).resolve()  # noqa: PTH111 - Path's raises: no such user
        if place and target.is_relative_to(place.resolve()):
            raise ConfigError(f"--fix: {out_folder} lies within {source}; expected a folder outside of the source.")
    from sightline.validate.repair.fix import fix

    with progress_display(as_json):
        done = fix(data, config, out_folder)
    if not as_json:
        changed = [f"  {count:>6} {rule}" for rule, count in done.changes.items()] or ["  nothing needed a change"]
        print_lines([f"repaired copy in {done.folder}: {done.images} images / {done.boxes} boxes", *changed])
        print_lines([f"every change is in {done.changes_file}"])
    of_copy = config.data.model_copy(update={"format": "auto", "images": None, "voc_origin": 0})
    return str(out_folder), config.model_copy(update={"data": of_copy})


def _lines(document: ValidateDocument | DataDocument, folder: Path) -> list[str | Text]:
    """Say what was found, rule by rule, and what passed."""
    counts = [f"{split} {c.images} images / {c.boxes} boxes" for split, c in document.splits.items()]
    classes = f"{len(document.classes)} class{'es' * (len(document.classes) != 1)}"
    return [
        *output.found_lines(document),
        f"{document.format} · {classes} · {' · '.join(counts)}",
        *([document.split_rule] if document.split_rule else []),
        *([f"snapshot {document.snapshot}"] if isinstance(document, ValidateDocument) else []),
        f"report {folder}/data.html, all problems in {folder}/problems.csv",
    ]
