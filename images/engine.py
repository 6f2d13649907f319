"""Docker, Podman or Buildah, by their command lines: what a build of the images asks of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from sightline.errors import ConfigError, SightlineError

Kind = Literal["docker", "podman", "buildah"]
KINDS: tuple[Kind, ...] = ("docker", "podman", "buildah")
BUILT_IN = 23  # the first version of Docker's client whose BuildKit is a plugin
LOOPBACK = ("127.", "localhost", "[::1]")
FULL = "no space left on device"


class EngineError(SightlineError):
    """The engine, or a registry, that does not do what a build needs."""

    kind = "engine"


@dataclass(frozen=True)
class Image:
    """An image in the engine's store."""

    id: str
    size: int  # bytes
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Engine:
    """One engine's command line."""

    program: str
    kind: Kind

    @property
    def runs(self) -> bool:
        """Return whether it can run a container as a user would."""
        return self.kind != "buildah"

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine to its end, and return what it said."""
        return subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, check=False, env=_environment()
        )

    def image(self, reference: str) -> Image | None:
        """Return an image of the store; None if it is not there."""
        if self.kind == "buildah":
            return self._buildah_image(reference)
        done = self.call("image", "inspect", reference)
        if done.returncode:
            return None
        found = json.loads(done.stdout)[0]
        return Image(found["Id"].removeprefix("sha256:"), found["Size"], found["Config"].get("Labels") or {})

    def base(self, reference: str) -> str:
        """Return what identifies a base image: its digest in a registry, or the id of one that was made here.

        An image that is not there is pulled. Raises EngineError if that fails.
        """
        if "@sha256:" in reference:
            return reference.partition("@")[2]
        if self.image(reference) is None:
            done = self.call("pull", reference)
            if done.returncode:
                raise EngineError(
                    f"BASE_IMAGE: {reference} is not on this machine and cannot be pulled: {last_line(done.stderr)}. "
                    "Make or load it, or name another base with Python 3.11."
                )
        if self.kind == "buildah":
            return str(json.loads(self.call("inspect", "--type", "image", reference).stdout)["FromImageDigest"])
        found = json.loads(self.call("image", "inspect", reference).stdout)[0]
        digests = sorted(digest.partition("@")[2] for digest in found.get("RepoDigests") or [])
        own = self.kind == "podman" and reference.startswith("localhost/")  # Podman gives its own images a digest too
        return digests[0] if digests and not own else "sha256:" + found["Id"].removeprefix("sha256:")

    def build(
        self, dockerfile: Path, context: Path, *, arguments: Mapping[str, str], labels: Mapping[str, str],
        secrets: Mapping[str, Path], log: Path,
    ) -> str:  # fmt: skip
        """Build an image without a name and return its id. All output goes to `log`.

        Raises EngineError with what went wrong.
        """
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "id"
            command = [self.program, "build", "--file", str(dockerfile), "--iidfile", str(result)]
            command += ["--progress", "plain"] if self.kind == "docker" else ["--layers", *_isolation()]
            for name, value in arguments.items():
                command += ["--build-arg", f"{name}={value}"]
            for name, value in labels.items():
                command += ["--label", f"{name}={value}"]
            for name, path in secrets.items():
                command += ["--secret", f"id={name},src={path}"]
            with log.open("w") as file:
                done = subprocess.run(
                    [*command, str(context)], stdout=file, stderr=subprocess.STDOUT, check=False, env=_environment()
                )
            if done.returncode:
                _build_failed(dockerfile.parent.name, log)
            return result.read_text().strip().removeprefix("sha256:")

    def tag(self, image: str, reference: str) -> None:
        """Give an image a name."""
        done = self.call("tag", image, reference)
        if done.returncode:
            raise EngineError(f"Cannot name the image {reference}: {last_line(done.stderr)}")

    def digest(self, reference: str) -> str | None:
        """Return the digest that a tag has in its registry; None if the registry has no such tag.

        Raises EngineError if the registry cannot be asked.
        """
        local = reference.startswith(LOOPBACK)
        if self.kind == "docker":
            done = self.call("manifest", "inspect", "--verbose", *(["--insecure"] if local else []), reference)
            answer = done.stdout
        else:
            if not shutil.which("skopeo"):
                raise EngineError(f"{self.kind} needs skopeo beside it to ask a registry. Install skopeo.")
            options = ["--tls-verify=false"] if local else []
            done = subprocess.run(
                ["skopeo", "inspect", *options, f"docker://{reference}"], capture_output=True, text=True, check=False
            )
            answer = done.stdout
        if done.returncode == 0:
            found = json.loads(answer)
            return str(found["Descriptor"]["digest"] if self.kind == "docker" else found["Digest"])
        if not re.search("no such manifest|manifest unknown|name unknown|not found", done.stderr, re.IGNORECASE):
            refused(reference, done.stderr)
        return None

    def push(self, reference: str) -> str:
        """Push an image and return its digest. Raises EngineError if the registry does not take it."""
        if self.kind == "docker":
            done = self.call("push", reference)
            found = re.search(r"digest: (sha256:[0-9a-f]{64})", done.stdout)
            if done.returncode == 0 and found:
                return found[1]
            refused(reference, done.stderr or done.stdout)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            options = ["--tls-verify=false"] if reference.startswith(LOOPBACK) else []
            done = self.call("push", *options, "--digestfile", str(file), reference)
            if done.returncode:
                refused(reference, done.stderr)
            return file.read_text().strip()

    def _buildah_image(self, reference: str) -> Image | None:
        done = self.call("inspect", "--type", "image", reference)
        if done.returncode:
            return None
        found = json.loads(done.stdout)
        rows = json.loads(self.call("images", "--json").stdout)
        size = next(row["size"] for row in rows if found["FromImageID"].startswith(row["id"]))
        return Image(found["FromImageID"], _bytes(size), found["OCIv1"]["config"].get("Labels") or {})


def choose(wanted: str = "") -> Engine:
    """Return the engine that is asked for (a name or a path), or the first on PATH that can build.

    Raises EngineError if there is none, or if its daemon does not answer.
    """
    if wanted and not shutil.which(wanted):
        raise ConfigError(f"CONTAINER: got '{wanted}', which is not on PATH; expected one of {', '.join(KINDS)}.")
    passed_over = []
    for program in [str(shutil.which(wanted))] if wanted else _programs():
        engine = Engine(program, _kind(program))
        if engine.kind == "docker" and not _has_buildkit(engine):
            passed_over.append(program)
            continue
        if engine.kind != "buildah":
            _check_answers(engine)
        return engine
    if passed_over:
        raise EngineError(
            f"{' and '.join(passed_over)} cannot build: this Docker client comes without BuildKit. Install its buildx "
            "plugin, or name another engine: CONTAINER=podman, CONTAINER=buildah."
        )
    raise EngineError(f"No container engine: expected one of {', '.join(KINDS)} on PATH. Install one.")


def refused(reference: str, said: str) -> NoReturn:
    """Raise what a registry's refusal means."""
    host, reason = reference.partition("/")[0], last_line(said)
    if re.search("unauthorized|denied|no basic auth|authentication required|forbidden", said, re.IGNORECASE):
        raise EngineError(f"The registry {host} refuses {reference}: {reason}. Log in (`docker login {host}`).")
    if re.search("connection refused|no such host|timeout|timed out|unreachable", said, re.IGNORECASE):
        raise EngineError(f"No registry answers at {host}: {reason}. Start it, or fix REGISTRY.")
    raise EngineError(f"The registry {host} does not take {reference}: {reason}.")


def last_line(text: str) -> str:
    """Return the last line that says something, without a full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it gave no reason"


def _programs() -> Iterator[str]:
    """Yield every engine on PATH, Docker's clients first."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    for kind in KINDS:
        yield from dict.fromkeys(str(found) for folder in folders if (found := shutil.which(kind, path=str(folder))))


def _kind(program: str) -> Kind:
    """Return what a program is: a `docker` may be Podman's."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.lower()
    return next((kind for kind in reversed(KINDS) if kind in said), "docker")


def _has_buildkit(engine: Engine) -> bool:
    if engine.call("buildx", "version").returncode == 0:
        return True
    version = re.search(r"version (\d+)\.", engine.call("--version").stdout)
    return version is not None and int(version[1]) < BUILT_IN


def _check_answers(engine: Engine) -> None:
    done = engine.call(
        "version", "--format", "{{.Server.Version}}" if engine.kind == "docker" else "{{.Client.Version}}"
    )
    if done.returncode == 0:
        return
    reason = last_line(done.stderr)
    if "permission denied" in done.stderr.lower():
        raise EngineError(
            f"{engine.program} may not use its socket: {reason}. Join the group of the socket (`docker` as a rule), or "
            "use a rootless engine: CONTAINER=podman."
        )
    raise EngineError(
        f"{engine.program}: the engine is not running: {reason}. Start it, or name another: CONTAINER=podman."
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDAH_FORMAT": "docker"}


def _isolation() -> list[str]:
    """Return the options with which Buildah builds where namespaces are refused."""
    isolation = os.environ.get("BUILDAH_ISOLATION")
    return ["--isolation", isolation] if isolation else []


def _build_failed(name: str, log: Path) -> NoReturn:
    """Raise what a build's output means."""
    text = log.read_text(errors="replace")
    ours = re.findall(r"sightline: (.*)", text)
    if ours:
        raise ConfigError(ours[-1])
    if FULL in text.lower():
        raise EngineError(
            f"sightline-{name}: the disk of the engine is full. Make room (`docker system df`, `docker builder "
            "prune`), and run again. No image was named."
        )
    if index := re.search(
        r".*(name resolution|CERTIFICATE_VERIFY_FAILED|No matching distribution|dns error|tls handshake).*", text
    ):
        raise EngineError(
            f"sightline-{name}: the build cannot get the packages: {index[0].strip()}. It uses the index settings "
            "of pip and uv on this machine; images/README.md says which."
        )
    if base := re.search(r"(pull access denied|manifest unknown|failed to resolve source metadata).*", text):
        raise EngineError(f"BASE_IMAGE: {base[0]}")
    raise EngineError(
        f"sightline-{name} was not built, and no image was named. The end of {log}:\n"
        + "\n".join(text.splitlines()[-15:])
    )


def _bytes(text: str) -> int:
    """Read a size as Buildah writes it: `268 MB`."""
    number, unit = text.split()
    return int(float(number) * 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit.upper()))
