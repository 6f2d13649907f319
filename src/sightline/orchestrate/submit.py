"""Sends a run to a cluster: uploads the version if it is new, starts the run, and says what still runs an older one.

What CI calls again after a failure goes on where the last call stopped: the pipeline and the version are found by their
names, and only the run is always a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sightline.config.parameters import PipelineParameters
from sightline.errors import ClusterError, ConfigError
from sightline.orchestrate import versions
from sightline.orchestrate.kfp_api import Server

EXPERIMENT = "sightline"  # in which runs are grouped where no other is named


@dataclass(frozen=True)
class Order:
    """A run as it is to be started."""

    name: str
    description: str
    experiment: str
    parameters: Mapping[str, Any]
    service_account: str | None
    training: str  # what training gets, on all nodes


@dataclass(frozen=True)
class Submitted:
    """What a submission did."""

    uploaded: versions.Uploaded
    run_id: str | None  # without --no-run
    address: str | None
    outdated: tuple[str, ...]  # schedules that run another version
    unknown: str  # why these could not be asked for


def order(
    sent: versions.Package,
    parameters: Mapping[str, Any],
    *,
    name: str | None = None,
    experiment: str | None = None,
    service_account: str | None = None,
) -> Order:
    """Return the run to start; its name is by default the time and the preset. Raises ConfigError."""
    checked = versions.given(parameters, sent)
    form = PipelineParameters.given(parameters)
    return Order(
        name=name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{form.recipe}",
        description=description(sent),
        experiment=experiment or EXPERIMENT,
        parameters=checked,
        service_account=service_account,
        training=form.totals(),
    )


def description(sent: versions.Package) -> str:
    """Return what a run says about where it comes from: runs have no tags."""
    lines = [f"Version {sent.version}, commit {sent.commit or 'unknown'}.", *sent.images]
    return "\n".join(lines)


def start(server: Server, version: Any, run: Order) -> Any:
    """Start a run of a version on the server; returns KFP's record. Raises ClusterUsageError and ClusterError."""
    return server.create_run(
        name=run.name,
        description=run.description,
        experiment_id=server.experiment(run.experiment),
        version=version,
        parameters=dict(run.parameters),
        service_account=run.service_account,
    )


def submit(server: Server, sent: versions.Package, run: Order | None) -> Submitted:
    """Upload the version unless the server has it, and start the run, if there is one to start.

    Raises ClusterUsageError and ClusterError; what was done until then is found by the next call.
    """
    from sightline.orchestrate import schedules  # the data image, which starts runs, cannot read their times

    uploaded = versions.upload(server, sent)
    run_id = start(server, uploaded.version, run).run_id if run else None
    outdated: tuple[str, ...] = ()
    unknown = ""
    try:
        outdated = tuple(schedules.outdated(server, sent.name, uploaded.version.pipeline_version_id))
    except ClusterError as error:  # the run is on its way: whoever may not see schedules may still submit
        unknown = str(error)
    return Submitted(uploaded, run_id, server.run_address(run_id) if run_id else None, outdated, unknown)


def assigned(texts: Sequence[str]) -> dict[str, str]:
    """Read `name=value` texts.

    Raises ConfigError for a text of another form, and for a name given twice.
    """
    values: dict[str, str] = {}
    problems = []
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            problems.append(f"got '{text}', expected NAME=VALUE")
        elif name in values:
            problems.append(f"'{name}' is given twice")
        else:
            values[name] = value
    if problems:
        raise ConfigError("Some --param options cannot be read:", problems)
    return values
