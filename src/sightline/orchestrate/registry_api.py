"""What is asked of a registry of images: the distribution API, with the logins that Docker and Podman keep."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3

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
HUB, HUB_API, HUB_LOGIN = "docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"
AUTHORITIES = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))  # a folder for each registry
TOKEN = "<token>"  # the user name with which a helper gives an identity token instead of a password


class UnreachableError(Exception):
    """No registry answers; the text says why."""


@dataclass(frozen=True)
class Answer:
    """What a registry answers when it is asked for a manifest."""

    status: int
    digest: str  # of the manifest, of an index too; empty if the registry does not say
    media_type: str
    body: bytes


def ask(reference: str, method: str = "HEAD", body: bytes | None = None, media_type: str = "") -> Answer:
    """Ask for the manifest of an image (HEAD, GET), or put one there (PUT). Raises UnreachableError."""
    host, repository, version = parts(reference)
    api = HUB_API if host == HUB else host
    headers = {"Content-Type": media_type} if body else {"Accept": MANIFESTS}
    problem = ""
    for scheme in ("https", "http") if host.rpartition(":")[0] in HERE or host in HERE else ("https",):
        address = f"{scheme}://{api}/v2/{repository}/manifests/{version}"
        try:
            return _answer(host, method, address, headers, body)
        except urllib3.exceptions.HTTPError as error:
            problem = re.sub(r"^.*(: |\] )", "", str(getattr(error, "reason", None) or error)).strip(" )'")
    raise UnreachableError(problem)


def parts(reference: str) -> tuple[str, str, str]:
    """Return registry, repository, and tag or digest, with Docker's defaults."""
    name, _, digest = reference.partition("@")
    match = re.fullmatch(r"(.+?)(?::([\w.-]+))?", name)
    assert match is not None
    path, tag = match[1], match[2] or "latest"
    host, _, rest = path.partition("/")
    if not rest or not ("." in host or ":" in host or host == "localhost"):
        host, rest = HUB, path if "/" in path else f"library/{path}"
    elif host == HUB and "/" not in rest:
        rest = f"library/{rest}"  # as Podman writes it
    return host, rest, digest or tag


def _answer(host: str, method: str, address: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    """Send a request, with a login where the registry wants one."""
    pool = _pool(host, address)
    answer = pool.request(method, address, headers=headers, body=body)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if method == "PUT":
        challenge = re.sub(r'(scope="repository:[^":]+):[^"]*', r"\1:pull,push", challenge)  # some name only pull
    if answer.status == 401 and (login := _authorization(pool, host, challenge)):
        answer = pool.request(method, address, headers={**headers, "Authorization": login}, body=body)
    digest = answer.headers.get("Docker-Content-Digest", "")
    return Answer(answer.status, digest, answer.headers.get("Content-Type", ""), answer.data)


def _pool(host: str, address: str) -> urllib3.PoolManager:
    """Return connections through the proxy of this machine, if any, that trust what Docker and Podman trust.

    Raises UnreachableError for a certificate that cannot be read.
    """
    trust = ssl.create_default_context()
    for folder in AUTHORITIES:
        for path in sorted((folder / host).glob("*.crt")):
            try:
                trust.load_verify_locations(path)
            except OSError as error:
                raise UnreachableError(f"{path} is no certificate: {error}") from None
    timeout = urllib3.Timeout(connect=CONNECT, read=ANSWER)
    here = host.rpartition(":")[0] in HERE or host in HERE
    proxy = None if here or proxy_bypass(host) else getproxies().get(address.partition(":")[0])
    if not proxy:
        return urllib3.PoolManager(timeout=timeout, retries=False, ssl_context=trust)
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, timeout=timeout, retries=False, ssl_context=trust)


def _authorization(pool: urllib3.PoolManager, host: str, challenge: str) -> str:
    """Return the header that a challenge asks for; empty if this machine has no login that helps."""
    user, secret = _login(host)
    basic = f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}" if user and user != TOKEN else ""
    if not challenge.lower().startswith("bearer "):
        return basic
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    fields = {key: wanted[key] for key in ("service", "scope") if key in wanted}
    realm = wanted.get("realm", "")
    if user == TOKEN:
        fields |= {"grant_type": "refresh_token", "refresh_token": secret, "client_id": "sightline"}
        token = pool.request("POST", realm, fields=fields, encode_multipart=False)
    else:
        token = pool.request("GET", realm, fields=fields, headers={"Authorization": basic} if basic else {})
    given = _json(token.data) if token.status == 200 else {}
    word = given.get("token") or given.get("access_token")
    return f"Bearer {word}" if word else ""


def _login(host: str) -> tuple[str, str]:
    """Return user and password for a registry, TOKEN and an identity token, or nothing."""
    names = (HUB_LOGIN, host) if host == HUB else (host, f"https://{host}", f"http://{host}")
    for settings in _settings():
        helper = (settings.get("credHelpers") or {}).get(names[0]) or settings.get("credsStore")
        for name in names:
            login = (settings.get("auths") or {}).get(name) or {}
            if login.get("identitytoken"):
                return TOKEN, login["identitytoken"]
            if login.get("auth"):
                user, _, password = base64.b64decode(login["auth"]).decode(errors="replace").partition(":")
                return user, password
            if login.get("username"):
                return login["username"], login.get("password", "")
            if helper and (found := _from_helper(f"docker-credential-{helper}", name)):
                return found
    return "", ""


def _settings() -> Iterator[dict[str, Any]]:
    """Yield what Docker and Podman have stored on this machine."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (it does not fail without a home)
    yield from (
        found
        for path in (
            Path(os.environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
            Path(os.environ.get("REGISTRY_AUTH_FILE") or home / ".config" / "containers" / "auth.json"),
            Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "containers" / "auth.json",
        )
        if (found := _read(path))
    )


def _from_helper(program: str, name: str) -> tuple[str, str] | None:
    """Ask a helper of Docker's for a login."""
    if not shutil.which(program):
        return None
    done = subprocess.run([program, "get"], input=name, capture_output=True, text=True, check=False)
    found = _json(done.stdout.encode()) if done.returncode == 0 else {}
    return (str(found["Username"]), str(found.get("Secret", ""))) if found.get("Username") else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return _json(path.read_bytes())
    except OSError:
        return {}


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
