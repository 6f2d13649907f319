"""Makes room: old snapshots of a store or of the cache, and what no other snapshot needs: packs, lists, predictions."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from sightline.documents import Document
from sightline.errors import StorageError, StorageUsageError
from sightline.snapshots.catalog import digest_in, manifests, stored
from sightline.snapshots.manifest import FOLDER, PREDICTIONS, Manifest, manifest_path, parse, sizes
from sightline.snapshots.pull import packs_folder
from sightline.storage import Store, Stored, cache_root


class PruneDocument(Document):
    """What was deleted, or would be."""

    place: str = Field(description="URI of the store, or folder of the cache.")
    done: bool = Field(description="False where it was only looked up what would be deleted.")
    snapshots: list[str] = Field(description="Digests of the snapshots.")
    spared: list[str] = Field(description="Digests that were meant as well, but are too young.")
    predictions: list[str] = Field(description="Keys of the files of predictions for snapshots that are gone then.")
    objects: int = Field(description="Packs, lists and files of predictions, or folders of packs in the cache.")
    bytes: int = Field(description="Bytes that this frees.")
    young: int = Field(description="Objects that nothing refers to, but that are too young to be deleted.")


class Choice(NamedTuple):
    """Snapshots to delete, and those that are spared because they are young."""

    doomed: list[str]
    spared: list[str]


def choose(entries: Sequence[Stored], *, keep: int | None, older_than: float | None, grace: float) -> Choice:
    """Choose from manifests, the newest first: all but the newest `keep`, or those older than so many seconds.

    Those younger than `grace` seconds are spared: a run may be under way with them.
    """
    now = time.time()
    if keep is not None:
        meant = list(entries[keep:])
    else:
        meant = [entry for entry in entries if older_than is not None and now - entry.modified > older_than]
    young = {entry.key for entry in meant if now - entry.modified < grace}
    return Choice(
        [digest_in(entry.key) for entry in meant if entry.key not in young],
        [digest_in(entry.key) for entry in meant if entry.key in young],
    )


# --- the store


def prune_store(store: Store, choice: Choice, *, grace: float, yes: bool) -> PruneDocument:
    """Delete snapshots, their predictions, and packs and lists that no other snapshot refers to.

    Without `yes` only say what would be. Manifests go first: what is interrupted leaves no snapshot that lacks
    something, and the next time takes what is left. Raises StorageUsageError if a
    remaining manifest cannot be read, since it is not known what it needs.
    """
    doomed = set(choice.doomed)
    marks = sizes(store, [manifest_path(digest) for digest in choice.doomed])
    garbage, young = _unreferenced(store, doomed, grace)
    if yes:
        store.delete(marks)
        garbage, young = _unreferenced(store, set(), grace)  # a snapshot may have come meanwhile, even one of these
        store.delete(entry.key for entry in garbage)
    return PruneDocument(
        place=store.uri,
        done=yes,
        snapshots=choice.doomed,
        spared=choice.spared,
        predictions=[entry.key for entry in garbage if entry.key.startswith(f"{PREDICTIONS}/")],
        objects=len(garbage),
        bytes=sum(marks.values()) + sum(entry.size for entry in garbage),
        young=young,
    )


def _unreferenced(store: Store, doomed: set[str], grace: float) -> tuple[list[Stored], int]:
    """Return what only doomed snapshots or none need, and how many more there are that are too young."""
    needed: set[str] = set()
    unreadable = []
    kept = [entry for entry in stored(store) if digest_in(entry.key) not in doomed]
    for entry, manifest in manifests(store, kept):
        if isinstance(manifest, Manifest):
            needed.update(manifest.objects())
        else:
            unreadable.append(f"{entry.key}: {manifest.message}")
    if unreadable:
        raise StorageUsageError(
            "Nothing is deleted: what these snapshots need is not known. Validate their sources again, or name them to "
            "be deleted too:", unreadable
        )  # fmt: skip
    digests = {digest_in(entry.key) for entry in kept}
    unneeded = [entry for prefix in ("packs/", "items/") for entry in store.entries(prefix) if entry.key not in needed]
    unneeded += [entry for entry in store.entries(f"{PREDICTIONS}/") if _orphaned(entry.key, digests)]
    now = time.time()
    garbage = [entry for entry in unneeded if now - entry.modified >= grace]
    return garbage, len(unneeded) - len(garbage)


def _orphaned(key: str, digests: set[str]) -> bool:
    """Tell whether a key is of predictions for a snapshot that is not among `digests`; what is not of ours is not."""
    parts = key.split("/")
    return len(parts) == 3 and re.fullmatch("[0-9a-f]{64}", parts[1]) is not None and parts[1] not in digests


# --- the cache


def cached() -> list[Stored]:
    """Return the snapshots of the cache, the one used last first."""
    folder = cache_root() / FOLDER
    found = []
    for entry in os.scandir(folder) if folder.is_dir() else ():
        marker = Path(entry.path, "manifest.json")
        status = (marker if marker.exists() else Path(entry.path)).stat()
        found.append(Stored(manifest_path(entry.name), 0, status.st_mtime))
    return sorted(found, key=lambda entry: (entry.modified, entry.key), reverse=True)


def prune_cache(choice: Choice, *, grace: float, yes: bool) -> PruneDocument:
    """Delete snapshots of the cache, and packs that none of the others is made of; what is needed again is fetched."""
    root = cache_root()
    doomed = set(choice.doomed)
    needed = {key for entry in cached() if digest_in(entry.key) not in doomed for key in _packs(root, entry)}
    old = time.time() - grace
    unneeded = [path for path in _packed() if path.name.lstrip(".")[:64] not in needed]
    garbage = [path for path in unneeded if path.stat().st_mtime < old]
    folders = [root / FOLDER / digest for digest in choice.doomed]
    # A link to an image frees nothing, unless its pack is gone.
    freed = sum(_size(path, lambda s: s.st_nlink == 1) for path in folders) + sum(_size(path) for path in garbage)
    if yes:
        for path in (*folders, *garbage):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    return PruneDocument(
        place=str(root),
        done=yes,
        snapshots=choice.doomed,
        spared=choice.spared,
        predictions=[],
        objects=len(garbage),
        bytes=freed,
        young=len(unneeded) - len(garbage),
    )


def _packs(root: Path, entry: Stored) -> list[str]:
    """Return the packs that a snapshot of the cache is made of; none where that cannot be read: it is only a copy."""
    digest = digest_in(entry.key)
    try:
        manifest = parse((root / entry.key).read_bytes(), str(root / FOLDER / digest), digest)
    except (FileNotFoundError, StorageError):
        return []
    return [pack.key for pack in manifest.packs]


def _packed() -> Iterator[Path]:
    """Yield folders of packs, and what killed processes left of them."""
    folder = packs_folder()
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if not entry.name.endswith(".lock"):
            yield Path(entry.path)


def _size(path: Path, counts: Callable[[os.stat_result], bool] = lambda _: True) -> int:
    """Add up the bytes of the files in a folder that count, or of one file."""
    if not path.is_dir():
        return path.stat().st_size
    total = 0
    for parent, _, names in os.walk(path):
        statuses = [os.stat(f"{parent}/{name}", follow_symlinks=False) for name in names]
        total += sum(status.st_size for status in statuses if counts(status))
    return total
