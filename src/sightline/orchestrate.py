"""Runs the compiled pipeline on this machine, with kfp's own local runner. The one place in `src/` that knows kfp.

The runner narrates and its tasks print, so it lives in a process of its own whose output is `pipeline.log`; this side
draws the progress, collects each stage's folder into the run directory, and sums up.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline import progress, stages
from sightline.artifacts import write_text
from sightline.errors import ConfigError
from sightline.result import ErrorReport, StageOutcome, SummaryDocument, read_error

LOG, ARGUMENTS, EVENTS, ERROR, KFP = "pipeline.log", "arguments.json", "progress.jsonl", "error.json", ".kfp"


def pipeline_file() -> Path:
    """Return the compiled pipeline: packaged beside this module, or in the source tree."""
    here = Path(__file__).resolve()
    packaged = here.parent / "compiled" / "train.yaml"
    return packaged if packaged.exists() else here.parents[2] / "pipelines" / "compiled" / "train.yaml"


def run(
    parameters: Mapping[str, Any], *, runs: Path, run_id: str, cache: bool = True, quiet: bool = False
) -> SummaryDocument:
    """Run the pipeline with `parameters` over its own defaults, in `runs/run_id`; returns the consolidated result.

    A failed or rejected run is a result too; only what goes wrong before it starts raises: ConfigError for an id that
    is taken or a tracking server that does not answer.
    """
    from sightline import report, tasks
    from sightline.tracking import server

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_id):
        raise ConfigError(f"--run-id: got '{run_id}', expected letters, digits, '.', '_' and '-'.")
    folder = (runs / run_id).resolve()
    environment = _environment(runs.resolve(), folder, run_id)
    if why := server.unreachable(server.tracking_uri(runs)):
        raise ConfigError("The run cannot start:", [why, *tasks.mistakes(parameters, environment["SIGHTLINE_STORE"])])
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"{folder} is there already; a run never writes into another. Choose another --run-id."
        ) from None
    Path(environment["TMPDIR"]).mkdir()
    arguments = {"parameters": dict(parameters), "cache": cache, "runs": str(runs.resolve())}
    write_text(folder / ARGUMENTS, json.dumps(arguments, indent=2))
    with progress.display(quiet, folder / EVENTS):
        code = _supervise(folder, environment)
    shutil.rmtree(environment["TMPDIR"], ignore_errors=True)
    events, _ = progress.events(folder / EVENTS)
    folders = _collect(folder, events)
    return report.conclude(
        run_id=run_id,
        folders=folders,
        out=folder,
        started_at=started_at,
        stages=_outcomes(events, folders),
        error=_error(folder, code, events),
    )


def _environment(runs: Path, folder: Path, run_id: str) -> dict[str, str]:
    """Say where everything goes; a store or tracking server that the user named stays."""
    return {
        "SIGHTLINE_STORE": f"file://{runs}/store",
        **os.environ,
        "SIGHTLINE_RUNS": str(runs),
        "SIGHTLINE_RUN_ID": run_id,
        stages.ERROR_VARIABLE: str(folder / ERROR),
        progress.VARIABLE: str(folder / EVENTS),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }


def _supervise(folder: Path, environment: Mapping[str, str]) -> int:
    """Run the runner's process to its end; returns its exit code. An interruption ends it and counts as failure."""
    with (folder / LOG).open("wb") as log:
        runner = subprocess.Popen(
            [sys.executable, "-m", "sightline.orchestrate", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            return runner.wait()
        except KeyboardInterrupt:
            _end(runner)
            return 130


def _end(runner: subprocess.Popen[bytes]) -> None:
    """End the runner's process group and wait until the last of it is gone: torchrun needs a moment for its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(runner.pid, signal.SIGTERM)
        for _ in range(300):
            time.sleep(0.1)
            runner.poll()  # a dead one that nobody asked for still counts as a process
            os.killpg(runner.pid, 0)
        os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()


def _collect(folder: Path, events: list[dict[str, Any]]) -> dict[str, Path]:
    """Put every stage's files into `folder/<stage>`, from wherever the runner or its cache has them.

    Hard links where possible: the runner's cache goes on pointing at the originals, and nothing lies on disk twice.
    """
    found: dict[str, Path] = {}
    for event in events:
        if event["event"] == "start":
            found |= {stage: Path(source) for stage, source in event["folders"].items() if Path(source).is_dir()}
    for stage, source in found.items():
        shutil.copytree(source, folder / stage, copy_function=_link, dirs_exist_ok=True)
    # A failed stage may have left a log, which is worth reading, and no document; a data report stands for itself.
    documents = {stage: (f"{stage}.json", *(("data.json",) if stage == "validate" else ())) for stage in found}
    return {
        stage: folder / stage
        for stage, names in documents.items()
        if any((folder / stage / name).exists() for name in names)
    }


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _error(folder: Path, code: int, events: list[dict[str, Any]]) -> ErrorReport | None:
    """Return why the run failed: the stage's own word, else what can be known from outside."""
    if code == 0:
        return None
    stage = next((event["stage"] for event in reversed(events) if "stage" in event), "validate")
    if code == 130:
        return ErrorReport(stage=stage, kind="interrupted", message="Interrupted by the user.", exit_code=130)
    report = read_error(folder / ERROR)
    message = f"The stage ended without a word (exit code {code}); its output is in {folder / LOG}."
    return report or ErrorReport(stage=stage, kind="internal", message=message, exit_code=1)


def _outcomes(events: list[dict[str, Any]], folders: Mapping[str, Path]) -> list[StageOutcome]:
    """Say how each stage went: a stage whose files others read, but which did not run, came from the cache."""
    begun = {event["stage"]: event for event in events if event["event"] == "start"}
    ends = {event["stage"]: event for event in events if event["event"] in ("end", "failed")}
    outcomes = []
    for name in stages.NAMES:
        seconds, status = None, "cached" if name in folders else "skipped"
        if name in ends:
            seconds, status = ends[name]["seconds"], "done" if ends[name]["event"] == "end" else "failed"
        elif name in begun:  # killed before it could say so
            seconds, status = round(events[-1]["time"] - begun[name]["time"], 3), "failed"
        outcomes.append(StageOutcome.model_validate({"name": name, "seconds": seconds, "status": status}))
    return outcomes


def _end_with_parent() -> None:
    """End this process group when the command that started it is gone, even by kill -9: nobody would sum up."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgid(0), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> int:
    """Be the runner's process: execute the compiled pipeline as it is, with the arguments in `folder`."""
    _end_with_parent()
    from kfp import components, local

    arguments = json.loads((folder / ARGUMENTS).read_text(encoding="utf-8"))
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / KFP),
        enable_caching=arguments["cache"],
        cache_root=str(Path(arguments["runs"]) / ".cache"),
    )
    try:
        components.load_component_from_file(str(pipeline_file()))(**arguments["parameters"])
    except RuntimeError as error:  # the runner's only word for a failed task; the reason is in the error document
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
