"""Which of several nodes this machine is: from options, or from what a launcher puts into the environment."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sightline.config import TrainConfig
from sightline.errors import ConfigError, shown
from sightline.runtime.provenance import code_digest, packages

PORT = 29500  # torchrun's own default, which launchers also write
INTERFACE = "GLOO_SOCKET_IFNAME"
SIOCGIFADDR = 0x8915  # ask for the IPv4 address of a network interface, see netdevice(7)
# What torchrun reads, and Kubeflow Trainer (runtime `torch-distributed`) sets in each pod of a TrainJob.
COUNT, RANK, ADDRESS, MASTER_PORT = "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"
PROCESSES = "PET_NPROC_PER_NODE"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine among several that train together."""

    rank: int  # 0 decides
    count: int
    address: str  # of node 0, as the others see it
    port: int = PORT  # on which node 0's supervisor listens

    @property
    def meeting(self) -> str:
        """Return the address of node 0 for torchrun on this node: at home it needs no name that resolves."""
        return self.address if self.rank else "127.0.0.1"


def place(
    config: TrainConfig,
    *,
    rank: int | None = None,
    address: str | None = None,
    port: int | None = None,
    command: str = "sightline train --run RUN",
    environ: Mapping[str, str] = os.environ,
) -> Node | None:
    """Return which node this machine is; None if it trains alone.

    Options (`rank`, `address`, `port`) win over variables. `command` is what the user wrote without these options.
    Raises ConfigError if they contradict the configuration, if something is missing, and in a rank of a torchrun.
    """
    if _is_rank(environ, given=rank is not None):
        raise ConfigError(
            f"This process is a rank of a torchrun already ({_rank_variables(environ)}). Start `{command}` once on "
            "each machine instead, without torchrun: it starts torchrun itself, with one process for each GPU."
        )
    if config.nodes == 1 and (rank is not None or address is not None or port is not None):
        raise ConfigError(
            "--node-rank, --master-addr and --master-port are for several nodes, but train.nodes is 1. Add "
            "--set train.nodes=N on every node, or leave these options out."
        )
    if problems := _contradictions(config, environ):
        raise ConfigError("The launcher's variables contradict the configuration:", problems)
    if config.nodes == 1:
        return None
    return _one_of_several(config.nodes, rank, address, port, command, environ)


def _one_of_several(
    count: int, rank: int | None, address: str | None, port: int | None, command: str, environ: Mapping[str, str]
) -> Node:
    rank = _number(environ, RANK) if rank is None else rank
    address = address or environ.get(ADDRESS) or None
    if rank is None or address is None:
        host = address or "HOST"
        missing = [name for name, value in (("--node-rank", rank), ("--master-addr", address)) if value is None]
        raise ConfigError(
            f"train.nodes is {count}, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set (nor "
            f"are {RANK} and {ADDRESS}). Run one command on each machine, where {host} is the address of the first:",
            [f"{command} --node-rank {number} --master-addr {host}" for number in _sample(count)],
        )
    if not 0 <= rank < count:
        raise ConfigError(f"--node-rank: got {rank}, expected 0 to {count - 1}: train.nodes is {count}.")
    if ":" in address:
        raise ConfigError(
            f"--master-addr: got {shown(address)}, expected a host name or an IPv4 address; the port is --master-port."
        )
    port = port or _number(environ, MASTER_PORT) or PORT
    if not 0 < port < 65536:
        raise ConfigError(f"--master-port: got {port}, expected 1 to 65535.")
    return Node(rank=rank, count=count, address=address, port=port)


def _sample(count: int) -> list[str]:
    """Return the ranks to show; of many nodes the first two and the last."""
    return [str(number) for number in range(count) if number < 2 or count <= 4 or number == count - 1]


def _is_rank(environ: Mapping[str, str], *, given: bool) -> bool:
    """Tell whether a torchrun, or something like it, started this process as one of several ranks.

    Kubeflow's older PyTorchJob sets RANK and WORLD_SIZE too, for its pods, but then the PET_ variables as well.
    """
    if "TORCHELASTIC_RUN_ID" in environ or "LOCAL_RANK" in environ:
        return True
    return "RANK" in environ and "WORLD_SIZE" in environ and RANK not in environ and not given


def _rank_variables(environ: Mapping[str, str]) -> str:
    names = ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE")
    return ", ".join(f"{name}={environ[name]:.40}" for name in names if name in environ)


def _contradictions(config: TrainConfig, environ: Mapping[str, str]) -> list[str]:
    """Say where the variables of a launcher and the configuration differ.

    Kubeflow Trainer sets `PET_NPROC_PER_NODE` also unasked: to `auto`, or to the cores of a pod without GPUs. There
    train.cpu_processes decides.
    """
    problems = []
    nodes = environ.get(COUNT, "").strip()
    if nodes and not re.fullmatch(rf"({config.nodes}:)?{config.nodes}", nodes):
        cure = f"set train.nodes={nodes}" if nodes.isdecimal() else "a fixed number is needed, the same as train.nodes"
        problems.append(f"{COUNT} is {shown(nodes)} and train.nodes {config.nodes}: {cure}")
    processes = environ.get(PROCESSES, "").strip()
    wrong = processes.isdecimal() and int(processes) != config.gpus if config.gpus else processes == "gpu"
    if wrong or (config.gpus and processes == "cpu"):
        problems.append(
            f"{PROCESSES} is {shown(processes)} and train.gpus {config.gpus}: set one of them to what each node has"
        )
    return problems


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from the environment; None if it is not set. Raises ConfigError for another text."""
    text = environ.get(name, "").strip()
    if text and not re.fullmatch(r"\d{1,9}", text):
        raise ConfigError(f"{name}: got {shown(text)}, expected a whole number.")
    return int(text) if text else None


def identity(*, snapshot: str, weights: str, config: TrainConfig, code: str) -> dict[str, str]:
    """Return what has to be the same on all nodes, by name; the arguments are those of the training's key.

    Of a snapshot only the digest counts: nodes may reach the store by different URIs. `code` is that of the machine
    that validated; what runs on this one is added.
    """
    settings = config.model_dump(mode="json")
    augment: dict[str, Any] = settings.pop("augment")
    values = {f"train.{key}": value for key, value in settings.items()}
    values |= {f"train.augment.{key}": value for key, value in augment.items()}
    same = {"snapshot": PurePosixPath(snapshot).name, "weights": weights, "code": code}
    same |= {"code of this machine": code_digest("train")}
    same |= {f"version of {name}": version for name, version in packages().items()}
    return {**same, **{key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}}


def socket_variables(local: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment in which gloo uses the network that the nodes share; `local` is our address there.

    By itself gloo takes the address of the machine's name, which on Debian is 127.0.1.1: no other node reaches that.
    """
    name = _interface(local) if local else None
    return {INTERFACE: name} if name and INTERFACE not in environ else {}


def _interface(address: str) -> str | None:
    """Return the network interface that has an IPv4 address; None if there is none, or it is an IPv6 address."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return None
    wanted = getattr(wanted, "ipv4_mapped", None) or wanted
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no IPv4 address
                continue
            if ipaddress.ip_address(answer[20:24]) == wanted:
                return name
    return None
