"""Data set -> store: sends what the store lacks, and the manifest last."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sightline.datasets.sources import STAGE
from sightline.datasets.types import Dataset
from sightline.documents import SPLITS, Split
from sightline.errors import StorageError
from sightline.runtime import progress
from sightline.snapshots.catalog import newest
from sightline.snapshots.items import Digest, line_of, load_items, write_items
from sightline.snapshots.manifest import (
    FOLDER,
    DamagedSnapshot,
    ItemsRef,
    Manifest,
    PackRef,
    SplitSummary,
    digest_of,
    items_path,
    load,
    lost,
    manifest_path,
    pack_path,
    sizes,
)
from sightline.snapshots.pack_plan import Group, NewPack, PackPlan
from sightline.snapshots.packs import pack_key, pack_size, write_pack
from sightline.snapshots.parallel import several
from sightline.storage import MissingObject, Store, Transfer, WrongBytes

FRESH = 3600.0  # seconds for which a manifest counts as just written


@dataclass(frozen=True)
class Published:
    """A snapshot in a store; `uploaded_bytes` were not there before."""

    uri: str
    digest: str
    uploaded_bytes: int


@dataclass
class _Survey:
    """What the first look at a data set tells: its splits, and how many images lie in which pack as far as known."""

    splits: dict[Split, SplitSummary] = field(default_factory=dict)
    packs: Counter[str | None] = field(default_factory=Counter)


def publish(dataset: Dataset, store: Store, source: str | None = None) -> Published:
    """Put a data set into the store: only images that lie in no pack yet, and only if the whole is not there already.

    `source` is noted for the reader. Afterwards the data set knows where its images lie.
    Raises DataError if an image changes meanwhile, StorageError from the store.
    """
    survey = _surveyed(dataset)
    digest = digest_of(dataset.classes, {split: summary.digest for split, summary in survey.splits.items()})
    uri = f"{store.uri}/{FOLDER}/{digest}"
    former = _former(store, digest)
    if former and not lost(store, former):
        _renew(store, former)
        return Published(uri, digest, 0)
    with contextlib.closing(_pack_plan(dataset, store, survey, former)) as plan:
        plan.sort(dataset)
        sent = _send_packs(store, plan)
        items, images, more = _send_items(dataset, store, plan, survey)
        manifest = Manifest(
            digest=digest,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            source=source,
            classes=dataset.classes,
            splits=survey.splits,
            packs=[PackRef(key=key, size=plan.packs[key], images=images[key]) for key in sorted(images)],
            items=items,
        )
        if gone := lost(store, manifest):  # another one tidied the store meanwhile
            raise StorageError(f"{store.uri} lost {', '.join(gone[:3])} while data was stored. Validate again.")
        text = manifest.model_dump_json().encode()
        store.put_bytes(manifest_path(digest), text)
        dataset.stored(plan.homes())
    return Published(uri, digest, sent + more + len(text))


def _renew(store: Store, manifest: Manifest) -> None:
    """Write a manifest again that was written long ago: by its age old snapshots are pruned, and this one is in use."""
    key = manifest_path(manifest.digest)
    if any(time.time() - entry.modified > FRESH for entry in store.entries(key)):
        store.put_bytes(key, manifest.model_dump_json().encode())


def _surveyed(dataset: Dataset) -> _Survey:
    survey = _Survey()
    for split in SPLITS:
        digest = Digest()
        images = boxes = backgrounds = size = 0
        per_class = [0] * len(dataset.classes)
        for sample in dataset.samples(split):
            digest.add(sample)
            survey.packs[sample.pack] += 1
            images += 1
            boxes += len(sample.labels)
            backgrounds += not sample.labels
            size += sample.bytes
            for label in sample.labels:
                per_class[label[0]] += 1
        survey.splits[split] = SplitSummary(
            images=images,
            boxes=boxes,
            backgrounds=backgrounds,
            bytes=size,
            boxes_per_class=per_class,
            digest=digest.hexdigest(),
        )
    return survey


def _former(store: Store, digest: str) -> Manifest | None:
    """Return the manifest under this digest, None if there is none that can be read."""
    try:
        return load(store, digest)
    except (MissingObject, DamagedSnapshot):
        return None


def _pack_plan(dataset: Dataset, store: Store, survey: _Survey, former: Manifest | None) -> PackPlan:
    """Find out which packs of the store can be used.

    Where the data set does not know the packs of most of its images (a fresh machine, another store), they are looked
    up in the newest snapshot of the store that has the same classes: most likely an older state of the same data.
    """
    expected = {ref.key: ref.size for ref in former.packs} if former else {}
    packs = _usable(store, {pack for pack in survey.packs if pack}, expected)
    unknown = sum(images for pack, images in survey.packs.items() if pack not in packs)
    like = newest(store, dataset.classes) if 2 * unknown > survey.packs.total() else None
    if like:
        packs |= _usable(store, {ref.key for ref in like.packs}, {ref.key: ref.size for ref in like.packs})
    plan = PackPlan(packs)
    if like:
        plan.learn(_where(store, like))
    return plan


def _usable(store: Store, packs: set[str], expected: dict[str, int]) -> dict[str, int]:
    """Return the sizes of the packs that are in the store, and not in another size than a manifest says."""
    found = sizes(store, [pack_path(pack) for pack in packs])
    there = {pack: found[path] for pack in packs if (path := pack_path(pack)) in found}
    return {pack: size for pack, size in there.items() if size == expected.get(pack, size)}


def _where(store: Store, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the sha256 and the pack of every image of a snapshot."""

    def pairs(ref: ItemsRef) -> list[tuple[str, str]]:
        try:
            return [(sample.sha256, sample.pack or "") for sample in load_items(store, ref)]
        except (MissingObject, WrongBytes, DamagedSnapshot):
            return []  # of another snapshot, whose faults are not in the way of this one

    for found in several(pairs, manifest.items):
        yield from found


def _send_packs(store: Store, plan: PackPlan) -> int:
    """Make and send the packs that the store lacks, some at a time; return the bytes sent."""
    ticker = progress.Ticker(STAGE, plan.count, "storing images")
    total = 0
    with tempfile.TemporaryDirectory(prefix="sightline-packs-") as folder:
        work = partial(_send_pack, store, Path(folder))
        for group, key, size, images, sent in several(work, plan.new_packs()):
            plan.stored(group, key, size)
            ticker.tick(images)
            total += sent
    return total


def _send_pack(store: Store, folder: Path, pack: NewPack) -> tuple[Group, str, int, int, int]:
    """Send one pack, unless it is there; return its group, key, size, images, and the bytes sent."""
    key, size, sent = pack_key(pack.members), pack_size(pack.members), 0
    if store.size(pack_path(key)) != size:
        path = folder / key
        write_pack(path, pack.members)
        sent = store.upload([Transfer(pack_path(key), path)])
        path.unlink()
    return pack.group, key, size, len(pack.members), sent


def _send_items(
    dataset: Dataset, store: Store, plan: PackPlan, survey: _Survey
) -> tuple[list[ItemsRef], Counter[str], int]:
    """Write and send the lines of all splits; return what the manifest says of them, images by pack, and bytes sent."""
    refs: list[ItemsRef] = []
    images: Counter[str] = Counter()

    def lines(split: Split) -> Iterator[tuple[str, bytes]]:
        for sample in dataset.samples(split):
            pack = plan.home(sample)
            images[pack] += 1
            yield sample.name, line_of(sample, pack)

    with tempfile.TemporaryDirectory(prefix="sightline-items-") as folder:
        for split in SPLITS:
            refs += write_items(Path(folder), split, survey.splits[split].images, lines(split))
        transfers = [Transfer(items_path(ref.sha256), Path(folder) / f"{ref.sha256}.jsonl", ref.sha256) for ref in refs]
        return refs, images, store.upload(transfers)
