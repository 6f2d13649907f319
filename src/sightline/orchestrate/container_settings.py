"""What the container of a task gets: folders, environment, user, shared memory, GPUs. And nothing else of the machine.

All of a run that can be known before it starts is in `Settings`, which the command writes beside the arguments of the
run. The environment is not: it holds credentials, and goes from the command's process to the engine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from sightline.config import RunConfig, TrainConfig
from sightline.config.parameters import PipelineParameters
from sightline.datasets.types import shown
from sightline.errors import ConfigError
from sightline.orchestrate import engine, inputs
from sightline.orchestrate.engine import LABEL, TASK, Traits, device_requests
from sightline.runtime.lifetime import COMMAND_VARIABLE
from sightline.runtime.shared_memory import training_shm_bytes
from sightline.storage import cache_root
from sightline.storage.files import file_uri, local_path
from sightline.storage.work_root import VARIABLE as WORK
from sightline.storage.work_root import work_root
from sightline.tracking import address

CACHE, STORE = "SIGHTLINE_CACHE", "SIGHTLINE_STORE"
PASSED = ("SIGHTLINE_", "MLFLOW_", "AWS_", "OMP_", "NCCL_")  # how variables begin that stages and their libraries read
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")  # in either case
FILES = (  # variables that name a file or folder, which is mounted
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
)
ALSO = ("TMPDIR", "PYTHONUNBUFFERED", "PYTHONUTF8", "USER", "LOGNAME", "TZ", *FILES)
# Variables that mean nothing there, or that an image sets itself: process ids and what Sightline's images are.
KEPT_BACK = (COMMAND_VARIABLE, "SIGHTLINE_IMAGES", "SIGHTLINE_IMAGE", "SIGHTLINE_GIT_COMMIT", "SIGHTLINE_UTF8")
WORKING = ("validate", "train")  # tasks that see the work folders: one checks them, one works there


class Settings(BaseModel):
    """What the containers of one run get, as far as it is no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: dict[str, str]  # name -> reference; an image that is missing keeps the release's
    mounts: dict[str, bool]  # path, the same inside -> whether it can be written
    work: str  # where trainings work
    shm_bytes: int  # size of /dev/shm in every container
    gpus: str  # GPUs for each task that asks for them


class Executor(NamedTuple):
    """What the compiled pipeline says about a task's container."""

    image: str
    gpus: bool  # whether it asks for any


def executors(pipeline: str) -> dict[str, Executor]:
    """Return the executors of a compiled pipeline by the function that they run."""
    spec = next(yaml.safe_load_all(pipeline))["deploymentSpec"]["executors"]
    containers = [executor["container"] for executor in spec.values()]
    return {
        function(container["args"]): Executor(container["image"], "accelerator" in container.get("resources", {}))
        for container in containers
    }


def function(command: list[str]) -> str:
    """Return the function of a component that a command runs."""
    return command[command.index("--function_to_execute") + 1]


def settings(
    parameters: PipelineParameters,
    config: RunConfig | None,
    images: Mapping[str, str],
    *,
    runs: Path,
    folder: Path,
    store: str,
) -> Settings:
    """Return what the containers of a run get. Raises ConfigError for a place that cannot be mounted.

    `config` is the resolved configuration, None for a wrong one; `images` are the references by name, `folder` is the
    run's in the folder `runs`, `store` the address of the store.
    """
    named, led = inputs.places(parameters.data, config)
    given = [local_path(os.environ[name]) for name in FILES if os.environ.get(name)]
    mounts = {str(path): False for path in [*led, *named, runs, *(path for path in given if path.exists())]}
    writable = [folder, cache_root()]
    if not store.startswith("s3://"):
        writable.append(local_path(store))
    tracking = address.tracking_uri(runs)
    if tracking and (database := address.database(tracking)):
        writable.append(database.parent / "mlartifacts")
    mounts |= {str(path): True for path in writable}
    work = work_root(runs)
    _check_mountable([*map(Path, mounts), work])
    shared = training_shm_bytes(config.train if config else TrainConfig())
    return Settings(images=dict(images), mounts=mounts, work=str(work), shm_bytes=shared, gpus=parameters.train_gpus)


def _check_mountable(paths: Iterable[Path]) -> None:
    for path in paths:
        if path in inputs.SYSTEM:
            raise ConfigError(
                f"{path} cannot be mounted into containers, because they have such a folder of their own. Put what the "
                f"run needs into a folder below it, {engine.INSTEAD}."
            )
        if shown(str(path)) != str(path):
            raise ConfigError(
                f"{shown(str(path))} cannot be mounted into containers, because its name is not UTF-8. Rename it, "
                f"{engine.INSTEAD}."
            )


def environment(mine: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return the environment of a task in a container out of the runner's; paths mean the same in both."""
    wanted = (*ALSO, *PROXIES, *(name.lower() for name in PROXIES))
    kept = {
        name: value
        for name, value in mine.items()
        if (name in wanted or name.startswith(PASSED)) and name not in KEPT_BACK
    }
    store = mine.get(STORE, "")
    if store and not store.startswith("s3://"):
        kept[STORE] = file_uri(local_path(store))
    if mine.get(WORK):
        kept[WORK] = settings.work
    with contextlib.suppress(KeyError):  # who recorded a run; an image knows no users
        kept.setdefault("LOGNAME", pwd.getpwuid(os.getuid()).pw_name)
    return kept | {CACHE: str(cache_root())}


def configuration(
    task: str,
    settings: Settings,
    traits: Traits,
    *,
    folder: Path,
    gpus: bool,
    variables: Mapping[str, str],
    user: tuple[int, int, list[int]],
) -> dict[str, Any]:
    """Return what the engine is asked for, as keywords of the SDK's `containers.create`.

    `user` are the caller's user id, group id and further groups. The outputs must belong to the caller: a rootless
    engine maps its root to the caller, every other takes the ids as they are.
    """
    from docker.types import Mount

    mounts = dict(settings.mounts)
    if task in WORKING:
        mounts[settings.work] = True
    uid, gid, groups = (0, 0, []) if traits.rootless else user
    options = ["no-new-privileges:true", *(["label=disable"] if traits.selinux else [])]
    return {
        "mounts": [Mount(path, path, type="bind", read_only=not writable) for path, writable in sorted(mounts.items())],
        "environment": dict(variables),
        "working_dir": str(Path.cwd()),  # relative paths in settings count from there
        "user": f"{uid}:{gid}",
        "group_add": groups,
        "userns_mode": "host" if traits.remapped else None,
        "network_mode": "host",  # servers on this machine's loopback
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "shm_size": settings.shm_bytes,
        "cap_drop": ["ALL"],
        "security_opt": options,
        "init": True,  # passes signals on and collects what torchrun leaves behind
        "device_requests": device_requests(settings.gpus) if gpus else [],
        "labels": {LABEL: str(folder), TASK: task},
    }
