"""`sightline schedule`: recurring runs on a cluster, as a file declares them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.options import Json, non_empty_path, out, print_lines, styled
from sightline.cli.submit import DryRun, Experiment, Namespace, Pipeline, ServiceAccount
from sightline.runtime.terminal import print_json

if TYPE_CHECKING:
    from sightline.orchestrate.schedules import Declared, Step

File = Annotated[
    Path, typer.Option(parser=non_empty_path, metavar="<path>", help="Declares all recurring runs of the pipeline.")
]
DONE = {
    "create": "created",
    "replace": "replaced",
    "pause": "paused",
    "resume": "enabled",
    "keep": "unchanged",
    "remove": "removed",
}


def schedule(
    file: File = Path("pipelines/schedules.yaml"),
    experiment: Experiment = None,
    namespace: Namespace = None,
    service_account: ServiceAccount = None,
    pipeline: Pipeline = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make the recurring runs on the server match a file; those that people made in the dashboard are left alone.

    They run the version that `sightline submit` would upload. KFP_ENDPOINT names the server, KFP_TOKEN holds a token.

    sightline schedule --dry-run                       (shows the difference)
    """
    from sightline.orchestrate import registry, schedules, versions
    from sightline.orchestrate.kfp_api import Server
    from sightline.orchestrate.submit import EXPERIMENT

    group = experiment or EXPERIMENT
    sent = versions.package(pipeline)
    wanted = schedules.declared(file, sent, datetime.now(UTC), experiment=group, service_account=service_account)
    server = Server(namespace)
    images = registry.check(sent.images)
    if dry_run:
        found = server.pipeline(sent.name)
        version = found and server.version(found.pipeline_id, sent.version)
        steps = schedules.plan(server, sent, wanted, version and version.pipeline_version_id)
        done = f"version    {sent.name} {sent.version} {'is there' if version else 'would be uploaded'}"
    else:
        uploaded = versions.upload(server, sent)
        state = "uploaded" if uploaded.new else "was there already: nothing was uploaded"
        done = f"version    {sent.name} {sent.version} {state}"
        planned = schedules.plan(server, sent, wanted, uploaded.version.pipeline_version_id)
        version = uploaded.version
        steps = list(schedules.apply(server, planned, version, experiment=group, service_account=service_account))
    if as_json:
        _print_json(sent.name, sent.version, steps, dry_run)
        return
    print_lines([done])
    print_lines([f"image      {image.reference} (not checked: {image.why})" for image in images if not image.checked])
    for step in steps:
        _print_step(step, dry_run)


def _print_step(step: Step, dry_run: bool) -> None:
    declared = step.declared
    word = f"would {step.action}" if dry_run and step.action != "keep" else DONE[step.action]
    paused = ", paused" if declared and not declared.enabled and step.action != "pause" else ""
    out.print(styled(f"{step.name}: ", (word, "bold"), paused))
    print_lines([f"  {reason}" for reason in step.why])
    if declared is None:
        return
    print_lines([f"  sent as {declared.fields}", *(f"  {_both(start)}" for start in declared.starts)])
    if declared.change:
        print_lines([f"  {_change(declared)}"])


def _both(start: datetime) -> str:
    """Write a start by both clocks."""
    return f"{start:%a %Y-%m-%d %H:%M} {start.tzname()} = {start.astimezone(UTC):%a %H:%M} UTC"


def _change(declared: Declared) -> str:
    change = declared.change
    assert change is not None
    return (
        f"daylight saving: from {change.at:%Y-%m-%d} on it would start at {change.after:%H:%M} in place of "
        f"{change.before:%H:%M}; `make schedule` after that day corrects it"
    )


def _print_json(pipeline: str, version: str, steps: list[Step], dry_run: bool) -> None:
    def row(step: Step) -> dict[str, Any]:
        declared = step.declared
        return {
            "name": step.name,
            "action": step.action,
            "why": list(step.why),
            "enabled": declared.enabled if declared else None,
            "cron": declared.fields if declared else None,
            "next": [start.isoformat() for start in declared.starts] if declared else [],
            "moves_at": declared.change.at.isoformat() if declared and declared.change else None,
        }

    result = {"pipeline": pipeline, "version": version, "dry_run": dry_run, "schedules": [row(step) for step in steps]}
    print_json(json.dumps(result, indent=2))
