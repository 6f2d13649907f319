"""One run on this machine: claims its folder, watches the runner's process, and writes the summary.

The runner and its tasks print a lot, so they have a process of their own whose output is `pipeline.log`; this side
draws the progress.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sightline import task_frame
from sightline.atomic import write_text
from sightline.config import RegisterConfig
from sightline.config.parameters import PipelineParameters
from sightline.documents import SummaryDocument
from sightline.errors import ConfigError
from sightline.orchestrate import claim, engine, images, outcome, processes
from sightline.orchestrate.images import pipeline_file
from sightline.runtime import lifetime, progress, progress_bars, stage_frame
from sightline.storage import check_cache
from sightline.storage.files import file_uri

if TYPE_CHECKING:
    from sightline.orchestrate.container_settings import Settings


def run(
    parameters: PipelineParameters,
    *,
    runs: Path,
    run_id: str,
    cache: bool = True,
    quiet: bool = False,
    docker: bool = False,
) -> SummaryDocument:
    """Run the pipeline with `parameters`, in `runs/run_id`; returns the consolidated result.

    Tasks are processes of this Python, or with `docker` containers of the project's images.

    A failed run of the same id is started again in its folder. A failed or rejected run returns its result as well;
    only problems before the start raise: ConfigError for an id that is taken, paths that cannot be used, a tracking
    server that does not answer, or a container engine that lacks something.
    """
    from sightline.tracking import address, reach

    runs = claim.usable(runs, "--runs")
    claim.check_id(run_id)
    folder = runs / run_id
    environment = _environment(runs, folder, run_id, cache)
    check_cache()
    if unreachable := reach.connection_problems(address.tracking_uri(runs)):
        raise ConfigError(
            "The run cannot start:", [*unreachable, *_mistakes(parameters, environment["SIGHTLINE_STORE"])]
        )
    containers = _containers(parameters, runs, folder, environment["SIGHTLINE_STORE"]) if docker else None
    with _Interruptions() as interruptions, claim.claimed(folder) as again:
        arguments = {
            "parameters": parameters.model_dump(),
            "cache": cache,
            "containers": containers and containers.model_dump(),
            "runs": str(runs),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        processes.end(folder, force=lambda: True)
        write_text(folder / claim.ARGUMENTS, json.dumps(arguments, indent=2))
        if again:
            claim.clear(folder)
        Path(environment["TMPDIR"]).mkdir()
        with progress_bars.display(quiet, folder / claim.EVENTS):
            code = _supervised(folder, environment, interruptions)
        shutil.rmtree(environment["TMPDIR"], ignore_errors=True)
        return outcome.conclude(folder, code, environment["SIGHTLINE_STORE"])


def _mistakes(parameters: PipelineParameters, store: str) -> list[str]:
    """Say what validate would refuse in the pipeline's parameters, without asking the tracking server."""
    from sightline.validate import preflight

    return preflight.mistakes(
        parameters.recipe, parameters.values(), source=parameters.data, store=store, tier=parameters.tier
    )


def _containers(parameters: PipelineParameters, runs: Path, folder: Path, store: str) -> Settings:
    """Return what the containers of the run get. Raises ConfigError where the engine cannot run them, or tracking."""
    from sightline.orchestrate import tracking_server  # these load numpy, which `sightline --help` does not need
    from sightline.orchestrate.container_settings import executors, settings

    references = images.references()
    pipeline = images.with_references(pipeline_file().read_text(encoding="utf-8"), references)
    found = executors(pipeline).values()
    count = parameters.train_gpus
    engine.check(
        dict.fromkeys(one.image for one in found),
        dict.fromkeys(one.image for one in found if one.gpus and engine.device_requests(count)),
        count,
    )
    config = None
    with contextlib.suppress(ConfigError):  # validate names all mistakes of a configuration at once
        config = parameters.config()
    if wrong := tracking_server.problems(runs, config.register_ if config else RegisterConfig()):
        raise ConfigError("The run cannot start:", wrong)
    return settings(parameters, config, references, runs=runs, folder=folder, store=store)


def _environment(runs: Path, folder: Path, run_id: str, cache: bool) -> dict[str, str]:
    """Return the runner's environment: where everything goes. A store or tracking server that the user set is kept."""
    return {
        "SIGHTLINE_STORE": file_uri(runs / "store"),
        **os.environ,
        "SIGHTLINE_RUNS": str(runs),
        task_frame.RUN_ID: run_id,
        task_frame.RUN_KEY: claim.store_key(folder),
        stage_frame.ERROR_VARIABLE: str(processes.error_file(folder)),
        lifetime.COMMAND_VARIABLE: str(os.getpid()),
        progress.VARIABLE: str(folder / claim.EVENTS),
        **({} if cache else {task_frame.NO_CACHE: "1"}),
        "TMPDIR": str(folder / claim.TEMPORARY),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",  # stages write files, whatever encoding the terminal has
    }


class _Interruptions:
    """Ctrl-C, SIGTERM and a closed terminal end the runner, not this process, which still has to write the summary.

    The first signal asks the run to end; from the second on, whatever is left of it is killed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._runner: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Interruptions:
        self._before = {number: signal.signal(number, self._received) for number in stage_frame.ENDS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, runner: subprocess.Popen[bytes]) -> None:
        """Pass signals on to the runner, also those that came before it was started."""
        self._runner = runner
        if self.count:
            self._pass_on()

    def _received(self, *_: object) -> None:
        self.count += 1
        self._pass_on()

    def _pass_on(self) -> None:
        if self._runner and self._runner.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._runner.pid, signal.SIGTERM if self.count == 1 else signal.SIGKILL)


def _supervised(folder: Path, environment: Mapping[str, str], interruptions: _Interruptions) -> int:
    """Run the runner until it and everything it started have ended; returns its exit code."""
    with (folder / claim.LOG).open("wb") as log:
        runner = subprocess.Popen(
            [sys.executable, "-m", "sightline.orchestrate.runner", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
        interruptions.watch(runner)
        code = runner.wait()
    processes.end(folder, force=lambda: interruptions.count > 1)
    return outcome.INTERRUPTED if code and interruptions.count else code
