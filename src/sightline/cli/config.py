"""`sightline config`: every configuration key, with its value and its meaning."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.markup import escape
from rich.table import Table

from sightline.cli.form_options import ConfigFile
from sightline.cli.options import Assign, Json, Preset, out
from sightline.config import RunConfig, settings_file
from sightline.config.assignments import parse_assignments
from sightline.config.presets import resolve
from sightline.config.train_config import NOTED
from sightline.errors import ConfigError
from sightline.policy import Policy
from sightline.runtime.terminal import print_json

AsYaml = Annotated[
    bool, typer.Option("--yaml", help="Print a file of settings for --config, with the meaning of each key.")
]


def config(
    preset: Preset = None,
    config: ConfigFile = None,
    assign: Assign = [],  # noqa: B006
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """List every configuration key with its value under a preset or from a file, and its meaning.

    sightline config --preset fast

    sightline config --preset fast --set train.epochs=5 --yaml > my.yaml

    sightline config --config my.yaml --json
    """
    if as_yaml and as_json:
        raise ConfigError("--yaml and --json: expected one of them.")
    file = settings_file.read(config) if config else None
    values = {**(file.values if file else {}), **parse_assignments(assign)}
    resolved = resolve(settings_file.joined(preset, file, "balanced"), values)
    if as_yaml:
        print(settings_file.text(resolved), end="")
    elif as_json:
        print_json(resolved.model_dump_json(indent=2, by_alias=True, exclude={"train": {NOTED}}))
    else:
        out.print(config_table(resolved))


def config_table(config: RunConfig) -> Table:
    """Lay out every dotted key with its value and meaning."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("key", "value", "meaning"):
        table.add_column(name, overflow="fold")
    _rows(config, "", table)
    return table


def _rows(part: BaseModel, prefix: str, table: Table) -> None:
    for name, field in type(part).model_fields.items():
        value: Any = getattr(part, name)
        key = prefix + (field.alias or name)
        if isinstance(value, Policy):
            table.add_row(key, escape(_policy(value)), escape(field.description or ""))
        elif isinstance(value, BaseModel):
            _rows(value, f"{key}.", table)
        elif key not in ("preset", f"train.{NOTED}"):
            table.add_row(key, escape("null" if value is None else str(value)), escape(field.description or ""))


def _policy(policy: Policy) -> str:
    """Name a policy and what it changes: `default`, or `default, other: tiny-box, min_boxes`."""
    changed = [*policy.rules, *policy.thresholds.model_dump(exclude_defaults=True)]
    return f"{policy.base}, other: {', '.join(changed)}" if changed else policy.base
