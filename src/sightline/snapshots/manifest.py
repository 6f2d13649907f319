"""What is said about a snapshot as a whole: small even for a million images, and bound to the digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from sightline.documents import SPLITS, Part, Sha256, Split
from sightline.errors import StageInputError, StorageError
from sightline.snapshots.parallel import several
from sightline.storage import Store

VERSION: Literal[2] = 2
FOLDER = "snapshots"
PREDICTIONS = "predictions"  # of models, for the images of snapshots


class DamagedSnapshot(StorageError):
    """A manifest or list of images that was altered, or is of another version."""


class SplitSummary(Part):
    """One split, counted."""

    images: int
    boxes: int
    backgrounds: int = Field(description="Images without a box.")
    bytes: int = Field(description="Bytes of the images.")
    boxes_per_class: list[int] = Field(description="In the order of the classes.")
    digest: Sha256 = Field(description="Over names, image digests and labels; see `items.Digest`.")


class PackRef(Part):
    """A tar file of images, some of which belong to the snapshot."""

    key: Sha256
    size: int = Field(description="Bytes of the tar file.")
    images: int = Field(description="Images of this snapshot in it.")


class ItemsRef(Part):
    """A file of lines, all of one split."""

    sha256: Sha256
    size: int
    count: int
    split: Split


class Manifest(Part):
    """`manifest.json` of a snapshot."""

    schema_version: Literal[2] = VERSION
    digest: Sha256
    created: str = Field(description="When it was published, ISO 8601 in UTC; no part of the digest.")
    source: str | None = Field(description="What it was made from, as far as known; no part of the digest.")
    classes: list[str]
    splits: dict[Split, SplitSummary]
    packs: list[PackRef]
    items: list[ItemsRef]

    def objects(self) -> dict[str, int]:
        """Return the key and size in bytes of everything in the store that it refers to."""
        packs = {pack_path(pack.key): pack.size for pack in self.packs}
        return packs | {items_path(items.sha256): items.size for items in self.items}


def digest_of(classes: Sequence[str], splits: Mapping[Split, str]) -> str:
    """Return a snapshot's digest: sha256 over the class names and the digests of the splits.

    So one split can be checked against it without reading the others.
    """
    return hashlib.sha256(canonical({"classes": list(classes), "splits": [splits[s] for s in SPLITS]})).hexdigest()


def canonical(value: Any) -> bytes:
    """Return JSON of which there is one spelling only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def pack_path(key: str) -> str:
    """Return where a pack lies in a store."""
    return f"packs/{key}.tar"


def items_path(sha256: str) -> str:
    """Return where a file of lines lies in a store."""
    return f"items/{sha256}.jsonl"


def predictions_path(digest: str, sha256: str) -> str:
    """Return where predictions for a snapshot lie in a store: below its digest, so that they can go with it."""
    return f"{PREDICTIONS}/{digest}/{sha256}.npz"


def manifest_path(digest: str) -> str:
    """Return where a manifest lies in a store."""
    return f"{FOLDER}/{digest}/manifest.json"


def address(uri: str) -> tuple[str, str]:
    """Return the store and the digest of a snapshot's URI. Raises StageInputError."""
    home, _, digest = uri.rstrip("/").rpartition(f"/{FOLDER}/")
    if not home or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise StageInputError(f"'{uri}' is no snapshot; expected <store>/snapshots/<digest>, as validate.json has it.")
    return home, digest


def parse(data: bytes, uri: str, digest: str) -> Manifest:
    """Read a manifest and check that its classes and splits are those that the digest names. Raises DamagedSnapshot."""
    try:
        manifest = Manifest.model_validate_json(data)
        named = digest_of(manifest.classes, {split: manifest.splits[split].digest for split in SPLITS})
    except (ValidationError, KeyError) as problem:
        first = problem.errors()[0] if isinstance(problem, ValidationError) else {"loc": problem.args, "msg": "missing"}
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise DamagedSnapshot(
            f"{uri}/manifest.json is damaged or of another version ({reason}). Validate the source again."
        ) from None
    if named != digest or manifest.digest != digest:
        raise wrong_content(f"{uri}/manifest.json")
    return manifest


def wrong_content(what: str) -> DamagedSnapshot:
    """Make the error for what was altered after it was stored."""
    return DamagedSnapshot(f"{what} does not have the content that its digest names. Validate the source again.")


def load(store: Store, digest: str) -> Manifest:
    """Read a snapshot's manifest from its store. Raises MissingObject, DamagedSnapshot."""
    return parse(store.get_bytes(manifest_path(digest)), f"{store.uri}/{FOLDER}/{digest}", digest)


def sizes(store: Store, keys: Iterable[str]) -> dict[str, int]:
    """Return the bytes under each of the keys that are there, asked for several at a time."""
    found = several(lambda key: (key, store.size(key)), keys)
    return {key: size for key, size in found if size is not None}


def lost(store: Store, manifest: Manifest) -> list[str]:
    """Return the keys of what a snapshot refers to and the store does not have, or has in another size."""
    expected = manifest.objects()
    found = sizes(store, expected)
    return [key for key, size in expected.items() if found.get(key) != size]
