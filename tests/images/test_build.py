"""`make images` and `make push` on the machine's own engine: what they refuse, and that nothing is half-done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.images import BASE_IMAGE
from images import engine as engines
from images import tags
from images.lock import ROOT
from tests.helpers.built_images import BuiltImages
from tests.helpers.debian_registry import registry_serving

NOBODY = "127.0.0.1:1"  # where no registry answers


def build(engine: engines.Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "images.build", "--container", engine.program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def named(engine: engines.Engine, registry: str) -> str:
    return engine.call("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={registry}/*").stdout


BASES = {  # what a base lacks: how it is made, what is said of it
    "python": (
        f'FROM {BASE_IMAGE}\nRUN mv "$(command -v python3)" /hidden\n',
        "BASE_IMAGE has Python none, expected Python 3.11 as python3. Choose another base.",
    ),
    "ensurepip": (
        f"FROM {BASE_IMAGE}\nRUN rm -r \"$(python3 -c 'import ensurepip; print(ensurepip.__path__[0])')\"\n",
        "BASE_IMAGE has Python without venv and ensurepip, expected both. Install them in it (Debian: python3-venv), "
        "or choose another base.",
    ),
    "shell": (
        "FROM scratch\nCOPY Dockerfile /\n",
        "BASE_IMAGE has no shell (/bin/sh), expected one and Python 3.11. Choose another base.",
    ),
}


@pytest.fixture(params=BASES)
def lacking(engine: engines.Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A base that lacks something, and what is said of it."""
    if engine.image(BASE_IMAGE) is None:
        pytest.skip(f"needs {BASE_IMAGE} on this machine")
    name = f"localhost/sightline-test-base:{request.param}"
    dockerfile, said = BASES[request.param]
    (tmp_path / "Dockerfile").write_text(dockerfile)
    image = engine.build(tmp_path / "Dockerfile", tmp_path, arguments={}, labels={}, secrets={}, log=tmp_path / "log")
    engine.tag(image, name)
    yield name, said
    engine.call("rmi", name)


def test_a_base_that_lacks_something_is_refused(engine: engines.Engine, lacking: tuple[str, str]) -> None:
    name, said = lacking
    done = build(engine, "--base-image", name, "--registry", NOBODY)
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")
    assert named(engine, NOBODY) == ""


def test_a_base_that_is_nowhere_is_refused(engine: engines.Engine) -> None:
    done = build(engine, "--base-image", f"{NOBODY}/python:3.11", "--registry", NOBODY)
    assert done.returncode == 1
    assert f"BASE_IMAGE: {NOBODY}/python:3.11 is not on this machine and cannot be pulled: " in done.stderr
    assert "connection refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_engine_that_is_not_running_is_named(
    engine: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.kind != "docker":
        pytest.skip(f"{engine.kind} has no daemon")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    done = build(engine)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {engine.program}: the engine is not running: ")
    assert "Start it" in done.stderr


@pytest.fixture
def in_registry(built_images: BuiltImages, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The data image with a name in a registry of its own."""
    with registry_serving(tmp_path) as host:
        reference = f"{host}/sightline-data:test"
        built_images.engine.tag(built_images.built["data"].reference, reference)
        yield host, reference
        built_images.engine.call("rmi", reference)


def test_a_pushed_tag_has_the_digest_that_the_registry_says(
    engine: engines.Engine, in_registry: tuple[str, str]
) -> None:
    _, reference = in_registry
    assert tags.digest(reference, engine.kind) is None
    pushed = engine.push(reference)
    assert pushed.startswith("sha256:")
    assert tags.digest(reference, engine.kind) == pushed


def test_a_registry_that_wants_a_password_is_named(
    engine: engines.Engine, built_images: BuiltImages, tmp_path: Path
) -> None:
    user = "somebody:$2y$05$abcdefghijklmnopqrstuuC5nGvFhVvRaIdVYY1e6bZBuRWP6dXzK\n"
    with registry_serving(tmp_path, user) as host:
        reference = f"{host}/sightline-data:test"
        engine.tag(built_images.built["data"].reference, reference)
        try:
            with pytest.raises(engines.EngineError, match=f"The registry {host} refuses .* Log in"):
                engine.push(reference)
            with pytest.raises(engines.EngineError, match=f"The registry {host} refuses .* Log in"):
                tags.digest(reference, engine.kind)
        finally:
            engine.call("rmi", reference)


def test_a_registry_that_does_not_answer_is_named(engine: engines.Engine, built_images: BuiltImages) -> None:
    with pytest.raises(engines.EngineError, match=f"No registry answers at {NOBODY}: Connection refused"):
        tags.digest(f"{NOBODY}/sightline-data:test", engine.kind)
