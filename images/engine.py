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
from typing import Literal

from images.messages import EngineError, base_failed, build_failed, last_line, not_answering, refused
from sightline.errors import ConfigError
from sightline.orchestrate.registry_api import parts

Kind = Literal["docker", "podman", "buildah"]
KINDS: tuple[Kind, ...] = ("docker", "podman", "buildah")
BUILT_IN = 23  # the first version of Docker's client whose BuildKit is a plugin
LOOPBACK = ("127.", "localhost", "[::1]")


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
        if self.image(reference) is None:
            done = self.call("pull", reference)
            if done.returncode:
                base_failed(reference, done.stderr)
        if "@sha256:" in reference:
            return reference.partition("@")[2]
        if self.kind == "buildah":
            return str(json.loads(self.call("inspect", "--type", "image", reference).stdout)["FromImageDigest"])
        found = json.loads(self.call("image", "inspect", reference).stdout)[0]
        made_here = "sha256:" + found["Id"].removeprefix("sha256:")
        if self.kind == "podman" and reference.startswith("localhost/"):  # Podman gives its own images a digest too
            return made_here
        repository = parts(reference)[:2]  # the image may have been pushed to others since
        digests = [name.partition("@") for name in found.get("RepoDigests") or []]
        return next((digest for name, _, digest in sorted(digests) if parts(name)[:2] == repository), made_here)

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
                build_failed(dockerfile.parent.name, log)
            return result.read_text().strip().removeprefix("sha256:")

    def tag(self, image: str, reference: str) -> None:
        """Give an image a name."""
        done = self.call("tag", image, reference)
        if done.returncode:
            raise EngineError(f"Cannot name the image {reference}: {last_line(done.stderr)}")

    def push(self, reference: str) -> str:
        """Push an image and return its digest. Raises EngineError if the registry does not take it."""
        if self.kind == "docker":
            done = self.call("push", reference)
            found = re.search(r"digest: (sha256:[0-9a-f]{64})", done.stdout)
            if done.returncode == 0 and found:
                return found[1]
            refused(reference, done.stderr or done.stdout, self.kind)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            options = ["--tls-verify=false"] if reference.startswith(LOOPBACK) else []
            done = self.call("push", *options, "--digestfile", str(file), reference)
            if done.returncode:
                refused(reference, done.stderr, self.kind)
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
        if (kind := _kind(program)) is None and wanted:
            raise ConfigError(f"CONTAINER: got '{wanted}', which is none of {', '.join(KINDS)}.")
        if kind is None:
            continue
        engine = Engine(program, kind)
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


def _programs() -> Iterator[str]:
    """Yield every engine on PATH, Docker's clients first."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    for kind in KINDS:
        yield from dict.fromkeys(str(found) for folder in folders if (found := shutil.which(kind, path=str(folder))))


def _kind(program: str) -> Kind | None:
    """Return what a program is: a `docker` may be Podman's, and a name that is asked for no engine at all."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    first = done.stdout.lower().partition("\n")[0]
    named = next((kind for kind in reversed(KINDS) if re.search(rf"\b{kind}\b.*\d", first)), None)
    return named or next((kind for kind in KINDS if done.returncode and Path(program).name == kind), None)


def _has_buildkit(engine: Engine) -> bool:
    if engine.call("buildx", "version").returncode == 0:
        return True
    version = re.search(r"version (\d+)\.", engine.call("--version").stdout)
    return version is not None and int(version[1]) < BUILT_IN


def _check_answers(engine: Engine) -> None:
    done = engine.call(
        "version", "--format", "{{.Server.Version}}" if engine.kind == "docker" else "{{.Client.Version}}"
    )
    if done.returncode:
        not_answering(engine.program, engine.kind, done.stderr)


def _environment() -> dict[str, str]:
    """Return the environment with BuildKit, without its attestations: a tag is one manifest in every engine."""
    return {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDAH_FORMAT": "docker"}


def _isolation() -> list[str]:
    """Return the options with which Buildah builds where namespaces are refused."""
    isolation = os.environ.get("BUILDAH_ISOLATION")
    return ["--isolation", isolation] if isolation else []


def _bytes(text: str) -> int:
    """Read a size as Buildah writes it: `268 MB`."""
    number, unit = text.split()
    return int(float(number) * 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit.upper()))
