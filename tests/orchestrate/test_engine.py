"""Whoever asks for containers where there is no engine hears why, and what to do, before anything is made."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
IMAGES = ",".join(f"registry/sightline-{name}:1" for name in ("data", "train", "infer"))


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Path]:
    """The socket of a daemon that has ended."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        yield path


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("{}/docker.sock", ["connection refused", "Start it", "or run without containers (--runner subprocess)"]),
        ("{}/none.sock", ["there is no such socket", "Install and start Docker", "DOCKER_HOST"]),
        ("nonsense://x", ["DOCKER_HOST: got", "expected unix:///"]),
    ],
)
def test_without_an_engine_nothing_begins(
    command: Command, tmp_path: Path, dead: Path, where: str, words: list[str]
) -> None:
    address = where.format("unix://" + str(tmp_path))
    done = command(
        *("run", "--runner", "docker", "--run-id", "a"), cwd=tmp_path, DOCKER_HOST=address, SIGHTLINE_IMAGES=IMAGES
    )
    assert done.returncode == 2, done.stderr
    shown = " ".join(done.stderr.split())
    for word in (address, *words):
        assert word in shown
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_socket_of_others_is_no_riddle(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    script = (
        "import os; os.setgroups([]); os.setgid(65534); from sightline.orchestrate import engine; import docker\n"
        "from sightline.errors import ConfigError\nos.setuid(65534)\n"
        "try:\n    engine.check([])\nexcept ConfigError as error: print(error)"
    )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "docker.sock"))
        address = f"unix://{folder}/docker.sock"
        environment = {**os.environ, "DOCKER_HOST": address}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert f"You have no permission to use the container engine at {address}." in done.stdout, done.stderr
    assert "usermod -aG docker" in done.stdout


def test_another_runner_is_refused(command: Command, tmp_path: Path) -> None:
    done = command("run", "--runner", "podman", cwd=tmp_path)
    assert done.returncode == 2
    assert "got 'podman', expected subprocess or docker" in " ".join(done.stderr.replace("│", " ").split())
