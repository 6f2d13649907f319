"""What a snapshot holds, in its store and once it is fetched."""

from __future__ import annotations

from pathlib import Path

from sightline.snapshots import Published, fetch
from sightline.snapshots.manifest import load
from sightline.storage import Store
from tests.helpers.memory import MemoryDataset


def keys(store: Store, prefix: str) -> list[str]:
    return [key for key, _ in store.list(prefix)]


def packs_of(store: Store, published: Published) -> dict[str, int]:
    return {pack.key: pack.images for pack in load(store, published.digest).packs}


def images_of(published: Published) -> dict[str, bytes]:
    """The fetched images by split and name."""
    snap = fetch(published.uri)
    return {
        f"{split}/{sample.image.name}": sample.image.read_bytes()
        for split in ("train", "val", "test")
        for sample in snap.samples(split)
    }


def written(dataset: MemoryDataset) -> dict[str, bytes]:
    return {f"{s.split}/{s.name}": Path(s.image).read_bytes() for s in dataset.samples()}
