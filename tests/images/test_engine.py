"""Which engine is chosen, and what is said when one cannot do its work: with stand-ins for the engines' programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from images import engine as engines
from images.lock import ROOT
from sightline.errors import ConfigError

OLD = "Docker version 20.10.24, build 1"  # whose client has BuildKit built in
NEW = "Docker version 28.2.2, build 1"  # whose client has it as a plugin
UP = '[ "$1" = version ] && echo 28.0 && exit 0'
# A `docker` whose build fails for one image, or never; it writes down what it is asked.
BUILDER = """
echo "$@" >> {calls}
[ "$1" = version ] && echo 20.10 && exit 0
if [ "$1" = image ]; then
    [ "$3" = base ] || exit 1
    echo '[{{"Id": "sha256:ba5e", "Size": 1, "Config": {{}}, "RepoDigests": []}}]'
    exit 0
fi
[ "$1" = build ] || exit 1
case "$*" in *images/{fails}/*) echo "{says}"; exit 1;; esac
while [ "$1" != --iidfile ]; do shift; done
echo sha256:1 > "$2"
"""


def program(folder: Path, name: str, version: str, body: str = "exit 1") -> Path:
    """Write a program that says this version, and otherwise does what `body` says."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit 0\n{body}\n')
    path.chmod(0o755)
    return path


def on_path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PATH", ":".join(map(str, folders)) + ":/usr/bin:/bin")


def nothing_else(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Put only these folders on PATH: this machine may have engines of its own."""
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))


def test_a_docker_without_buildkit_is_passed_over_for_one_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "new", "docker", NEW, UP)
    old = program(tmp_path / "old", "docker", OLD, UP)
    on_path(monkeypatch, tmp_path / "new", tmp_path / "old")
    assert engines.choose() == engines.Engine(str(old), "docker")


def test_podmans_docker_is_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "docker", "podman version 4.3.1", UP)
    on_path(monkeypatch, tmp_path)
    assert engines.choose().kind == "podman"


def test_only_a_docker_without_buildkit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "docker", NEW, 'echo "not a command" >&2; exit 1')
    nothing_else(monkeypatch, tmp_path)
    with pytest.raises(engines.EngineError, match="docker cannot build: this Docker client comes without BuildKit"):
        engines.choose()


def test_no_engine_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_else(monkeypatch, tmp_path)
    with pytest.raises(engines.EngineError, match="expected one of docker, podman, buildah on PATH"):
        engines.choose()


def test_an_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="CONTAINER: got 'dokcer', which is not on PATH"):
        engines.choose("dokcer")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Got permission denied while trying to connect to the Docker daemon socket", "may not use its socket: .*Join"),
        (
            "Cannot connect to the Docker daemon at unix:///run/x. Is it running?",
            "the engine is not running: .*Start it",
        ),
    ],
    ids=["permission", "not running"],
)
def test_a_daemon_that_cannot_be_used_is_explained(tmp_path: Path, said: str, expected: str) -> None:
    path = program(tmp_path, "docker", OLD, f'echo "{said}" >&2; exit 1')
    with pytest.raises(engines.EngineError, match=expected):
        engines.choose(str(path))


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("write /var/lib/docker/x: no space left on device", "error: sightline-infer: the disk of the engine is full."),
        ("#7 0.2 sightline: BASE_IMAGE has Python 3.9, expected", "error: BASE_IMAGE has Python 3.9, expected\n"),
        ("ERROR: something else", "error: sightline-infer was not built, and no image was named. The end of "),
    ],
    ids=["disk full", "python", "anything"],
)
def test_if_one_image_fails_none_gets_a_name(tmp_path: Path, says: str, expected: str) -> None:
    calls = tmp_path / "calls"
    docker = program(tmp_path, "docker", OLD, BUILDER.format(calls=calls, fails="infer", says=says))
    before = (ROOT / "images" / "built.json").read_bytes() if (ROOT / "images" / "built.json").exists() else None
    command = [sys.executable, "-m", "images.build", "--container", str(docker), "--base-image", "base"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith(expected)
    asked = [line.split()[0] for line in calls.read_text().splitlines()]
    assert asked.count("build") == 3
    assert "tag" not in asked
    after = (ROOT / "images" / "built.json").read_bytes() if (ROOT / "images" / "built.json").exists() else None
    assert after == before


def test_a_registrys_refusals_are_told_apart() -> None:
    reference = "registry.example/team/sightline-data:1"
    for said, expected in {
        "denied: requested access to the resource is denied": r"refuses .*Log in \(`docker login registry.example`\)",
        "unauthorized: authentication required": "refuses",
        "dial tcp 1.2.3.4:443: connect: connection refused": "No registry answers at registry.example",
        "received unexpected HTTP status: 507 Insufficient Storage": "does not take .*507",
    }.items():
        with pytest.raises(engines.EngineError, match=expected):
            engines.refused(reference, said)
