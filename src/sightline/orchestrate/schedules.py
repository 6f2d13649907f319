"""Makes the recurring runs on the server match a file, and leaves alone what people made in the dashboard.

KFP's recurring runs have no tags and cannot be edited. So ours carry a marker in their description, with a digest of
all that was declared; where it differs, the new one is created disabled, the old one deleted, and the new one enabled.
A call that dies in between leaves what the next call puts right: at no moment do two of one name start runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sightline.errors import ConfigError
from sightline.orchestrate import cron, schedule_file, versions
from sightline.orchestrate.kfp_api import Server

MARKER = re.compile(r"^sightline-schedule: (?P<pipeline>\S+)/(?P<name>\S+) (?P<digest>[0-9a-f]{12})$", re.MULTILINE)
SHOWN = 3  # starts


@dataclass(frozen=True)
class Declared:
    """A schedule of the file, as the server is to have it."""

    name: str
    enabled: bool
    fields: str  # six, in the server's zone
    parameters: dict[str, Any]
    description: str  # with the marker
    digest: str  # of all the above but `enabled`
    starts: tuple[datetime, ...]  # the next ones, in its own zone
    change: cron.Change | None  # the next day on which daylight saving moves them


@dataclass(frozen=True)
class Step:
    """What is done for one schedule."""

    action: Literal["create", "replace", "pause", "resume", "keep", "remove"]
    name: str
    why: tuple[str, ...]  # what differs
    declared: Declared | None  # None where it is removed
    kept: Any | None  # the recurring run that matches, if there is one
    removed: tuple[Any, ...]  # the recurring runs that go


def declared(
    file: Path, sent: versions.Package, now: datetime, *, experiment: str, service_account: str | None
) -> list[Declared]:
    """Read the file and check all of it. Raises ConfigError with the mistakes of every schedule at once."""
    server_zone = schedule_file.server_zone()
    found, problems = [], []
    for schedule in schedule_file.read(file):
        try:
            parameters = versions.given(schedule.parameters, sent)
        except ConfigError as error:
            problems += [f"{schedule.name}: {problem}" for problem in error.problems or (error.message,)]
            parameters = {}
        try:
            zone = schedule.zone
            fields = cron.for_server(schedule.cron, zone, server_zone, now)
            starts = tuple(cron.starts(schedule.cron, zone, now, SHOWN))
            change = cron.next_change(schedule.cron, zone, server_zone, now)
        except ConfigError as error:
            problems.append(f"{schedule.name}: {error.message}")
            continue
        text = f"Starts at {schedule.cron} ({schedule.time_zone}). Declared in {file.name}; change it there."
        text = f"{schedule.description.strip()}\n{text}".strip()
        everything = [fields, parameters, text, experiment, service_account]
        digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]
        text += f"\nsightline-schedule: {sent.name}/{schedule.name} {digest}"
        found.append(
            Declared(schedule.name, schedule.enabled, fields, parameters, text, digest, starts, change),
        )
    if problems:
        raise ConfigError(f"The schedules of {file} are wrong:", problems)
    if found and not sent.deadline:
        raise ConfigError(
            f"The pipeline {sent.name} has no deadline for a whole run: one that hangs would keep its schedule from "
            "starting another. `make compile DEADLINE=12h` writes one with a deadline, build/train.yaml, which `make "
            "schedule` takes; `sightline schedule` takes it with --pipeline."
        )
    return found


def plan(server: Server, sent: versions.Package, wanted: Sequence[Declared], version_id: str | None) -> list[Step]:
    """Return what has to be done; `version_id` is None for a version that the server does not have yet."""
    ours: dict[str, list[Any]] = {}
    for name, recurring in _ours(server, sent.name):
        ours.setdefault(name, []).append(recurring)
    steps = [_step(schedule, ours.pop(schedule.name, []), version_id) for schedule in wanted]
    return steps + [
        Step("remove", name, ("not in the file",), None, None, tuple(found)) for name, found in sorted(ours.items())
    ]


def apply(
    server: Server, steps: Sequence[Step], version: Any, *, experiment: str, service_account: str | None
) -> Iterator[Step]:
    """Do the steps, one by one; each is yielded once it is done."""
    experiment_id = server.experiment(experiment) if any(step.declared and not step.kept for step in steps) else ""
    for step in steps:
        current, schedule = step.kept, step.declared
        if schedule and current is None:
            current = server.create_recurring_run(
                name=schedule.name,
                description=schedule.description,
                experiment_id=experiment_id,
                version=version,
                parameters=schedule.parameters,
                cron=schedule.fields,
                service_account=service_account,
            )
        for old in step.removed:
            server.delete_recurring_run(old.recurring_run_id, step.name)
        if schedule and current and schedule.enabled != _enabled(current):
            switch = server.enable if schedule.enabled else server.disable
            switch(current.recurring_run_id, step.name)
        yield step


def outdated(server: Server, pipeline: str, version_id: str) -> list[str]:
    """Return the names of our schedules that run another version of the pipeline."""
    return sorted({name for name, recurring in _ours(server, pipeline) if _version_id(recurring) != version_id})


def _ours(server: Server, pipeline: str) -> Iterator[tuple[str, Any]]:
    """Yield the recurring runs that we declared for a pipeline, with their names."""
    for recurring in server.recurring_runs():
        mark = MARKER.search(recurring.description or "")
        if mark and mark["pipeline"] == pipeline:
            yield mark["name"], recurring


def _step(schedule: Declared, found: list[Any], version_id: str | None) -> Step:
    """Decide for one schedule: the one on the server that matches is kept, all others of its name go."""
    matching = [recurring for recurring in found if version_id and not _differences(schedule, recurring, version_id)]
    kept = next((recurring for recurring in matching if _enabled(recurring)), matching[0] if matching else None)
    others = tuple(recurring for recurring in found if recurring is not kept)
    if kept is None:
        why = [line for recurring in found[:1] for line in _differences(schedule, recurring, version_id)]
        return Step("replace" if found else "create", schedule.name, tuple(why), schedule, None, others)
    leftover = ("one of the same name was left behind",) if others else ()
    if _enabled(kept) != schedule.enabled:
        return Step("resume" if schedule.enabled else "pause", schedule.name, leftover, schedule, kept, others)
    return Step("replace" if others else "keep", schedule.name, leftover, schedule, kept, others)


def _differences(schedule: Declared, recurring: Any, version_id: str | None) -> list[str]:
    """Say how a recurring run differs from what is declared, but for whether it is enabled."""
    lines = []
    trigger = recurring.trigger.cron_schedule.cron if recurring.trigger and recurring.trigger.cron_schedule else None
    if trigger != schedule.fields:
        lines.append(f"starts at {trigger}, declared {schedule.fields}")
    parameters = (recurring.runtime_config.parameters if recurring.runtime_config else None) or {}
    if parameters != schedule.parameters:
        lines.append(f"parameters {json.dumps(parameters)}, declared {json.dumps(schedule.parameters)}")
    if _version_id(recurring) != version_id:
        lines.append("runs another version of the pipeline")
    mark = MARKER.search(recurring.description or "")
    if not lines and (mark is None or mark["digest"] != schedule.digest):
        lines.append("another description, experiment or service account")
    return lines


def _version_id(recurring: Any) -> str | None:
    reference = recurring.pipeline_version_reference
    return reference.pipeline_version_id if reference else None


def _enabled(recurring: Any) -> bool:
    return bool(recurring.status == "ENABLED")
