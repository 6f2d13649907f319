"""`sightline`: what a person types. Parses, calls one stage or the pipeline, prints, and sets the exit code.

Heavy imports happen inside the commands: `sightline --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sightline import __version__
from sightline.cli import (
    checkpoints,
    cluster,
    config,
    dataset,
    predict,
    run,
    runs,
    schedule,
    stages,
    submit,
    tensorboard,
    trigger,
    validate,
    why,
)
from sightline.cli.options import err, out, styled
from sightline.errors import SightlineError, from_os_error
from sightline.runtime import machine, terminal
from sightline.runtime.stage_frame import ignore_signals, stop_on_signals

EXITS = (
    "Exit codes: 0 done, 1 our fault or an outage, 2 usage, configuration or bad input, 3 rejected by a gate, "
    "130 interrupted."
)

app = typer.Typer(
    name="sightline",
    help="Labelled images in; a registered ONNX detector out, its score measured on that very file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run.run,
    submit.submit,
    why.why,
    schedule.schedule,
    runs.runs,
    tensorboard.tensorboard,
    trigger.trigger,
    validate.validate,
    stages.train,
    stages.export,
    stages.evaluate,
    stages.sample,
    stages.report,
    stages.register,
    predict.predict,
    config.config,
):
    app.command()(command)
app.add_typer(dataset.app, name="dataset")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(cluster.app, name="cluster")


@app.callback(epilog=EXITS, invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors meant for the user become one message and an exit code."""
    terminal.prepare()
    stop_on_signals()
    machine.limit_threads()
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
        ignore_signals()
        err.print("interrupted")
    ignore_signals()
    if error := terminal.lost():
        err.print(styled(("error:", "bold red"), f" The output could not be written: {error.strerror}."))
        code = code or 1
    sys.exit(code)


def _run() -> int:
    """Run the command that the arguments name; returns its exit code."""
    try:
        try:
            app()
        except OSError as error:
            raise (from_os_error(error, Path.cwd()) or error) from None
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except SightlineError as error:
        if "--json" in sys.argv:
            problem = {"kind": error.kind, "message": str(error), "exit_code": error.exit_code}
            terminal.print_json(json.dumps({"error": problem}, indent=2))
        err.print(styled(("error:", "bold red")), end=" ")
        err.print(terminal.visible_error(str(error)), markup=False)
        return error.exit_code
    return 0
