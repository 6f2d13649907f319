"""Which engine is chosen, and what is said when one cannot do its work: with stand-ins for the engines' programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from images import engine as engines
from images import messages
from images.lock import ROOT
from sightline.errors import ConfigError, SightlineError
from tests.helpers.engine_programs import OLD, program

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
        "denied: requested access to the resource is denied": r"refuses .*Log in \(`podman login registry.example`\)",
        "unauthorized: authentication required": "refuses",
        "dial tcp 1.2.3.4:443: connect: connection refused": "No registry answers at registry.example",
        "dial tcp: lookup registry.example: no such host": "No registry answers at registry.example",
        "received unexpected HTTP status: 507 Insufficient Storage": "does not take .*507",
        "An image does not exist locally with the tag: registry.example/x": "no longer on this machine. Run",
    }.items():
        with pytest.raises(engines.EngineError, match=expected):
            messages.refused(reference, said, "podman")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('first\ntime="2026-01-02T03:04:05Z" level=fatal msg="mkdir /x: \\"denied\\"."\n', 'mkdir /x: "denied"'),
        ("Cannot connect to x. Is the docker daemon running?", "Cannot connect to x"),
        ("", "it gave no reason"),
    ],
)
def test_a_reason_is_one_sentence(said: str, expected: str) -> None:
    assert messages.last_line(said) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ('runc run failed: exec: "/bin/sh": stat /bin/sh: no such file or directory', "BASE_IMAGE has no shell"),
        (
            "#7 9.1 WARNING: 401 Error, Credentials not correct for https://p.example",
            "cannot get the packages: WARNING: 401",
        ),
        (
            "#7 9.1 error: Failed to fetch: `https://p`\n#7 9.1   Caused by: client error (403 Forbidden)",
            "403",
        ),
        (
            "#7 1.0 Temporary failure in name resolution\n#7 2.0 ERROR: No matching distribution",
            "failure in name resolution",
        ),
        (
            "#7 9.1   Hash mismatch for `arrow==1.4.0`",
            "serves another file than the list names: Hash mismatch for `arrow",
        ),
        ("#7 ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "serves another file"),
        ("write /x: disk quota exceeded", "the disk of the engine is full"),
        ("ERROR: docker.io/x: failed to resolve source metadata for y: no such host", "BASE_IMAGE: failed to resolve"),
    ],
)
def test_the_end_of_a_build_is_one_message(tmp_path: Path, log: str, expected: str) -> None:
    (tmp_path / "log").write_text(log + "\n#7 ERROR: executor failed\n")
    with pytest.raises(SightlineError, match=re.escape(expected)) as caught:
        messages.build_failed("data", tmp_path / "log")
    assert "\n" not in str(caught.value)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "images.build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("registry", ["https://x.example/y", "Ghcr.io/x", "a b", "x.example/", "/x", "x:port/y", ""])
def test_a_registry_that_no_engine_can_name_is_refused_before_the_build(registry: str) -> None:
    done = run("--registry", registry, "--container", "/nowhere")
    assert (done.returncode, done.stderr.startswith("error: ")) == (2, True)
    assert ("expected host[:port]/path in lower case" in done.stderr) == (registry != "x.example/")


def test_another_variant_is_refused_in_one_line() -> None:
    done = run("--variant", "gpu")
    assert done.stderr == "error: VARIANT: got 'gpu', expected cpu (the infer image without CUDA) or nothing.\n"
    assert done.returncode == 2


def test_a_program_that_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="got '/bin/ls', which is none of docker, podman, buildah"):
        engines.choose("/bin/ls")


def test_a_podman_that_cannot_start_is_not_a_question_of_sockets(tmp_path: Path) -> None:
    path = program(tmp_path, "podman", "podman version 4.3.1", 'echo "mkdir /none: permission denied" >&2; exit 1')
    with pytest.raises(engines.EngineError, match=r"does not start: mkdir /none: permission denied\. Set HOME"):
        engines.choose(str(path))


@pytest.mark.parametrize(
    ("reference", "digests", "expected"),
    [
        ("python:3.11", ["a.example/python@sha256:a", "python@sha256:b"], "sha256:b"),
        ("docker.io/library/python:3.11", ["a.example/python@sha256:a", "python@sha256:b"], "sha256:b"),
        ("python:3.11", ["a.example/python@sha256:a"], "sha256:ba5e"),
        ("a.example:5000/python:3.11", ["a.example:5000/python@sha256:a"], "sha256:a"),
    ],
)
def test_a_base_is_known_by_its_digest_in_its_own_repository(
    tmp_path: Path, reference: str, digests: list[str], expected: str
) -> None:
    found = json.dumps([{"Id": "sha256:ba5e", "Size": 1, "Config": {}, "RepoDigests": digests}])
    path = program(tmp_path, "docker", OLD, f"echo '{found}'")
    assert engines.Engine(str(path), "docker").base(reference) == expected


def test_a_pinned_base_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    path = program(tmp_path, "docker", OLD, 'echo "manifest unknown" >&2; exit 1')
    with pytest.raises(engines.EngineError, match="is not on this machine and cannot be pulled: manifest unknown"):
        engines.Engine(str(path), "docker").base("python@sha256:" + "0" * 64)
