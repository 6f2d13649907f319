"""`sightline submit`: a run on a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli import following
from sightline.cli.form_options import ConfigFile
from sightline.cli.options import Json, non_empty, non_empty_path, print_lines
from sightline.config import cluster_values, form_file, settings_file
from sightline.runtime.terminal import print_json

if TYPE_CHECKING:
    from sightline.cluster.findings import Finding
    from sightline.orchestrate.registry import Image
    from sightline.orchestrate.submit import Order, Submitted
    from sightline.orchestrate.versions import Package


def seconds(text: str | float) -> float:
    """Read a time such as 90s, 30m, 2h or 1d."""
    found = cluster_values.seconds(str(text).strip())
    if found is None:
        raise typer.BadParameter(f"got '{text}', expected a time such as 90s, 30m, 2h or 1d.")
    return found


Pipeline = Annotated[
    Path | None,
    typer.Option(parser=non_empty_path, metavar="<path>", help="Compiled pipeline. Default: the packaged one."),
]
Experiment = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        envvar="KFP_EXPERIMENT",
        help="Experiment that groups the runs. Default: sightline.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        envvar="KFP_NAMESPACE",
        help="Namespace, where the server has several.",
    ),
]
ServiceAccount = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        envvar="KFP_SERVICE_ACCOUNT",
        help="Service account of the pods. Default: the server's.",
    ),
]
Param = Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="Set a parameter of the pipeline's form.")]
RunName = Annotated[
    str | None,
    typer.Option(parser=non_empty, metavar="<str>", help="Name of the run. Default: time and preset."),
]
NoRun = Annotated[bool, typer.Option("--no-run", help="Upload the version, and start nothing.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the run to its end; the exit code is the run's.")]
Follow = Annotated[
    str | None,
    typer.Option(parser=non_empty, metavar="RUN", help="Start nothing, and follow the run of this id."),
]
Pending = Annotated[
    float | None,
    typer.Option(
        parser=seconds, metavar="<30m>", help="While following: end the run if a pod has not started after this time."
    ),
]
Resubmit = Annotated[
    int,
    typer.Option(
        min=0,
        max=20,
        metavar="<3>",
        help="With --wait: start the run again, so many times at most, when the cluster ended it: a lost, evicted or "
        "drained pod, a memory or time limit of training, an outage. Its training goes on.",
        show_default=False,
    ),
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Start the run whatever the cluster says of it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]


def submit(
    param: Param = [],  # noqa: B006
    config: ConfigFile = None,
    run_name: RunName = None,
    experiment: Experiment = None,
    namespace: Namespace = None,
    service_account: ServiceAccount = None,
    pipeline: Pipeline = None,
    no_run: NoRun = False,
    wait: Wait = False,
    follow: Follow = None,
    pending: Pending = None,
    resubmit: Resubmit = 0,
    dry_run: DryRun = False,
    no_check: NoCheck = False,
    as_json: Json = False,
) -> None:
    """Upload the pipeline to Kubeflow Pipelines if it is new, and start a run of it.

    KFP_ENDPOINT names the server, KFP_TOKEN holds a token for it.

    sightline submit --param data=s3://bucket/cells --param preset=balanced --wait

    sightline submit --config my.yaml --param data=s3://bucket/cells --param train_gpus=1

    sightline submit --follow RUN                      (after Ctrl-C, which leaves the run alone)
    """
    _check_options(param or config, run_name, no_run, wait, follow, pending, resubmit, dry_run)
    from sightline.orchestrate import cluster_check, registry, versions
    from sightline.orchestrate.follow import Follower
    from sightline.orchestrate.kfp_api import Server
    from sightline.orchestrate.resubmit import Resubmission
    from sightline.orchestrate.submit import order, submit

    result: dict[str, Any] = {}
    again: Resubmission | None = None
    if follow is None:
        sent, values = versions.package(pipeline), parameters(param, config)
        run = order(sent, values, name=run_name, experiment=experiment, service_account=service_account)
        wanted = None if no_run else run
        server = None if dry_run else Server(namespace)
        images = registry.check(sent.images)
        result = _sent(sent, wanted, images)
        if server is None:
            _show(result, as_json, _dry_lines(sent, wanted, images))
            return
        if wanted and not no_check:
            notes = cluster_check.refuse(server, sent, values, service_account=service_account)
            result["cluster"] = [asdict(note) for note in notes]
            if not as_json:
                print_lines(_cluster_lines(notes))
        done = submit(server, sent, wanted)
        result |= _done(done)
        if not as_json:
            print_lines(_done_lines(sent, wanted, images, done))
        run_id = done.run_id
        again = Resubmission(server, done.uploaded, run, resubmit) if resubmit else None
    else:
        server, run_id = Server(namespace), follow
    if run_id is None or not (wait or follow):
        if as_json:
            _show(result, as_json, [])
        return

    kubernetes = following.kubernetes()

    def follower(followed: str) -> Follower:
        return Follower(server, followed, pending=pending, kubernetes=kubernetes)

    raise typer.Exit(following.follow(follower, run_id, result, as_json, again))


def parameters(param: list[str], config: str | None) -> dict[str, str]:
    """Return what a person gave for the form, by options and by a file of settings. Raises ConfigError."""
    from sightline.orchestrate.submit import assigned

    values = assigned(param)
    return form_file.parameters(values, settings_file.read(config)) if config else values


def _check_options(
    param: list[str] | str | None,
    run_name: str | None,
    no_run: bool,
    wait: bool,
    follow: str | None,
    pending: float | None,
    resubmit: int,
    dry_run: bool,
) -> None:
    """Refuse options that say nothing together."""
    if follow and (param or run_name or no_run or dry_run):
        raise typer.BadParameter(
            "--follow starts nothing; leave --param, --config, --run-name, --no-run and --dry-run out."
        )
    if no_run and (wait or param or run_name):
        raise typer.BadParameter("--no-run starts nothing; leave --wait, --param, --config and --run-name out.")
    if resubmit and not wait:
        raise typer.BadParameter("--resubmit needs --wait: it starts a run again when it sees how it ended.")
    if pending is not None and not (wait or follow):
        raise typer.BadParameter("--pending needs --wait or --follow: who else would end the run?")


def _sent(sent: Package, run: Order | None, images: list[Image]) -> dict[str, Any]:
    """Return what is sent, for --json."""
    return {
        "pipeline": sent.name,
        "version": sent.version,
        "tags": dict(sent.tags),
        "description": sent.description,
        "images": [{"reference": image.reference, "checked": image.checked, "why": image.why} for image in images],
        "run": run
        and {
            "name": run.name,
            "description": run.description,
            "experiment": run.experiment,
            "service_account": run.service_account,
            "training": run.training,
            "parameters": dict(run.parameters),
        },
    }


def _done(done: Submitted) -> dict[str, Any]:
    return {
        "uploaded": done.uploaded.new,
        "pipeline_id": done.uploaded.pipeline_id,
        "version_id": done.uploaded.version.pipeline_version_id,
        "run_id": done.run_id,
        "address": done.address,
        "outdated_schedules": list(done.outdated),
    }


def _show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        print_json(json.dumps(result, indent=2))
    else:
        print_lines(lines)


def _image_lines(images: list[Image]) -> list[str]:
    return [
        f"image      {image.reference}{'' if image.checked else f' (not checked: {image.why})'}" for image in images
    ]


def _cluster_lines(notes: Sequence[Finding]) -> list[str]:
    """Write what may stand in the way, and in one line what could not be asked."""
    lines = [f"cluster    {note.check}: {note.words}" for note in notes if note.level == "warning"]
    hidden = dict.fromkeys(note.words.removeprefix("not checked: ") for note in notes if note.level == "unknown")
    if hidden:
        first, *more = hidden
        lines.append(f"cluster    not checked: {first}{f', and {len(more)} more reasons' if more else ''}")
    return lines


def _dry_lines(sent: Package, run: Order | None, images: list[Image]) -> list[str]:
    lines = [
        f"pipeline   {sent.name}",
        f"version    {sent.version}, unless the server has it",
        *_image_lines(images),
        *(f"tag        {name}: {value}" for name, value in sent.tags.items()),
        *(f"words      {line}" for line in sent.description.splitlines()),
    ]
    if run is None:
        return [*lines, "run        none"]
    return [
        *lines,
        f"run        {run.name}, in the experiment {run.experiment}",
        *(f"words      {line}" for line in run.description.splitlines()),
        *(f"parameter  {name} = {value}" for name, value in run.parameters.items()),
        f"training   {run.training}",
        *([f"as         {run.service_account}"] if run.service_account else []),
    ]


def _done_lines(sent: Package, run: Order | None, images: list[Image], done: Submitted) -> list[str]:
    state = "uploaded" if done.uploaded.new else "was there already: nothing was uploaded"
    lines = [f"version    {sent.name} {sent.version} {state}", *_image_lines(images)]
    if run and done.run_id:
        lines += [f"run        {run.name}", f"training   {run.training}", f"see        {done.address}"]
        lines += [f"follow     sightline submit --follow {done.run_id}"]
    if done.outdated:
        lines.append(f"schedules  {', '.join(done.outdated)} still run another version; `make schedule` moves them")
    if done.unknown:
        lines.append(f"schedules  not checked: {done.unknown}")
    return lines
