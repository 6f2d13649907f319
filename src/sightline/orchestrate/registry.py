"""The images of a run in their registry: the references that a cluster can fetch, and whether they are there."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from sightline.errors import ConfigError
from sightline.orchestrate import images

CONNECT, ANSWER = 5, 15  # seconds
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
HERE = ("localhost", "127.0.0.1", "[::1]")  # where a registry may speak plain HTTP, as for Docker
MISSING = "missing"  # what `_problem` says of an image that its registry does not have
HUB, HUB_API, HUB_LOGIN = "docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Image:
    """An image of a run, and whether its registry has it."""

    reference: str
    checked: bool
    why: str = ""  # it was not checked


def references() -> dict[str, str]:
    """Return the reference of each image that a cluster is to run: by digest, where the last build was pushed.

    `SIGHTLINE_IMAGES` is taken as it is. Raises ConfigError as `images.references` does, and for images that were never
    pushed.
    """
    found = images.references()
    root = images.source_tree()
    if os.environ.get(images.VARIABLE) or root is None:
        return found
    return by_digest(found, images.Built.model_validate_json((root / images.BUILT).read_bytes()))


def by_digest(found: Mapping[str, str], built: images.Built) -> dict[str, str]:
    """Return references that nobody can move. Raises ConfigError for images that were never pushed."""
    digests = {name: built.images[name].digest for name in found}
    if local := [f"sightline-{name}" for name, digest in digests.items() if not digest]:
        raise ConfigError(
            f"{' and '.join(local)} {'was' if len(local) == 1 else 'were'} built here and never pushed: a cluster "
            f"cannot fetch what only this machine has. Run `make push`, or name images that its nodes can get with "
            f"{images.VARIABLE}."
        )
    return {name: _by_digest(reference, str(digests[name])) for name, reference in found.items()}


def check(references: Iterable[str]) -> list[Image]:
    """Ask the registries for images. Raises ConfigError for those that are not there."""
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT, read=ANSWER), retries=False)
    found = {reference: _problem(pool, reference) for reference in references}
    if missing := [reference for reference, problem in found.items() if problem == MISSING]:
        raise ConfigError(
            "These images are not in their registry (push them with `make push`, or name others with "
            f"{images.VARIABLE}):",
            missing,
        )
    return [Image(reference, not problem, problem) for reference, problem in found.items()]


def _by_digest(reference: str, digest: str) -> str:
    """Return a reference that nobody can move; `digest` is a bare one, or a whole reference that ends in one."""
    if "@" in digest:
        return digest
    match = images.REFERENCE.fullmatch(reference)
    assert match is not None
    return f"{match['repository']}@{digest}"


def _parts(reference: str) -> tuple[str, str, str]:
    """Return registry, repository, and tag or digest, with Docker's defaults."""
    name, _, digest = reference.partition("@")
    match = re.fullmatch(r"(.+?)(?::([\w.-]+))?", name)
    assert match is not None
    path, tag = match[1], match[2] or "latest"
    host, _, rest = path.partition("/")
    if not rest or not ("." in host or ":" in host or host == "localhost"):
        host, rest = HUB, path if "/" in path else f"library/{path}"
    return host, rest, digest or tag


def _problem(pool: urllib3.PoolManager, reference: str) -> str:
    """Say why an image could not be asked for, or MISSING; nothing if it is there."""
    host, repository, version = _parts(reference)
    api = HUB_API if host == HUB else host
    path = f"://{api}/v2/{repository}/manifests/{version}"
    plain = host.rpartition(":")[0] in HERE or host in HERE
    problem = ""
    for scheme in ("https", "http") if plain else ("https",):
        try:
            status = _status(pool, scheme + path, host)
        except urllib3.exceptions.HTTPError as error:
            problem = re.sub(r"^.*(: |\] )", "", str(getattr(error, "reason", None) or error)).strip(" )'")
            continue
        if status in (404, 200):
            return MISSING if status == 404 else ""
        return "its registry wants other credentials" if status in (401, 403) else f"its registry answers {status}"
    return f"its registry cannot be reached from here ({problem})"


def _status(pool: urllib3.PoolManager, address: str, host: str) -> int:
    """Ask for a manifest, with a token where the registry wants one, and return the status."""
    headers = {"Accept": MANIFESTS}
    answer = pool.request("HEAD", address, headers=headers)
    if answer.status != 401:
        return answer.status
    login = _login(host)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if challenge.lower().startswith("bearer "):
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        fields = {key: wanted[key] for key in ("service", "scope") if key in wanted}
        token = pool.request("GET", wanted.get("realm", ""), fields=fields, headers=login)
        given = _json(token.data) if token.status == 200 else {}
        if not (word := given.get("token") or given.get("access_token")):
            return 401
        login = {"Authorization": f"Bearer {word}"}
    return pool.request("HEAD", address, headers=headers | login).status if login else 401


def _login(host: str) -> dict[str, str]:
    """Return what Docker's own settings hold for a registry; credentials that a helper keeps are left alone."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")  # noqa: PTH111, PTH118
    try:
        logins = _json((Path(folder) / "config.json").read_bytes()).get("auths") or {}
    except OSError:
        return {}
    for name in (HUB_LOGIN, host) if host == HUB else (host, f"https://{host}", f"http://{host}"):
        login = logins.get(name) or {}
        if login.get("auth"):
            return {"Authorization": f"Basic {login['auth']}"}
        if login.get("username"):
            pair = f"{login['username']}:{login.get('password', '')}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
