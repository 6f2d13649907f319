"""All snapshots of a store, and how a person names one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from sightline.documents import SPLITS, Document, Part, Split, ValidateDocument, read
from sightline.errors import StageInputError, StorageError
from sightline.snapshots.manifest import FOLDER, Manifest, address, load
from sightline.snapshots.parallel import several
from sightline.storage import Store, Stored, open_store

SHORTEST = 6  # digits of a digest that may stand for all 64
RECENT = 20  # snapshots among which an older state of the same data is looked for


class Listed(Part):
    """One snapshot of a store."""

    uri: str
    digest: str
    created: str = Field(description="ISO 8601, UTC.")
    source: str | None
    images: dict[Split, int]
    boxes: int
    classes: int
    bytes: int = Field(description="Bytes of its images and lists, whether or not others share them.")


class CatalogDocument(Document):
    """The snapshots of a store, the newest first."""

    store: str
    snapshots: list[Listed]
    unreadable: list[str] = Field(description="Manifests that are damaged or of another version, and why.")


class SnapshotDocument(Document):
    """What one snapshot holds."""

    uri: str
    digest: str
    created: str
    source: str | None
    images: dict[Split, int]
    backgrounds: dict[Split, int] = Field(description="Images without a box.")
    boxes: dict[str, dict[Split, int]] = Field(description="By class.")
    packs: int = Field(description="Tar files of images that it needs.")
    bytes: int = Field(description="Bytes of these and of its lists in the store.")
    shared_bytes: int = Field(description="Those of them that other snapshots need as well.")
    shared_with: int = Field(description="Number of these snapshots.")


def stored(store: Store) -> list[Stored]:
    """Return the manifests of a store, the one written last first."""
    found = [entry for entry in store.entries(f"{FOLDER}/") if digest_in(entry.key)]
    return sorted(found, key=lambda entry: (entry.modified, entry.key), reverse=True)


def digest_in(key: str) -> str:
    """Return the digest of a manifest's key; empty for another key."""
    parts = key.split("/")
    return parts[1] if len(parts) == 3 and parts[2] == "manifest.json" else ""


def manifests(store: Store, entries: Iterable[Stored]) -> Iterator[tuple[Stored, Manifest | StorageError]]:
    """Yield the manifests, or why one cannot be read."""

    def look(entry: Stored) -> tuple[Stored, Manifest | StorageError]:
        try:
            return entry, load(store, digest_in(entry.key))
        except StorageError as error:
            return entry, error

    return several(look, entries)


def newest(store: Store, classes: Sequence[str]) -> Manifest | None:
    """Return the newest snapshot with these classes, None where none of the recent ones has them."""
    for _, manifest in manifests(store, stored(store)[:RECENT]):
        if isinstance(manifest, Manifest) and manifest.classes == list(classes):
            return manifest
    return None


def listing(store: Store) -> CatalogDocument:
    """Read all manifests of a store."""
    rows, unreadable = [], []
    for _, manifest in manifests(store, stored(store)):
        if isinstance(manifest, StorageError):
            unreadable.append(manifest.message)
            continue
        rows.append(
            Listed(
                uri=f"{store.uri}/{FOLDER}/{manifest.digest}",
                digest=manifest.digest,
                created=manifest.created,
                source=manifest.source,
                images={split: manifest.splits[split].images for split in SPLITS},
                boxes=sum(summary.boxes for summary in manifest.splits.values()),
                classes=len(manifest.classes),
                bytes=sum(summary.bytes for summary in manifest.splits.values())
                + sum(ref.size for ref in manifest.items),
            )
        )
    rows.sort(key=lambda row: row.created, reverse=True)
    return CatalogDocument(store=store.uri, snapshots=rows, unreadable=unreadable)


def described(uri: str) -> SnapshotDocument:
    """Tell what a snapshot holds and shares. Raises StageInputError, StorageError."""
    home, digest = address(uri)
    store = open_store(home)
    manifest = load(store, digest)
    own = manifest.objects()
    shared: set[str] = set()
    others = 0
    for entry, other in manifests(store, stored(store)):
        if isinstance(other, Manifest) and digest_in(entry.key) != digest:
            common = own.keys() & other.objects().keys()
            shared |= common
            others += bool(common)
    splits = manifest.splits
    return SnapshotDocument(
        uri=uri,
        digest=digest,
        created=manifest.created,
        source=manifest.source,
        images={split: splits[split].images for split in SPLITS},
        backgrounds={split: splits[split].backgrounds for split in SPLITS},
        boxes={
            name: {split: splits[split].boxes_per_class[index] for split in SPLITS}
            for index, name in enumerate(manifest.classes)
        },
        packs=len(manifest.packs),
        bytes=sum(own.values()),
        shared_bytes=sum(own[key] for key in shared),
        shared_with=others,
    )


# --- names


def find(name: str, store: Store) -> str:
    """Return the URI of the snapshot that a person means.

    `name` is a digest or its first digits, a URI, or the run directory or validate.json that it came from.
    Raises StageInputError.
    """
    return made_by(name) or f"{store.uri}/{FOLDER}/{pick(name, stored(store), store.uri)}"


def made_by(name: str) -> str | None:
    """Return the URI that a name is, or that the run it names has made; None for a digest. Raises StageInputError."""
    path = Path(name)
    if path.name == "validate.json" and path.is_file():
        return read(ValidateDocument, path.parent).snapshot
    for folder in (path, path / "validate"):
        if (folder / "validate.json").is_file():
            return read(ValidateDocument, folder).snapshot
    if f"/{FOLDER}/" in name:
        address(name)
        return name.rstrip("/")
    return None


def pick(name: str, entries: Iterable[Stored], where: str) -> str:
    """Return the one digest that begins with `name`. Raises StageInputError."""
    if len(name) < SHORTEST or set(name) - set("0123456789abcdef"):
        raise StageInputError(
            f"'{name}' names no snapshot; expected at least {SHORTEST} digits of its digest, its URI, or the run "
            "directory it came from."
        )
    digests = [digest for entry in entries if (digest := digest_in(entry.key)).startswith(name)]
    if len(digests) == 1:
        return digests[0]
    if digests:
        raise StageInputError(f"'{name}' can be any of {len(digests)} snapshots; give more digits:", digests[:20])
    raise StageInputError(
        f"{where} has no snapshot whose digest begins with '{name}'. `sightline dataset list` shows those of a store; "
        "--store names another one."
    )
