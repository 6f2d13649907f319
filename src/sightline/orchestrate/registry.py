"""The images of a run in their registry: the references that a cluster can fetch, and whether they are there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sightline.errors import ConfigError
from sightline.orchestrate import images
from sightline.orchestrate.registry_api import UnreachableError, ask


@dataclass(frozen=True)
class Image:
    """An image of a run, and whether its registry has it."""

    reference: str
    checked: bool
    why: str = ""  # it was not checked
    missing: bool = False


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
    """Return references that cannot be moved. Raises ConfigError for images that were never pushed."""
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
    found = [asked(reference) for reference in references]
    if missing := [image.reference for image in found if image.missing]:
        raise ConfigError(
            "These images are not in their registry (push them with `make push`, or name others with "
            f"{images.VARIABLE}):",
            missing,
        )
    return found


def asked(reference: str) -> Image:
    """Ask the registry for an image."""
    try:
        status = ask(reference).status
    except UnreachableError as error:
        return Image(reference, checked=False, why=f"its registry cannot be reached from here ({error})")
    if status in (404, 200):
        return Image(reference, checked=True, missing=status == 404)
    wants = "its registry wants other credentials" if status in (401, 403) else f"its registry answers {status}"
    return Image(reference, checked=False, why=wants)


def _by_digest(reference: str, digest: str) -> str:
    """Return a reference that cannot be moved; `digest` is a bare one, or a whole reference that ends in one."""
    if "@" in digest:
        return digest
    match = images.REFERENCE.fullmatch(reference)
    assert match is not None
    return f"{match['repository']}@{digest}"
