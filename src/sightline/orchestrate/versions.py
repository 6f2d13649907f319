"""What is uploaded: a compiled pipeline with the images that it runs, under a name that its content decides.

The same content is the same version, so uploading twice is uploading once. The words of the form travel as the
description, since the dashboard's form shows none.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sightline import __version__
from sightline.config.parameters import PipelineParameters
from sightline.errors import ConfigError, did_you_mean
from sightline.orchestrate import images, registry
from sightline.orchestrate.images import pipeline_file
from sightline.orchestrate.kfp_api import Server
from sightline.runtime import provenance

DIGITS = 12  # of the sha256, in a version's name
LONGEST_TAG = 63  # characters


@dataclass(frozen=True)
class Package:
    """A compiled pipeline as it is sent."""

    name: str  # of the pipeline
    version: str
    text: str
    parameters: Mapping[str, Mapping[str, Any]]  # KFP's definition of each
    images: tuple[str, ...]
    deadline: int | None  # seconds after which a run is ended
    description: str
    tags: Mapping[str, str]
    commit: str | None  # of the source tree, or of the images
    documents: Sequence[Mapping[str, Any]] = field(repr=False, compare=False)  # of the text: pipeline and platform


@dataclass(frozen=True)
class Uploaded:
    """A version on the server."""

    pipeline_id: str
    version: Any  # KFP's record
    new: bool


def package(file: Path | None = None) -> Package:
    """Read a compiled pipeline, by default the packaged one, and put in the images at hand.

    Raises ConfigError for a file that is no compiled pipeline, and for images that a cluster cannot fetch.
    """
    path = file or pipeline_file()
    text = _text(path)
    if any(images.REFERENCE.fullmatch(image) for image in _images(_documents(path, text))):
        text = images.with_references(text, registry.references())
    documents = _documents(path, text)
    spec = documents[0]
    digest = hashlib.sha256(text.encode()).hexdigest()
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    used = tuple(sorted(_images(documents)))
    commit = provenance.git_commit()
    tags = {"sightline": __version__, "content": digest[:DIGITS], "commit": commit or "unknown"}
    for image in used:
        if match := images.REFERENCE.fullmatch(image):
            tags[f"image-{match['name']}"] = _short(image)
    return Package(
        name=spec["pipelineInfo"]["name"],
        version=f"{__version__}-{digest[:DIGITS]}",
        text=text,
        parameters=parameters,
        images=used,
        deadline=_deadline(documents),
        description=_description(spec, parameters),
        tags={name: value[:LONGEST_TAG] for name, value in tags.items()},
        commit=commit,
        documents=documents,
    )


def given(values: Mapping[str, Any], sent: Package) -> dict[str, Any]:
    """Return the parameters that a person named, as the server takes them; the form's defaults stand for the others.

    Raises ConfigError with every unknown name and wrong value at once, those of the configuration behind them as well.
    """
    parameters = PipelineParameters.given(values)
    if unknown := [name for name in values if name not in sent.parameters]:
        raise ConfigError(
            f"The compiled pipeline {sent.name} takes no such parameters (compile it again with `make compile`?):",
            [f"'{name}'{did_you_mean(name, sent.parameters) or '.'}" for name in unknown],
        )
    parameters.config()
    return {name: getattr(parameters, name) for name in values}


def upload(server: Server, sent: Package) -> Uploaded:
    """Upload a version, unless the server has it. What an earlier call left undone is done."""
    pipeline = server.pipeline(sent.name) or server.create_pipeline(sent.name, sent.description)
    if version := server.version(pipeline.pipeline_id, sent.version):
        return Uploaded(pipeline.pipeline_id, version, new=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{sent.name}.yaml"
        path.write_text(sent.text, encoding="utf-8")
        version = server.upload_version(
            pipeline.pipeline_id, sent.version, str(path), sent.description, dict(sent.tags)
        )
    return Uploaded(pipeline.pipeline_id, version, new=True)


def _text(path: Path) -> str:
    """Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"The compiled pipeline {path} cannot be read: {why}. `make compile` writes one.") from None


def _documents(path: Path, text: str) -> list[dict[str, Any]]:
    """Return the pipeline and, where it has one, its platform's document. Raises ConfigError."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
        spec = documents[0]
        if not spec["root"] or not isinstance(spec["pipelineInfo"]["name"], str):
            raise KeyError("root")
        spec["deploymentSpec"]["executors"].values()
    except (yaml.YAMLError, IndexError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path} is no compiled pipeline. `make compile` writes one.") from None
    return documents


def _images(documents: list[dict[str, Any]]) -> set[str]:
    executors = documents[0]["deploymentSpec"]["executors"].values()
    return {executor["container"]["image"] for executor in executors if "container" in executor}


def _deadline(documents: list[dict[str, Any]]) -> int | None:
    """Return after how many seconds a run is ended."""
    for document in documents[1:]:
        kubernetes = document.get("platforms", {}).get("kubernetes", {})
        if seconds := kubernetes.get("pipelineConfig", {}).get("activeDeadlineSeconds"):
            return int(seconds)
    return None


def _short(image: str) -> str:
    """Return the tag of an image, or the beginning of its digest: a whole one is longer than a tag of KFP may be."""
    name, _, digest = image.partition("@")
    return digest[: len("sha256:") + DIGITS] if digest else name.rpartition(":")[2]


def _description(spec: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the pipeline does and what its parameters mean, in the order of the dashboard's form: by name."""
    lines = [spec["pipelineInfo"].get("description", ""), ""]
    for name in sorted(parameters):
        field = PipelineParameters.model_fields.get(name)
        words = parameters[name].get("description") or (field.description if field else "") or ""
        stands = f" ({default})" if (default := parameters[name].get("defaultValue")) else ""
        lines.append(f"{name}{stands}: {words}" if words else f"{name}{stands}")
    return "\n".join(lines).strip()
