"""Files that declare runs: strict, so that a slip of the pen does not become a night without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline import strict_yaml
from sightline.errors import ConfigError, did_you_mean, shown

NAME = r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?"  # of what is declared


class Strict(BaseModel):
    """A part of such a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


File = TypeVar("File", bound=Strict)


def read(path: Path, kind: type[File], item: type[Strict]) -> File:
    """Read a file of one list of items, each with a name of its own.

    Raises ConfigError with every mistake of form at once.
    """
    (field,) = kind.model_fields
    try:
        values = strict_yaml.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The {field} {path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except ValueError as problem:
        raise ConfigError(f"{path}: {problem}.") from None
    try:
        found = kind.model_validate(values)
    except ValidationError as error:
        problems = [_explained(each, kind, item) for each in error.errors()]
        raise ConfigError(f"{path} is wrong:", problems) from None
    names = [each.name for each in getattr(found, field)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path} is wrong:", [f"the name '{name}' is given twice" for name in twice])
    return found


def _explained(problem: Any, kind: type[Strict], item: type[Strict]) -> str:
    """Say what is wrong at which place of the file, such as `schedules[0].cron`."""
    place = ""
    for part in problem["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if problem["type"] == "missing":
        return f"{place}: missing"
    if problem["type"] == "extra_forbidden":
        known = item.model_fields if len(problem["loc"]) > 1 else kind.model_fields
        hint = did_you_mean(str(problem["loc"][-1]), known) or f", expected one of {', '.join(known)}."
        return f"{place}: unknown{hint}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{place}: got {shown(problem['input'])}, expected up to 50 lower-case letters, digits and hyphens"
    message = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{place or 'the file'}: got {shown(problem['input'])}, expected {message[0].lower()}{message[1:]}"
