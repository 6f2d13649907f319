"""`sightline tensorboard`: the curves of runs, while they train and after."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.options import Runs, err, non_empty, print_lines, styled
from sightline.errors import ConfigError, StorageError
from sightline.run_list.summaries import ARGUMENTS
from sightline.runtime.stage_frame import NAMES

if TYPE_CHECKING:
    from sightline.train.event_mirror import Source

HOST = "127.0.0.1"
LOOK = {"file": 2.0, "s3": 15.0}  # seconds between looks for something new: on this machine, in a store
RunName = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Run directory, id of a run in --runs, or id of a run on a cluster, by SIGHTLINE_STORE. Default: all "
        "in --runs.",
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any that is free.")]


def tensorboard(run: RunName = None, port: Port = 6006, runs: Runs = Path("runs")) -> None:
    """Show the curves of runs in TensorBoard, on this machine alone, until Ctrl-C; those of one that trains grow.

    sightline tensorboard

    sightline tensorboard --run runs/mine --port 6007

    sightline tensorboard --run 2a4d9a05-…
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("The package tensorboard is not installed here. Install Sightline with its extra 'train'.")
    source, pause = _source(run, runs)
    _check(port)
    with tempfile.TemporaryDirectory(prefix="sightline-tensorboard-") as name:
        folder = Path(name) / "runs"
        folder.mkdir()
        found = source.refresh(folder)
        address = _serve(folder, port)
        print_lines([f"TensorBoard is at {address} until Ctrl-C"])
        if not found:
            err.print(styled(("note:", "yellow"), " there are no curves yet; they come with the first epoch."))
        _follow(source, folder, pause)


def _source(run: str | None, runs: Path) -> tuple[Source, float]:
    """Return where curves come from, and how often to look. Raises ConfigError if there is no such run."""
    from sightline.orchestrate import named_run
    from sightline.run_store import RunStore
    from sightline.storage import open_store
    from sightline.train.event_mirror import LocalRuns, StoredRun

    if run is None:
        if not runs.is_dir():
            raise ConfigError(f"--runs: there is no folder '{runs}'. Name one run with --run.")
        return LocalRuns(runs), LOOK["file"]
    folders = [folder for folder in (Path(run), runs / run) if folder.is_dir()]
    for folder in folders:
        if _is_run(folder):
            return LocalRuns(folder.resolve().parent, folder.resolve().name), LOOK["file"]
    if folders:
        raise ConfigError(f"--run: {_no_run(folders[0])}")
    where = f"there is no folder '{run}' or '{runs / run}'"
    if not (uri := os.environ.get("SIGHTLINE_STORE")):
        raise ConfigError(f"--run: {where}. For a run on a cluster set SIGHTLINE_STORE.")
    named = named_run.in_store(run, store := open_store(uri))
    if named is None:
        raise ConfigError(f"--run: {where}, and {uri} knows no run of this id or name.")
    return StoredRun(RunStore(store, named.run_id)), LOOK["s3"]


def _is_run(folder: Path) -> bool:
    """Tell whether a stage worked in a folder, or a run began in it."""
    return (folder / ARGUMENTS).exists() or any((folder / stage).is_dir() for stage in NAMES)


def _no_run(folder: Path) -> str:
    """Say that a folder is no run, and what is meant by it."""
    if _is_run(folder.resolve().parent):
        return f"'{folder}' is a part of a run, and no run. Give the folder that it lies in."
    if any(_is_run(inside) for inside in folder.iterdir()):
        return f"'{folder}' is a folder of runs, and no run. Give one of them, or all by --runs."
    return f"'{folder}' is no run: no stage has worked in it."


def _check(port: int) -> None:
    """Raise ConfigError if something listens on a port: TensorBoard's own words are several lines."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigError(f"--port: cannot listen on port {port} of {HOST}: {why}. Give another one, or 0.") from None


def _serve(folder: Path, port: int) -> str:
    """Start the server in a thread that ends with this process, and return its address."""
    from tensorboard import default, program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = program.TensorBoard(default.get_plugins())
    server.configure(argv=("tensorboard",), logdir=str(folder), host=HOST, port=port, load_fast=_fast())
    try:
        return str(server.launch())
    except program.TensorBoardServerException as error:  # the port was taken meanwhile
        raise ConfigError(f"--port: {error.msg}") from None


def _fast() -> str:
    """Choose the reader that ships with TensorBoard where it can: it also sees that an attempt has begun again."""
    from tensorboard.data import server_ingester

    try:
        server_ingester.get_server_binary()
    except server_ingester.NoDataServerError:  # for this kind of machine there is none
        return "false"
    return "true"  # "auto" would say that it is experimental


def _follow(source: Source, folder: Path, pause: float) -> None:
    """Bring the folder up to date for ever. An outage of the store is said once."""
    out = False
    while True:
        time.sleep(pause)
        try:
            source.refresh(folder)
            out = False
        except StorageError as error:
            if not out:
                err.print(styled(("note:", "yellow"), f" what is shown is not the newest: {error}"))
            out = True
