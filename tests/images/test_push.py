"""What `make push` does to a registry, and what it refuses: with a real registry and a stand-in for the engine."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from images import build, engine, tags
from images.push import push
from sightline import __version__
from sightline.orchestrate import images
from tests.helpers.debian_registry import registry_serving
from tests.helpers.engine_programs import OLD, program

KIND = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = b"{}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    with registry_serving(tmp_path / "registry") as address:
        yield address


def send(address: str, method: str, body: bytes, kind: str) -> str:
    request = urllib.request.Request(address, data=body, method=method, headers={"Content-Type": kind})
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location"))


def put(reference: str, content: str, kind: str = KIND) -> str:
    """Put an image there without an engine; `content` makes it another one. Return its digest."""
    host, _, rest = reference.partition("/")
    repository, _, tag = rest.partition(":")
    base = f"http://{host}/v2/{repository}"
    digest = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
    place = send(f"{base}/blobs/uploads/", "POST", b"", "")
    send(f"{place}&digest={digest}", "PUT", CONFIG, "application/octet-stream")
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(CONFIG), "digest": digest}
    manifest = {"schemaVersion": 2, "mediaType": kind, "annotations": {"content": content}}
    manifest |= {"manifests": []} if kind == LIST else {"config": config, "layers": []}
    body = json.dumps(manifest).encode()
    send(f"{base}/manifests/{tag}", "PUT", body, kind)
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def built(host: str) -> images.Built:
    same = {"base": "b", "variant": "", "id": "i", "size": 1}
    return images.Built(
        images={
            name: images.BuiltImage.model_validate({**same, "reference": f"{host}/t/sightline-{name}:0-abc"})
            for name in images.NAMES
        }
    )


def stand_in(folder: Path) -> tuple[engine.Engine, Path]:
    """Return an engine that has no image, and the file with what it was asked."""
    path = program(folder / "bin", "docker", OLD, f'echo "$@" >> {folder}/calls; exit 1')
    return engine.Engine(str(path), "docker"), folder / "calls"


def release(host: str, name: str) -> str:
    return f"{host}/t/sightline-{name}:{__version__}"


def test_a_release_is_what_the_registry_has_whoever_built_it(host: str, tmp_path: Path) -> None:
    record, kept = built(host), []
    theirs = {name: put(image.reference, f"another machine's {name}") for name, image in record.images.items()}
    docker, calls = stand_in(tmp_path)
    done = push(docker, record, release=True, write=kept.append)
    assert {name: image.digest for name, image in done.images.items()} == theirs
    assert {name: tags.digest(release(host, name), "docker") for name in theirs} == theirs
    assert kept[-1] == done
    assert not calls.exists()  # nothing of this machine was named or pushed
    assert push(docker, record, release=True, write=kept.append) == done


def test_no_image_is_released_if_one_version_is_taken(host: str, tmp_path: Path) -> None:
    record = built(host)
    for image in record.images.values():
        put(image.reference, "content")
    taken = put(release(host, "infer"), "other content")
    with pytest.raises(engine.EngineError, match=f"Tags never move.*sightline-infer:{__version__} is {taken}"):
        push(stand_in(tmp_path)[0], record, release=True, write=lambda _: None)
    assert tags.digest(release(host, "data"), "docker") is None
    assert tags.digest(release(host, "infer"), "docker") == taken


def test_images_that_are_gone_are_named_before_any_is_pushed(host: str, tmp_path: Path) -> None:
    record = built(host)
    put(record.images["data"].reference, "content")
    docker, calls = stand_in(tmp_path)
    expected = "sightline-train:0-abc and .*sightline-infer:0-abc are no longer on this machine. Run `make images`"
    with pytest.raises(engine.EngineError, match=expected):
        push(docker, record, release=False, write=lambda _: None)
    assert "push" not in calls.read_text()


def test_an_index_has_a_digest_like_any_image(host: str) -> None:
    reference = f"{host}/t/sightline-data:0-abc"
    index = put(reference, "index", LIST)
    assert tags.digest(reference, "docker") == index
    tags.put(release(host, "data"), index, "docker")
    assert tags.digest(release(host, "data"), "docker") == index


def test_a_login_is_asked_for_in_the_engines_own_words(tmp_path: Path) -> None:
    user = "somebody:$2y$05$abcdefghijklmnopqrstuuC5nGvFhVvRaIdVYY1e6bZBuRWP6dXzK\n"
    with registry_serving(tmp_path, user) as host, pytest.raises(engine.EngineError, match=f"`podman login {host}`"):
        tags.digest(f"{host}/t/sightline-data:1", "podman")


def test_a_digest_outlives_another_build_of_the_same_content(tmp_path: Path) -> None:
    first = built("r.example")
    same = {name: image.model_copy(update={"digest": f"sha256:{name}"}) for name, image in first.images.items()}
    (tmp_path / "built.json").write_text(images.Built(images=same).model_dump_json())
    assert build.with_digests(first, tmp_path / "built.json").images == same
    moved = {"data": same["data"].model_copy(update={"reference": "r.example/t/sightline-data:0-def"})}
    assert build.with_digests(images.Built(images=moved), tmp_path / "built.json").images["data"].digest is None
    assert build.with_digests(first, tmp_path / "none.json") == first
