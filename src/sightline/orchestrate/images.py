"""The container images of the tasks: the tag that their content has, and the references that a run uses.

A tag is the version and a digest of all that goes into the image, so it never moves: the same content gets the same
tag, a changed line another. `make images` builds the images and records them in `images/built.json`. The compiled
pipeline names the images of the release; what runs gets the references of the last build, or those of
`SIGHTLINE_IMAGES`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline import __version__
from sightline.errors import ConfigError

NAMES = ("data", "train", "infer")
VARIABLE = "SIGHTLINE_IMAGES"
BUILT = "images/built.json"  # in the source tree
SHARED = ("pyproject.toml", "LICENSE", ".dockerignore", "images/build.lock", "images/install.sh", "images/sbom.py")
TREES = {"src/sightline": (".py", ".css", ".j2"), "pipelines/compiled": (".yaml",)}  # as in install.sh
LISTS = tuple(f"images/{name}/requirements.lock" for name in NAMES)  # the wheel holds all three
REFERENCE = re.compile(
    r"(?P<repository>(?:[a-z0-9][a-z0-9._-]*(?::[0-9]+)?/)*sightline-(?P<name>[a-z]+))"
    r"(:[\w.-]+)?(@sha256:[0-9a-f]{64})?"
)
IN_PIPELINE = re.compile(r"^(\s+image: )(\S+)$", re.MULTILINE)


class BuiltImage(BaseModel):
    """One image of the last build."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str  # registry/sightline-<name>:<tag>
    base: str  # digest or id of the base image
    variant: str  # "cpu" for the infer image without CUDA, else empty
    id: str  # of the image, or its digest where the engine has one
    size: int  # bytes, base included
    digest: str | None = None  # in the registry, once pushed


class Built(BaseModel):
    """What `make images` writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: dict[str, BuiltImage]


def source_tree() -> Path | None:
    """Return the root of the source tree that this package is used from; None for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "images" / "data" / "Dockerfile").exists() else None


def pipeline_file() -> Path:
    """Return the compiled pipeline: packaged beside the source, or in the source tree."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "compiled" / "train.yaml"
    return packaged if packaged.exists() else package.parents[1] / "pipelines" / "compiled" / "train.yaml"


def tag(name: str, *, base: str, variant: str = "", root: Path) -> str:
    """Return the version and a digest of what goes into an image: its base, lists, Dockerfile and source."""
    digest = hashlib.sha256("\0".join((name, base, variant, platform.machine())).encode())
    for path in _content(name, variant, root):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return f"{__version__}-{digest.hexdigest()[:12]}"


def references() -> dict[str, str]:
    """Return the reference of each image that a run uses, by name.

    Raises ConfigError if the sources changed since the last build, if nothing was built, or for references that
    cannot be used.
    """
    if given := os.environ.get(VARIABLE):
        return _given(given)
    root = source_tree()
    return {} if root is None else built_references(root)


def with_references(pipeline: str, references: Mapping[str, str]) -> str:
    """Return the text of a compiled pipeline with other image references and nothing else changed.

    An image that `references` does not name keeps the release's.
    """

    def replaced(line: re.Match[str]) -> str:
        found = REFERENCE.fullmatch(line[2])
        return line[1] + (references.get(found["name"], line[2]) if found else line[2])

    return IN_PIPELINE.sub(replaced, pipeline)


def list_name(variant: str) -> str:
    """Return the name of the list that a variant of an image is made from."""
    return f"requirements{f'-{variant}' if variant else ''}.lock"


def _content(name: str, variant: str, root: Path) -> Iterator[Path]:
    """Yield the files that go into an image, sorted."""
    folder = root / "images" / name
    files = {*(root / path for path in (*SHARED, *LISTS)), folder / "Dockerfile", folder / list_name(variant)}
    for tree, kinds in TREES.items():
        found = [path for path in (root / tree).rglob("*") if path.suffix in kinds and path.is_file()]
        files |= {path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)}
    yield from sorted(files)


def _given(text: str) -> dict[str, str]:
    """Read `SIGHTLINE_IMAGES`: the references of all three images, separated by commas."""
    found = {}
    for reference in text.split(","):
        match = REFERENCE.fullmatch(reference.strip())
        if match is None or match["name"] not in NAMES:
            raise ConfigError(
                f"{VARIABLE}: got '{reference.strip()}', expected the references of the three images, separated by "
                "commas, such as registry/sightline-data:1.0."
            )
        found[match["name"]] = reference.strip()
    if missing := [name for name in NAMES if name not in found]:
        raise ConfigError(
            f"{VARIABLE}: sightline-{' and sightline-'.join(missing)} missing, expected all three images."
        )
    return found


def built_references(root: Path) -> dict[str, str]:
    """Return the references of the last build in a source tree.

    Raises ConfigError if there is none, or if the sources have changed since.
    """
    path = root / BUILT
    try:
        built = Built.model_validate_json(path.read_bytes()).images
    except FileNotFoundError:
        raise ConfigError(
            f"No images have been built from {root}. Run `make images` there, or name images with {VARIABLE}."
        ) from None
    except ValidationError:
        raise ConfigError(f"{path} is damaged. Run `make images` again.") from None
    stale = [
        f"sightline-{name}"
        for name in NAMES
        if name not in built
        or not built[name].reference.endswith(
            ":" + tag(name, base=built[name].base, variant=built[name].variant, root=root)
        )
    ]
    if stale:
        raise ConfigError(
            f"The sources have changed since {', '.join(stale)} {'was' if len(stale) == 1 else 'were'} built. Run "
            f"`make images`, or name images with {VARIABLE}."
        )
    return {name: built[name].reference for name in NAMES}
