"""`sightline cluster`: whether a cluster can do a run, before it costs anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from sightline.cli.form_options import ConfigFile
from sightline.cli.options import Json, err, print_lines, styled
from sightline.cli.submit import Experiment, Namespace, Param, Pipeline, ServiceAccount, parameters, seconds
from sightline.runtime.terminal import print_json, visible

if TYPE_CHECKING:
    from sightline.cluster.findings import Finding

app = typer.Typer(no_args_is_help=True, help="Ask a cluster whether it can do a run.")

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "cyan"}

Outside = Annotated[bool, typer.Option("--outside", help="Start no pod: ask from here alone.")]
Wait = Annotated[
    float, typer.Option(parser=seconds, metavar="<5m>", help="How long the check's pod may take to start.")
]


@app.callback()
def _options() -> None:
    """Ask a cluster whether it can do a run."""


@app.command()
def check(
    param: Param = [],  # noqa: B006
    config: ConfigFile = None,
    experiment: Experiment = None,
    namespace: Namespace = None,
    service_account: ServiceAccount = None,
    pipeline: Pipeline = None,
    outside: Outside = False,
    wait: Wait = "5m",  # type: ignore[assignment]
    as_json: Json = False,
) -> None:
    """Check what a run with these parameters would meet, before it costs anything. Exit code 2 if something stops it.

    Kubeflow Pipelines is asked as by `sightline submit`, Kubernetes with the kubeconfig; a Job asks from inside.

    sightline cluster check --param train_gpus=2 --param train_memory=64Gi

    sightline cluster check --outside                  (starts nothing; takes seconds)
    """
    from sightline.orchestrate import cluster_check, versions

    with _status() as tell:
        checked = cluster_check.check(
            versions.package(pipeline),
            parameters(param, config),
            namespace=namespace,
            experiment=experiment,
            service_account=service_account,
            wait=None if outside else wait,
            tell=tell,
        )
    if as_json:
        levels: list[str] = [each.level for each in checked.findings]
        counts = {level: levels.count(level) for level in COLOURS}
        print_json(json.dumps({"checks": [asdict(each) for each in checked.findings], **counts}, indent=2))
    else:
        print_lines(lines(checked.findings))
    raise typer.Exit(checked.exit_code)


def lines(findings: Sequence[Finding]) -> list[Text]:
    """Write findings, a line each, in columns."""
    width = max((len(each.check) for each in findings), default=0)
    return [
        styled((f"{each.level:<8}", COLOURS[each.level]), f" {each.check:<{width}}  {' '.join(each.words.split())}")
        for each in findings
    ]


@contextlib.contextmanager
def _status() -> Iterator[Any]:
    """Show on a terminal what is waited for."""
    if not err.is_terminal:
        yield lambda words: None
        return
    with err.status("asking the cluster") as status:
        yield lambda words: status.update(visible(words))
