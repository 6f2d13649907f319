"""The container engine (Docker, or Podman's socket for it): is it there, has it the images, and what belongs to a run.

Nothing is pulled: what runs was built or fetched before, on purpose.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sightline.errors import ConfigError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

LABEL = "sightline.run"  # of a container: the folder of its run
TASK = "sightline.task"  # of a container: the pipeline's task that it runs
DEFAULT = "unix:///var/run/docker.sock"
INSTEAD = "or run without containers (--runner subprocess)"
TOOLKIT = "Install the NVIDIA Container Toolkit and let it configure the engine"


class Traits(NamedTuple):
    """What is particular about an engine, as far as containers must be set up accordingly."""

    rootless: bool = False
    remapped: bool = False  # user ids in containers are others than outside
    selinux: bool = False


@contextlib.contextmanager
def connected() -> Iterator[DockerClient]:
    """Connect to the engine that `DOCKER_HOST` names. Raises ConfigError with the reason why that is impossible."""
    import docker

    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise ConfigError(_unreachable(error)) from None
    with contextlib.closing(client):
        yield client


def check(references: Iterable[str], gpus: Iterable[str] = (), count: str = "0") -> None:
    """See that an engine runs, has these images, and gives GPUs to containers of the images `gpus`.

    `count` is how many. Raises ConfigError.
    """
    import docker

    with connected() as client:
        missing = [reference for reference in sorted(references) if not _there(client, reference)]
        if missing:
            raise ConfigError(
                f"The container engine at {address()} has no image {', '.join(missing)}, and nothing is pulled during "
                f"a run. Build the images with `make images`, fetch them with `docker pull`, {INSTEAD}."
            )
        for reference in gpus:
            container = client.containers.create(
                reference, ["true"], device_requests=device_requests(count), network_mode="none"
            )
            try:
                container.start()
            except docker.errors.APIError as error:
                raise ConfigError(
                    f"The container engine at {address()} gives no GPUs to containers: {error.explanation}. {TOOLKIT}, "
                    f"train on the CPU (--gpus 0), {INSTEAD}."
                ) from None
            finally:
                container.remove(force=True)


def device_requests(count: str) -> list[Any]:
    """Ask for so many GPUs; of those in `CUDA_VISIBLE_DEVICES`, where the user chose some."""
    from docker.types import DeviceRequest

    number = int(count) if count.isdecimal() else 0
    if not number:
        return []
    if chosen := os.environ.get("CUDA_VISIBLE_DEVICES"):
        names = [name.strip() for name in chosen.split(",")][:number]
        return [DeviceRequest(driver="nvidia", device_ids=names, capabilities=[["gpu"]])]
    return [DeviceRequest(driver="nvidia", count=number, capabilities=[["gpu"]])]


def traits(client: DockerClient) -> Traits:
    """Ask the engine what is particular about it."""
    options = [part for option in client.info().get("SecurityOptions") or () for part in option.split(",")]
    return Traits("name=rootless" in options, "name=userns" in options, "name=selinux" in options)


def of_run(client: DockerClient, folder: Path) -> list[Container]:
    """Return the containers of the run in `folder`, running or not."""
    label = f"{LABEL}={folder.resolve()}"
    return list(client.containers.list(all=True, ignore_removed=True, filters={"label": label}))


def remove(folder: Path) -> None:
    """End and remove the containers of a run at once. Raises ConfigError where there is no engine to ask."""
    import docker

    with connected() as client:
        for container in of_run(client, folder):
            with contextlib.suppress(docker.errors.APIError):  # gone meanwhile, or hanging in the kernel
                container.remove(force=True)


def address() -> str:
    """Return where the engine is expected."""
    return os.environ.get("DOCKER_HOST") or DEFAULT


def _there(client: DockerClient, reference: str) -> bool:
    import docker

    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def _unreachable(error: BaseException) -> str:
    """Say why there is no connection, and what to do."""
    cause = _system_error(error)
    if address().partition("://")[0] not in ("unix", "tcp", "http", "https", "npipe", "ssh"):
        return f"DOCKER_HOST: got '{address()}', expected unix:///…/docker.sock or tcp://host:port."
    what = f"No container engine answers at {address()}"
    if cause and cause.errno in (errno.EACCES, errno.EPERM):
        return (
            f"You have no permission to use the container engine at {address()}. Join the group that owns the socket "
            f"(`sudo usermod -aG docker $USER`, then log in again), use an engine of your own (rootless Docker or "
            f"Podman, with DOCKER_HOST), {INSTEAD}."
        )
    if cause and cause.errno in (errno.ENOENT, errno.ENOTDIR):
        return (
            f"{what}: there is no such socket. Install and start Docker, name the socket of another engine with "
            f"DOCKER_HOST (unix:///…/docker.sock), {INSTEAD}."
        )
    reason = (cause.strerror or str(cause)).lower() if cause else str(error)
    return f"{what}: {reason}. Start it (`sudo systemctl start docker`), name another with DOCKER_HOST, {INSTEAD}."


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the operating system's error behind one of the SDK, which wraps it several times."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno:
            return current
        inner = [part for part in current.args if isinstance(part, BaseException)]
        waiting += [current.__context__, current.__cause__, *inner]
    return None
