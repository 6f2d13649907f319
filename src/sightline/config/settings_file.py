"""A file of settings: a configuration in YAML, whole or in part, by the same keys as everywhere else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Set
from os.path import expanduser, isfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from sightline import expected, strict_yaml
from sightline.config.assignments import ENGINE
from sightline.config.consequences import CHOSEN
from sightline.config.part import Part
from sightline.config.presets import PRESETS
from sightline.config.run_config import RunConfig
from sightline.config.sizing import SIZED
from sightline.config.train_config import NOTED
from sightline.errors import ConfigError, shortened
from sightline.policy import Policy

MAX_BYTES = 1 << 20
WANTED = "expected keys with values, such as train: {epochs: 50}"
WIDTH = 110  # characters of a comment


class Settings(NamedTuple):
    """What a file says."""

    preset: str | None
    values: dict[str, Any]  # by dotted keys


def read(file: str) -> Settings:
    """Read a file of settings. Whether keys and values are right is seen where they are applied.

    Raises ConfigError for a file that is not there, too large, no YAML or no settings, and for a key given twice.
    """
    path = Path(expanduser(file))  # noqa: PTH111 - Path's raises for a user that does not exist
    if not isfile(path):  # noqa: PTH113 - Path's raises for a name that is too long
        raise ConfigError(f"--config: {shortened(file)} is no file; `sightline config --yaml > my.yaml` writes one.")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"--config: {file} has {path.stat().st_size} bytes, expected at most {MAX_BYTES}.")
    try:
        tree = strict_yaml.parse(path.read_bytes())
    except (ValueError, OSError) as problem:
        raise ConfigError(f"--config: {file} cannot be read: {problem}.") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"--config: {file} holds {expected.shown(tree)}, {WANTED}.")
    preset = tree.pop("preset", None)
    values: dict[str, Any] = {}
    problems = []
    if preset is not None and not (preset and isinstance(preset, str)):
        problems.append(f"preset: got {expected.shown(preset)}, expected one of {', '.join(PRESETS)}")
    for key, value in _leaves(tree, RunConfig, ""):
        if key in values:
            problems.append(f"{key} is given twice")
        if isinstance(value, _NoSection):
            problems.append(f"{key}: got {expected.shown(value.found)}, expected its keys with values")
        else:
            values[key] = value
    engine = values.get("train.engine")
    names = engine if isinstance(engine, dict) else {}
    problems += [f"{ENGINE}{name} is given twice" for name in names if f"{ENGINE}{name}" in values]
    if problems:
        raise ConfigError(f"--config: {file} is wrong:", problems)
    return Settings(preset, values)


class _NoSection(NamedTuple):
    """A value in place of a section."""

    found: Any


def _leaves(tree: Mapping[Any, Any], model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values; an unknown section gives its keys, which nobody knows either."""
    parts = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for name, value in tree.items():
        kind, key = parts.get(name), f"{prefix}{name}"
        section = isinstance(kind, type) and issubclass(kind, Part)
        if isinstance(value, dict) and (section or (value and name not in parts)):
            yield from _leaves(value, kind or BaseModel, f"{key}.")  # type: ignore[arg-type]
        elif section and value is not None:
            yield key, _NoSection(value)
        elif not section:
            yield key, value


def joined(preset: str | None, file: Settings | None, default: str) -> str:
    """Return the preset that an option names, else the file, else the default.

    Raises ConfigError where option and file name different ones.
    """
    if preset and file and file.preset and preset != file.preset:
        raise ConfigError(f"--preset is {preset}, and the file of --config has preset {file.preset}: leave one out.")
    return preset or (file.preset if file else None) or default


def text(config: RunConfig) -> str:
    """Return the whole configuration as such a file, with the meaning of each key above it.

    `train.gpus` is a comment where it is 0: then `sightline run` takes the GPUs that are there. What the optimizer
    `auto` and `train.sizing` choose by themselves are some too.
    """
    train = config.train
    open_ = {*(() if train.gpus else ("train.gpus",)), *(CHOSEN if train.optimizer == "auto" else ())}
    if train.sizing == "auto":
        open_ |= {key for key, name in SIZED.items() if name not in train.given}
    lines = [
        "# Settings of Sightline: `sightline run --config FILE`. Delete what the preset may decide.",
        f"preset: {config.preset}",
    ]
    lines += _lines(config, "", 0, open_)
    return "\n".join(lines) + "\n"


def _lines(part: BaseModel, prefix: str, depth: int, open_: Set[str]) -> Iterator[str]:
    """Yield the lines of a part; the keys `open_` are comments."""
    indent = "  " * depth
    for name, field in type(part).model_fields.items():
        key, value = f"{prefix}{field.alias or name}", getattr(part, name)
        if key in ("preset", f"train.{NOTED}"):
            continue
        if isinstance(value, BaseModel) and not isinstance(value, Policy):
            yield from ("", f"{indent}{field.alias or name}:")
            yield from _lines(value, f"{key}.", depth + 1, open_)
            continue
        for line in textwrap.wrap(field.description or "", WIDTH):
            yield f"{indent}# {line}"
        dumped = value.model_dump(exclude_defaults=True) or value.base if isinstance(value, Policy) else value
        left_out = "# " if key in open_ else ""
        flow = _dumped(dumped)
        if isinstance(dumped, str) and strict_yaml.parse(flow) != [dumped]:  # 1e5, which not all readers take for text
            flow = _dumped(dumped, style='"')
        yield f"{indent}{left_out}{field.alias or name}: {flow[1:-2]}"  # without the brackets of the list


def _dumped(value: Any, style: str | None = None) -> str:
    return yaml.safe_dump([value], default_flow_style=True, default_style=style, width=1_000_000, allow_unicode=True)
