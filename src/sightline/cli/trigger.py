"""`sightline trigger`: new data in a bucket starts a run on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.options import non_empty, non_empty_path, print_lines
from sightline.cli.submit import DryRun, Experiment, Namespace, Pipeline, ServiceAccount

File = Annotated[Path, typer.Option(parser=non_empty_path, metavar="<path>", help="Declares the triggers.")]
Once = Annotated[bool, typer.Option("--once", help="Look once at every prefix, and end: no service, for cron.")]
Host = Annotated[str, typer.Option(parser=non_empty, metavar="<str>", help="Address to listen on; 0.0.0.0 is any.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any that is free.")]


def trigger(
    file: File = Path("pipelines/triggers.yaml"),
    once: Once = False,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    experiment: Experiment = None,
    namespace: Namespace = None,
    service_account: ServiceAccount = None,
    pipeline: Pipeline = None,
    dry_run: DryRun = False,
) -> None:
    """Start a run when new data has arrived in a bucket and has been quiet for a while; one for each state of it.

    Prefixes are listed at the start and every few minutes. Events of the object store, which it sends to /events with
    the secret in SIGHTLINE_TRIGGER_TOKEN, bring a listing forward. KFP_ENDPOINT names the server.

    sightline trigger --pipeline build/train.yaml --host 0.0.0.0

    sightline trigger --pipeline build/train.yaml --once
    """
    from sightline.orchestrate import versions
    from sightline.storage import default_store
    from sightline.trigger import service, trigger_file
    from sightline.trigger.runs import Runs
    from sightline.trigger.watch import Watch, Watching

    secret = "" if once or dry_run else service.token()
    sent, store = versions.package(pipeline), default_store()
    declared = trigger_file.read(file, sent, store)
    if dry_run:
        print_lines([line for each in declared for line in each.lines()])
        return
    runs = Runs(sent, store, namespace=namespace, experiment=experiment, service_account=service_account)
    watching = Watching([Watch(each, runs) for each in declared])
    service.log_lines()
    if once:
        watching.once()
    else:
        service.serve(watching, secret, service.listening(host, port))
