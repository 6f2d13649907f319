"""`sightline submit`: a run on a cluster."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sightline.cli import following, submission
from sightline.cli.form_options import ConfigFile
from sightline.cli.options import Json, non_empty, non_empty_path, print_lines
from sightline.config import cluster_values, form_file, settings_file
from sightline.runtime.terminal import print_json

if TYPE_CHECKING:
    from sightline.orchestrate.kfp_api import Server
    from sightline.orchestrate.resubmit import Resubmission
    from sightline.orchestrate.submit import Order
    from sightline.orchestrate.versions import Uploaded


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
    from sightline.orchestrate.follow import Follower
    from sightline.orchestrate.kfp_api import Server

    result: dict[str, Any] = {}
    if follow is None:
        begun = _begin(
            pipeline,
            parameters(param, config),
            result,
            name=run_name,
            experiment=experiment,
            namespace=namespace,
            service_account=service_account,
            run=not no_run,
            dry_run=dry_run,
            check=not no_check,
            as_json=as_json,
        )
        if begun is None or begun.run_id is None or not wait:
            if as_json:
                print_json(json.dumps(result, indent=2))
            return
        server, run_id = begun.server, begun.run_id
        again = begun.again(resubmit)
    else:
        server, run_id, again = Server(namespace), follow, None
    kubernetes = following.kubernetes()

    def follower(followed: str) -> Follower:
        return Follower(server, followed, pending=pending, kubernetes=kubernetes)

    raise typer.Exit(following.follow(follower, run_id, result, as_json, again))


class _Begun(NamedTuple):
    """What was sent, and where."""

    server: Server
    uploaded: Uploaded
    order: Order
    run_id: str | None

    def again(self, most: int) -> Resubmission | None:
        """Return what starts the run again, so many times at most."""
        from sightline.orchestrate.resubmit import Resubmission

        return Resubmission(self.server, self.uploaded, self.order, most) if most else None


def _begin(
    pipeline: Path | None,
    values: dict[str, str],
    result: dict[str, Any],
    *,
    name: str | None,
    experiment: str | None,
    namespace: str | None,
    service_account: str | None,
    run: bool,
    dry_run: bool,
    check: bool,
    as_json: bool,
) -> _Begun | None:
    """Upload the pipeline if it is new, and start a run of it; None for a dry run.

    What is sent and done goes into `result`, and is printed unless `as_json` says that the result will be.
    """
    from sightline.orchestrate import cluster_check, registry, versions
    from sightline.orchestrate.kfp_api import Server
    from sightline.orchestrate.submit import order, submit

    say = (lambda _: None) if as_json else print_lines
    sent = versions.package(pipeline)
    ordered = order(sent, values, name=name, experiment=experiment, service_account=service_account)
    wanted = ordered if run else None
    server = None if dry_run else Server(namespace)
    images = registry.check(sent.images)
    result.update(submission.sent(sent, wanted, images))
    if server is None:
        say(submission.dry_lines(sent, wanted, images))
        return None
    if wanted and check:
        notes = cluster_check.refuse(server, sent, values, service_account=service_account)
        result["cluster"] = [asdict(note) for note in notes]
        say(submission.cluster_lines(notes))
    done = submit(server, sent, wanted)
    result.update(submission.done(done))
    say(submission.done_lines(sent, wanted, images, done))
    return _Begun(server, done.uploaded, ordered, done.run_id)


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
