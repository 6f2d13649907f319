"""The tags of images in their registry: which digest a tag has, and a second tag for the same bytes."""

from __future__ import annotations

import hashlib
import re

from images.messages import EngineError, no_answer, refused
from sightline.orchestrate.registry_api import Answer, UnreachableError, ask, parts


def digest(reference: str, login: str) -> str | None:
    """Return the digest of a tag, of its index where it has one; None if the registry has no such tag.

    `login` names the engine whose login is used, for advice. Raises EngineError if the registry cannot be asked.
    """
    answer = _ask(reference, login)
    if answer.status == 404:
        return None
    return answer.digest or _of(_ask(reference, login, "GET").body)


def put(reference: str, wanted: str, login: str) -> None:
    """Give the image with the digest `wanted` in the repository of `reference` that tag, byte for byte.

    Nothing but the manifest is moved. Raises EngineError if the registry refuses, or has another digest then.
    """
    host, _, tag = parts(reference)
    source = f"{reference.removesuffix(f':{tag}')}@{wanted}"
    found = _ask(source, login, "GET")
    if found.status == 404 or _of(found.body) != wanted:
        raise EngineError(f"The registry {host} does not have {source}, which it said it has. Run `make push` again.")
    _ask(reference, login, "PUT", found.body, found.media_type)
    if (there := digest(reference, login)) != wanted:
        raise EngineError(f"{reference} is {there} in its registry, expected {wanted}. Tags never move.")


def _ask(reference: str, login: str, method: str = "HEAD", body: bytes | None = None, media_type: str = "") -> Answer:
    try:
        answer = ask(reference, method, body, media_type)
    except UnreachableError as error:
        no_answer(parts(reference)[0], str(error))
    if answer.status not in (200, 201, 404):
        found = re.findall(r'"message":\s*"([^"]*)"', answer.body.decode(errors="replace"))
        refused(reference, f"it answers {answer.status}{''.join(f' ({text})' for text in found)}", login)
    return answer


def _of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
