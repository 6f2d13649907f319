"""The file that declares recurring runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from sightline.errors import ConfigError, did_you_mean, shown
from sightline.orchestrate import declared_file
from sightline.orchestrate.declared_file import NAME, Strict

SERVER_ZONE = "CRON_SCHEDULE_TIMEZONE"  # as KFP's own controller has it


class Schedule(Strict):
    """One recurring run."""

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


class ScheduleFile(Strict):
    """All recurring runs that the server is to have."""

    schedules: list[Schedule]


def read(path: Path) -> list[Schedule]:
    """Read the file. Raises ConfigError with every mistake of form at once."""
    return declared_file.read(path, ScheduleFile, Schedule).schedules


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
