"""The images of a run: references that a cluster can fetch, and whether their registry has them."""

from __future__ import annotations

import base64
import json
import socket
import threading
from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.orchestrate import images, registry, registry_api
from tests.helpers.registry_stand_in import registry_serving

DIGEST = "sha256:" + "ab" * 32
REFERENCES = {name: f"reg.example/sightline-{name}:0.1.0-abc" for name in images.NAMES}
LOGIN = base64.b64encode(b"ci:secret").decode()


@pytest.fixture(autouse=True)
def docker_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Docker's settings without any."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


def test_images_are_asked_for_by_tag_and_by_digest() -> None:
    with registry_serving("p/sightline-data/manifests/1", f"p/sightline-train/manifests/{DIGEST}") as host:
        found = registry.check([f"{host}/p/sightline-data:1", f"{host}/p/sightline-train@{DIGEST}"])
        assert [image.checked for image in found] == [True, True]


def test_images_that_are_not_there_are_all_named() -> None:
    with registry_serving("p/sightline-data/manifests/1") as host:
        missing = [f"{host}/p/sightline-train:1", f"{host}/p/sightline-infer@{DIGEST}"]
        with pytest.raises(ConfigError, match="not in their registry") as caught:
            registry.check([f"{host}/p/sightline-data:1", *missing])
        assert list(caught.value.problems) == missing


def test_a_registry_that_cannot_be_asked_is_no_reason_to_refuse(closed_address: str) -> None:
    closed = closed_address.removeprefix("http://")
    with registry_serving(login=LOGIN) as host:
        found = registry.check([f"{host}/a:1", f"{closed}/a:1"])
    assert [image.checked for image in found] == [False, False]
    assert found[0].why == "its registry wants other credentials"
    assert found[1].why == "its registry cannot be reached from here (Connection refused)"


@pytest.mark.parametrize("stored", [{"auth": LOGIN}, {"username": "ci", "password": "secret"}])
def test_dockers_own_login_is_used(docker_settings: Path, stored: dict[str, str]) -> None:
    with registry_serving("a/manifests/1", login=LOGIN) as host:
        (docker_settings / "config.json").write_text(json.dumps({"auths": {host: stored}}))
        assert registry.check([f"{host}/a:1"])[0].checked
        (docker_settings / "config.json").write_text("{")
        assert not registry.check([f"{host}/a:1"])[0].checked


def test_a_login_that_a_helper_keeps_is_used(
    docker_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-stand-in"
    helper.write_text("""#!/bin/sh\necho '{"Username": "ci", "Secret": "secret"}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with registry_serving("a/manifests/1", login=LOGIN) as host:
        (docker_settings / "config.json").write_text(json.dumps({"credHelpers": {host: "stand-in"}}))
        assert registry.check([f"{host}/a:1"])[0].checked


def test_a_registry_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[bytes] = []

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://u:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        found = registry.check(["registry.example:5000/a:1"])[0]
        thread.join()
    assert not found.checked
    assert asked[0].startswith(b"CONNECT registry.example:5000 ")
    assert b"authorization: basic " + base64.b64encode(b"u:p@ss").lower() in asked[0].lower()


def test_podmans_login_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with registry_serving("a/manifests/1", login=LOGIN) as host:
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {host: {"auth": LOGIN}}}))
        assert registry.check([f"{host}/a:1"])[0].checked


def built(**digests: str | None) -> images.Built:
    """Return the record of a build, with the digests of what was pushed."""
    same = {"base": "b", "variant": "", "id": "i", "size": 1}
    made = {
        name: images.BuiltImage.model_validate({**same, "reference": REFERENCES[name], "digest": digests.get(name)})
        for name in images.NAMES
    }
    return images.Built(images=made)


def test_pushed_images_are_named_by_digest() -> None:
    record = built(data=DIGEST, train=f"reg.example/sightline-train@{DIGEST}", infer=DIGEST)
    found = registry.by_digest(REFERENCES, record)
    assert found == {name: f"reg.example/sightline-{name}@{DIGEST}" for name in images.NAMES}


def test_images_that_were_never_pushed_are_named() -> None:
    with pytest.raises(ConfigError, match="sightline-train and sightline-infer were built here and never pushed"):
        registry.by_digest(REFERENCES, built(data=DIGEST))


def test_named_images_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.VARIABLE, ",".join(f"local/sightline-{name}:1" for name in images.NAMES))
    assert registry.references()["train"] == "local/sightline-train:1"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("sightline-data:1", ("docker.io", "library/sightline-data", "1")),
        ("me/sightline-data", ("docker.io", "me/sightline-data", "latest")),
        ("docker.io/python:3", ("docker.io", "library/python", "3")),
        ("localhost:5000/a:t", ("localhost:5000", "a", "t")),
        (f"reg.example/a/b:1@{DIGEST}", ("reg.example", "a/b", DIGEST)),
    ],
)
def test_references_are_read_as_docker_reads_them(reference: str, parts: tuple[str, str, str]) -> None:
    assert registry_api.parts(reference) == parts
