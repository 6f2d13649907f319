"""Runs the tasks of a pipeline in containers: takes the place of kfp's handler of tasks in Docker.

kfp's own gives every task the same arguments, pulls what is missing, and takes a container that vanished for one that
succeeded.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.documents import read_error
from sightline.errors import ConfigError, SightlineError
from sightline.orchestrate import claim, container_settings, engine, processes
from sightline.orchestrate.container_settings import Settings
from sightline.orchestrate.outcome import INTERRUPTED
from sightline.orchestrate.tracking_server import TrackingServer
from sightline.runtime import stage_frame
from sightline.runtime.machine import size_text
from sightline.tracking.address import SERVER

if TYPE_CHECKING:
    from docker.models.containers import Container

RECORDING = ("report", "register")  # tasks that talk to the tracking server
STAGE_OF = {"gate": "validate", "refuse": "validate", "verdict": "evaluate"}  # of tasks that are no stages
ENDED = 128 + signal.SIGTERM  # exit code of a runner that was told to end
KILLED, BUS_ERROR = 128 + signal.SIGKILL, 128 + signal.SIGBUS
STOPPED = (INTERRUPTED, 128 + signal.SIGTERM)


def use(folder: Path, settings: Settings, pipeline: str, tracking: TrackingServer | None) -> None:
    """Have kfp's local runner for Docker start tasks as containers of the run in `folder`.

    `pipeline` is the text of the compiled pipeline, `tracking` the server for the embedded tracking database, where
    that is used. From now on SIGTERM ends the container that is running, with time to end by itself, and then this
    process.
    """
    from kfp.local import docker_task_handler

    run = _Run(folder, settings, pipeline, tracking)
    signal.signal(signal.SIGTERM, run.told_to_end)

    class TaskHandler:
        """One task, on the interface that kfp's dispatcher expects of a handler."""

        def __init__(
            self,
            image: str,
            full_command: list[str],
            pipeline_root: str,
            runner: object,
            env_vars: Mapping[str, str] | None = None,
        ) -> None:
            self._task = image, full_command, env_vars or {}

        def run(self) -> Any:
            from kfp.local.status import Status

            return Status.SUCCESS if run.succeeds(*self._task) else Status.FAILURE

    docker_task_handler.DockerTaskHandler = TaskHandler


class _Run:
    """The containers of one run, one at a time."""

    def __init__(self, folder: Path, settings: Settings, pipeline: str, tracking: TrackingServer | None) -> None:
        self._folder, self._settings, self._tracking = folder, settings, tracking
        self._executors = container_settings.executors(pipeline)
        self._told = False
        for path in [settings.work, *(path for path, writable in settings.mounts.items() if writable)]:
            with contextlib.suppress(OSError):  # the stage that needs it says so
                Path(path).mkdir(parents=True, exist_ok=True)

    def told_to_end(self, *_: object) -> None:
        """Stop what runs, in another thread: this one goes on copying output and waiting for the end."""
        if not self._told:
            self._told = True
            threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        with contextlib.suppress(ConfigError), engine.connected() as client:
            for container in engine.of_run(client, self._folder):
                with contextlib.suppress(SightlineError), _engine_errors(""):
                    container.stop(timeout=int(processes.GRACE_SECONDS))

    def succeeds(self, image: str, command: list[str], variables: Mapping[str, str]) -> bool:
        """Run one task; an error document says why it failed, where the stage left none."""
        task, start = container_settings.function(command), time.monotonic()
        try:
            if self._told:
                return False
            if self._tracking and task in RECORDING:
                self._tracking.wait()
            with _engine_errors(f"The container of {task} did not run to its end"):
                self._run(task, image, command, variables)
        except SightlineError as error:
            print(error)
            said = read_error(processes.error_file(self._folder))
            if said is None or (said.exit_code == INTERRUPTED and not self._told):  # stopped, and not by this run
                stage_frame.failed(STAGE_OF.get(task, task), error, round(time.monotonic() - start, 3))
            return False
        finally:
            if self._told:
                sys.exit(ENDED)
        return True

    def _run(self, task: str, image: str, command: list[str], variables: Mapping[str, str]) -> None:
        """Run the container of a task to its end. Raises SightlineError if that is none of success."""
        mine = container_settings.environment(os.environ, self._settings)
        if self._tracking:
            mine[SERVER] = self._tracking.url
        with engine.connected() as client:
            asked = container_settings.configuration(
                task,
                self._settings,
                engine.traits(client),
                folder=self._folder,
                gpus=self._executors[task].gpus,
                variables={**mine, **variables},
                user=(os.getuid(), os.getgid(), os.getgroups()),
            )
            with _removed(client.containers.create(image, command, **asked)) as container:
                container.start()
                if self._told:  # before there was a container to stop
                    self._stop()
                self._follow(task, container)

    def _follow(self, task: str, container: Container) -> None:
        """Copy what a container says until it ends. Raises SightlineError if it failed or vanished."""
        from docker.errors import NotFound

        try:
            decode = codecs.getincrementaldecoder("utf-8")("replace").decode
            for chunk in container.logs(stream=True, follow=True):
                print(decode(chunk), end="", flush=True)
            code = int(container.wait()["StatusCode"])
            container.reload()
        except NotFound:
            raise SightlineError(f"The container of {task} was removed from outside before it had ended.") from None
        if code:
            why = meaning(task, code, bool(container.attrs["State"]["OOMKilled"]), self._settings)
            raise SightlineError(f"{why} Its output is in {self._folder / claim.LOG}.")


def meaning(task: str, code: int, out_of_memory: bool, settings: Settings) -> str:
    """Say what the exit code of a container means; `out_of_memory` is what the engine says of it."""
    what = f"The container of {task} ended with exit code {code}"
    if out_of_memory:
        return f"{what}: memory ran out, and the kernel killed a process in it. Give it more, or lower train.batch."
    if code in STOPPED:
        return f"{what}: it was stopped from outside (`docker stop`, or the end of the engine)."
    if code == KILLED:
        return (
            f"{what}: it was killed from outside (`docker kill`, `docker rm -f`, the engine's end), or by the kernel "
            "because the machine ran out of memory."
        )
    if code == BUS_ERROR:
        return (
            f"{what} (bus error): /dev/shm, in which loaders hand over images, has {size_text(settings.shm_bytes)} and "
            "was full. Lower train.workers, train.batch or train.image_size."
        )
    return f"{what}."


@contextlib.contextmanager
def _removed(container: Container) -> Iterator[Container]:
    """Remove a container when the block ends, whatever happens."""
    try:
        yield container
    finally:
        with contextlib.suppress(SightlineError), _engine_errors(""):
            container.remove(force=True)


@contextlib.contextmanager
def _engine_errors(what: str) -> Iterator[None]:
    """Raise what goes wrong between this process and the engine as one error, with what the engine said."""
    from docker.errors import APIError, DockerException
    from requests import RequestException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        raise SightlineError(f"{what}: {error.explanation or error}.") from None
    except (DockerException, RequestException, HTTPError) as error:
        said = str(error.args[0] if error.args else error).split("(")[0].strip() or type(error).__name__
        raise SightlineError(
            f"{what}: the connection to the container engine at {engine.address()} broke ({said}). See whether the "
            "engine runs, and start the run again under the same --run-id."
        ) from None
