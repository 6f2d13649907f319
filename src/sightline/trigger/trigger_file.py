"""The file that declares triggers: where new data arrives, and what is run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from sightline.config import cluster_values
from sightline.datasets import archives
from sightline.errors import ConfigError, StorageUsageError
from sightline.orchestrate import declared_file, versions
from sightline.orchestrate.declared_file import NAME, Strict
from sightline.storage import s3_address


def _prefix(text: str) -> str:
    place = text.rstrip("/")
    try:
        s3_address.bucket_and_prefix(place)
    except StorageUsageError:
        raise ValueError(s3_address.EXPECTED) from None
    if place.lower().endswith(archives.SUFFIXES):
        raise ValueError("the prefix in which the archive lies; parameters.data names the archive")
    return place


def _seconds(value: Any) -> Any:
    found = cluster_values.seconds(str(value))
    if not found:
        raise ValueError("a time such as 90s, 5m or 2h")
    return found


class Trigger(Strict):
    """One prefix, and the run that new data in it starts."""

    name: Annotated[str, Field(pattern=f"^{NAME}$", description="Part of the names of its runs.")]
    prefix: Annotated[str, AfterValidator(_prefix), Field(description="s3://bucket/prefix, with all that lies below.")]
    enabled: bool = Field(description="False: it is not looked at.")
    quiet: Annotated[int, BeforeValidator(_seconds)] = Field(
        300, description="Time without a change after which data counts as whole, such as 5m."
    )
    every: Annotated[int, BeforeValidator(_seconds)] = Field(
        600, description="Time between two listings, such as 10m; an event brings the next one forward."
    )
    parameters: dict[str, Any] = Field(default={}, description="Of the pipeline; its form's defaults for the others.")

    def holds(self, place: str) -> bool:
        """Tell whether an address lies in the prefix."""
        return f"{place}/".startswith(f"{self.prefix}/")

    @property
    def run(self) -> dict[str, Any]:
        """Return the parameters of its runs: those of the file, trained on its data if that has changed."""
        return {"data": self.prefix, "retrain": "changed"} | self.parameters

    def lines(self) -> list[str]:
        """Say what it watches, and what it runs."""
        return [
            f"{self.name}: {self.prefix}, listed every {self.every} s; a run once it has been quiet for {self.quiet} s",
            *(f"  {name} = {value}" for name, value in self.run.items()),
        ]


class TriggerFile(Strict):
    """All triggers."""

    triggers: list[Trigger]


def read(path: Path, sent: versions.Package, store: str) -> list[Trigger]:
    """Read the file and check all of it; returns the triggers that are enabled.

    `store` is where runs leave their results. Raises ConfigError with the mistakes of every trigger at once.
    """
    found = declared_file.read(path, TriggerFile, Trigger).triggers
    problems = []
    for trigger in found:
        try:
            versions.given(trigger.run, sent)
        except ConfigError as error:
            problems += [f"{trigger.name}: {problem}" for problem in error.problems or (error.message,)]
        if not trigger.holds(data := str(trigger.run["data"])):
            problems.append(f"{trigger.name}: data: got {data}, expected what lies in {trigger.prefix}")
        if trigger.holds(store.rstrip("/")):
            problems.append(
                f"{trigger.name}: the store of the runs, {store}, lies in {trigger.prefix}: every run would be new data"
            )
    if problems:
        raise ConfigError(f"The triggers of {path} are wrong:", problems)
    if not any(trigger.enabled for trigger in found):
        raise ConfigError(f"{path} has no trigger that is enabled.")
    if not sent.deadline:
        raise ConfigError(
            f"The pipeline {sent.name} has no deadline for a whole run: one that hangs would keep its trigger from "
            "starting another. `make compile DIGESTS=1 DEADLINE=12h` writes one with a deadline, build/train.yaml; "
            "name it with --pipeline."
        )
    return [trigger for trigger in found if trigger.enabled]
