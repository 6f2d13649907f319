"""The file that declares recurring runs: strict, so that a slip of the pen does not become a night without a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline import strict_yaml
from sightline.errors import ConfigError, did_you_mean, shown

SERVER_ZONE = "CRON_SCHEDULE_TIMEZONE"  # as KFP's own controller has it
NAME = r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?"


class Schedule(BaseModel):
    """One recurring run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=f"^{NAME}$", description="Lower-case letters, digits and hyphens.")]
    cron: str = Field(description="Five fields, minute hour day month weekday, by the clock of `time_zone`.")
    time_zone: str = Field(description="Name of the tz database, such as Europe/Berlin or UTC.")
    enabled: bool = Field(description="False pauses it.")
    description: str = ""
    parameters: dict[str, Any] = Field(default={}, description="Of the pipeline; its form's defaults for the others.")

    @property
    def zone(self) -> ZoneInfo:
        """Return its zone. Raises ConfigError."""
        return time_zone(self.time_zone, "time_zone")


class ScheduleFile(BaseModel):
    """All recurring runs that the server is to have."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schedules: list[Schedule]


def read(path: Path) -> list[Schedule]:
    """Read the file. Raises ConfigError with every mistake of form at once."""
    try:
        values = strict_yaml.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The schedules {path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except ValueError as problem:
        raise ConfigError(f"{path}: {problem}.") from None
    try:
        found = ScheduleFile.model_validate(values).schedules
    except ValidationError as error:
        raise ConfigError(f"{path} is wrong:", [_explained(item) for item in error.errors()]) from None
    names = [schedule.name for schedule in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path} is wrong:", [f"the name '{name}' is given twice" for name in twice])
    return found


def time_zone(name: str, where: str) -> ZoneInfo:
    """Return a time zone. Raises ConfigError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones()) or "."
        raise ConfigError(
            f"{where}: got {shown(name)}, expected a name of the tz database, such as Europe/Berlin or UTC{hint}"
        ) from None


def server_zone() -> ZoneInfo:
    """Return the zone in which the server reads cron fields: UTC, or what the environment says. Raises ConfigError."""
    return time_zone(os.environ.get(SERVER_ZONE) or "UTC", SERVER_ZONE)


def _explained(item: Any) -> str:
    """Say what is wrong at which place of the file, such as `schedules[0].cron`."""
    place = ""
    for part in item["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if item["type"] == "missing":
        return f"{place}: missing"
    if item["type"] == "extra_forbidden":
        known = Schedule.model_fields if len(item["loc"]) > 1 else ScheduleFile.model_fields
        hint = did_you_mean(str(item["loc"][-1]), known) or f", expected one of {', '.join(known)}."
        return f"{place}: unknown{hint}"
    if item["type"] == "string_pattern_mismatch":
        return f"{place}: got {shown(item['input'])}, expected up to 50 lower-case letters, digits and hyphens"
    message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{place or 'the file'}: got {shown(item['input'])}, expected {message[0].lower()}{message[1:]}"
